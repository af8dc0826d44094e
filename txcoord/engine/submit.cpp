// The coordinator's door: an operation comes in, waits for its answer, and is seen meanwhile.
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "txcoord/base/logging.hpp"
#include "txcoord/base/time.hpp"
#include "txcoord/engine/backoff.hpp"
#include "txcoord/engine/coordinator.hpp"

namespace txcoord::engine {
namespace {

constexpr std::chrono::milliseconds applied_elsewhere_poll{20};

std::string key_of(const Operation& operation) {
  return operation.scope + '\n' + operation.idempotency_key;
}

// Nothing happened to an order: the first request under the key has its count, or will have it.
bool answers_about_the_key(SubmitStatus status) {
  return status == SubmitStatus::replayed || status == SubmitStatus::key_reused ||
         status == SubmitStatus::in_flight;
}

std::string_view outcome_name(const SubmitResult& result, OperationKind kind) {
  switch (result.status) {
    case SubmitStatus::confirmed: return kind == OperationKind::cancel ? "cancelled" : "confirmed";
    case SubmitStatus::refused:
      // A saga that ran out of tries or of time: its order failed, nobody refused it.
      return result.reason == "PARTICIPANT_UNAVAILABLE" || result.reason == expired_reason
                 ? "failed"
                 : "refused";
    case SubmitStatus::invalid: return "refused";
    case SubmitStatus::unknown:
    case SubmitStatus::accepted: return "unknown";
    case SubmitStatus::replayed:
    case SubmitStatus::key_reused:
    case SubmitStatus::in_flight:
    case SubmitStatus::unavailable:
    case SubmitStatus::overloaded: return "failed";
  }
  return "failed";
}

bool goes_as_saga(const Operation& operation, const SubmitOptions& options) {
  return options.accept_now || options.protocol == Protocol::saga ||
         operation.place.something_due();
}

}  // namespace

std::optional<SubmitResult> Coordinator::refuse_at_door(const Operation& operation,
                                                        const SubmitOptions& options) const {
  SubmitResult result;
  result.reason = "PARTICIPANT_UNAVAILABLE";
  if (keys_in_flight_.contains(key_of(operation))) {
    result.status = SubmitStatus::in_flight;
    result.reason = "REQUEST_IN_FLIGHT";
    return result;
  }
  if (draining_ || fenced_) {
    result.detail = "this coordinator is stopping";
    return result;
  }
  // What is accepted before it is tried needs the log alone.
  const DegradedModes spared{operation.place.pay_later, operation.place.ship_by_hand};
  const bool as_saga = goes_as_saga(operation, options);
  const bool served = options.accept_now
                          ? health_.usable(log_name)
                          : health_.all_usable(spared) && (as_saga || health_.all_have_slots());
  if (!started_ || !served) {
    result.detail = started_ ? health_.trouble(spared) : "this coordinator is starting";
    return result;
  }
  // Below the prepared slots: we refuse before a database has to say 53200.
  const bool slots_taken =
      groups_.size() >= settings_.engine.unfinished_groups_max && queue_.size() > 0;
  if (as_saga ? sagas_.full() : queue_.full() || slots_taken) {
    result.status = SubmitStatus::overloaded;
    result.reason = "OVERLOADED";
    result.detail = "too much work is waiting";
    return result;
  }
  return std::nullopt;
}

asio::awaitable<SubmitResult> Coordinator::submit(std::shared_ptr<const Operation> operation,
                                                  SubmitOptions options) {
  if (auto refusal = refuse_at_door(*operation, options)) {
    count_refusal(*operation, *refusal);
    co_return *refusal;
  }
  const auto now = std::chrono::steady_clock::now();
  auto submission = std::make_shared<Submission>(io_, operation);
  submission->submitted_at = now;
  submission->give_up_at = now + std::chrono::milliseconds(settings_.engine.queue_wait_ms_max);
  keys_in_flight_.insert(key_of(*operation));

  // I9: what another coordinator decided on this order must be applied before we judge. A new
  // order has no such decision.
  if (operation->kind != OperationKind::place) {
    // A group of ours holds its orders busy in the queue; a saga does not go through it.
    const bool by_queue = options.protocol == Protocol::two_phase;
    auto gate = wait_until_applied(operation->order_id, by_queue, submission->give_up_at);
    const bool applied = co_await std::move(gate);
    auto asking = sagas_.something_due(operation->order_id);
    const auto due = co_await std::move(asking);
    if (!due) health_.failed(log_name, due.failure());
    if (!applied || !due || due.value()) {
      SubmitResult result;
      result.reason = "PARTICIPANT_UNAVAILABLE";
      result.detail = applied && due
                          ? "its payment or its shipment is still due"
                          : "an earlier operation on this order is decided and not applied yet";
      answer(submission, result);
      co_return result;
    }
  }
  submission->awaited = true;
  enter(submission, options);

  auto waiting = wait_for(submission, options, now + options.wait_max);
  co_await std::move(waiting);
  submission->awaited = false;
  if (submission->result) co_return *submission->result;
  SubmitResult unknown;
  unknown.status = SubmitStatus::unknown;
  unknown.reason = "OUTCOME_UNKNOWN";
  if (const auto seen = pending(operation->order_id)) unknown.transaction_id = seen->transaction_id;
  co_return unknown;
}

void Coordinator::enter(const SubmissionPtr& submission, const SubmitOptions& options) {
  if (goes_as_saga(*submission->operation, options))
    return sagas_.begin(submission, options.protocol, options.accept_now);
  if (submission->operation->kind == OperationKind::place)
    orders_[submission->operation->order_id] = {submission, nullptr};
  queue_.push(submission);
  pump();
}

asio::awaitable<void> Coordinator::wait_for(SubmissionPtr submission, SubmitOptions options,
                                            SteadyTime deadline) {
  for (;;) {
    const bool decided = submission->result.has_value();
    const bool confirmed = decided && submission->result->status == SubmitStatus::confirmed;
    if (decided && (!options.wait_applied || !confirmed || submission->applied)) co_return;
    if (std::chrono::steady_clock::now() >= deadline) co_return;
    submission->changed.expires_at(deadline);
    boost::system::error_code ignored;
    auto token = asio::redirect_error(asio::use_awaitable, ignored);
    co_await submission->changed.async_wait(token);
  }
}

// The log lists incomplete decisions on the order. Those that are active here hold the order busy
// in the queue, and those whose completion is only being recorded are applied. What is left belongs
// to another coordinator or an earlier epoch: wait for it, boundedly.
asio::awaitable<bool> Coordinator::wait_until_applied(std::string order_id, bool by_queue,
                                                      SteadyTime deadline) {
  for (;;) {
    auto look = log_.unapplied(order_id);
    const auto gids = co_await std::move(look);
    if (!gids) {
      health_.failed(log_name, gids.failure());
      co_return false;
    }
    bool open = false;
    for (const auto& gid : gids.value())
      open = open || (!(by_queue && groups_.contains(gid)) && !forgetter_.completing(gid));
    if (!open) co_return true;
    if (std::chrono::steady_clock::now() + applied_elsewhere_poll > deadline) co_return false;
    asio::steady_timer timer(io_);
    auto pause = sleep(timer, applied_elsewhere_poll);
    co_await std::move(pause);
  }
}

// An accepted order is counted when it has ended; its duration is what its client waited for the
// 202. What an adopted saga took, nobody here knows.
void Coordinator::count_answer(const Submission& submission, const SubmitResult& result) const {
  const Operation& operation = *submission.operation;
  if (answers_about_the_key(result.status) || operation.accepted) return;
  const auto outcome = outcome_name(result, operation.kind);
  if (result.status != SubmitStatus::accepted)
    metrics_.order(operation.mode, outcome, result.reason);
  if (submission.result || submission.adopted) return;
  const auto spent = std::chrono::steady_clock::now() - submission.submitted_at;
  metrics_.order_duration(operation.mode, outcome, std::chrono::duration<double>(spent).count());
}

void Coordinator::count_refusal(const Operation& operation, const SubmitResult& result) const {
  if (answers_about_the_key(result.status) || operation.accepted) return;
  if (result.status == SubmitStatus::overloaded) metrics_.admission_refused();
  const bool one_is_away = started_ && result.status == SubmitStatus::unavailable;
  for (const auto& [name, health] : health_.all())
    if (one_is_away && !health.usable) metrics_.participant_errors(name, 1);
  const auto outcome = outcome_name(result, operation.kind);
  metrics_.order(operation.mode, outcome, result.reason);
  metrics_.order_duration(operation.mode, outcome, 0);
}

void Coordinator::answer(const SubmissionPtr& submission, SubmitResult result) {
  const Operation& operation = *submission->operation;
  // An accepted order is answered twice: to its client, and in the metrics when it has ended.
  const bool told = submission->result.has_value();
  if (!told) keys_in_flight_.erase(key_of(operation));
  if (draining_) idle_.cancel();
  const auto entry = orders_.find(operation.order_id);
  // What will never be applied is not pending; what is confirmed stays visible until it is applied.
  if (result.status != SubmitStatus::confirmed && entry != orders_.end() &&
      entry->second.submission == submission)
    orders_.erase(entry);
  const auto outcome = outcome_name(result, operation.kind);
  count_answer(*submission, result);
  logging::info("operation answered",
                {{"operation", to_string(operation.kind)},
                 {"order_id", std::string_view(operation.order_id)},
                 {"correlation_id", std::string_view(operation.correlation_id)},
                 {"gid", std::string_view(result.transaction_id)},
                 {"outcome", outcome},
                 {"reason", std::string_view(result.reason)}});
  if (told) return;
  submission->result = std::move(result);
  submission->changed.cancel();
}

// --- what is under way, for readers ------------------------------------------------------------

bool Coordinator::ready() const {
  return started_ && !fenced_ && !draining() && health_.all_usable(modes_) &&
         health_.all_recovered(modes_);
}

std::optional<PendingOrder> Coordinator::pending(const std::string& order_id) const {
  const auto entry = orders_.find(order_id);
  if (entry == orders_.end()) return sagas_.pending(order_id);
  PendingOrder order;
  order.operation = entry->second.submission->operation;
  order.kind = order.operation->kind;
  if (const auto& group = entry->second.group) {
    order.transaction_id = group->text;
    const auto& result = entry->second.submission->result;
    order.decided = group->core.decided() && result && result->status == SubmitStatus::confirmed;
    for (const auto id : group->core.waiting_for())
      order.waiting_for.push_back(group->core.plan().participants[id]);
  }
  return order;
}

std::vector<ActiveTransaction> Coordinator::active() const {
  std::vector<ActiveTransaction> list;
  for (const auto& [gid, group] : groups_) {
    ActiveTransaction& seen = list.emplace_back();
    seen.gid = group->text;
    seen.state = to_string(group->core.state());
    seen.operations = group->operations.size();
    seen.started_at = group->started_at;
    for (const auto& operation : group->operations) seen.order_ids.push_back(operation->order_id);
    for (const auto id : group->core.branches())
      seen.participants.push_back(group->core.plan().participants[id]);
    for (const auto id : group->core.waiting_for())
      seen.waiting_for.push_back(group->core.plan().participants[id]);
  }
  return list;
}

}  // namespace txcoord::engine
