// Sagas that nobody works on are adopted; those that ended long ago are forgotten; drain.
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "txcoord/base/logging.hpp"
#include "txcoord/engine/sagas.hpp"
#include "txcoord/log/saga_payload.hpp"

namespace txcoord::engine {
namespace {

constexpr std::size_t adopted_at_once_max = 500;
constexpr std::size_t trimmed_at_once_max = 1000;
constexpr std::size_t trims_in_round_max = 20;
constexpr std::uint32_t trim_every_rounds = 5;

}  // namespace

asio::awaitable<void> Sagas::run() {
  const std::chrono::milliseconds interval(settings_.engine.recovery_interval_ms);
  for (std::uint32_t round = 0;; ++round) {
    auto taking = take_over_owners();
    co_await std::move(taking);
    auto adopting = adopt();
    const bool more = co_await std::move(adopting);
    if (settings_.engine.trim && round % trim_every_rounds == trim_every_rounds - 1) {
      auto trimming = trim();
      co_await std::move(trimming);
    }
    auto pause = ticker_.wait(more ? std::chrono::milliseconds(0) : interval);
    const bool go_on = co_await std::move(pause);
    if (!go_on) co_return;
  }
}

// A coordinator that is gone may have left nothing prepared, and sagas all the same.
asio::awaitable<void> Sagas::take_over_owners() {
  if (!health_.reachable(log_name) || draining_) co_return;
  auto asking = log_.owners();
  const auto owners = co_await std::move(asking);
  if (!owners) {
    health_.failed(log_name, owners.failure());
    co_return;
  }
  auto taking = take_over(owners.value());
  co_await std::move(taking);
}

// Those of them whose lease has run out.
asio::awaitable<void> Sagas::take_over(std::vector<std::string> others) {
  std::erase(others, owner_.coordinator);
  if (others.empty()) co_return;
  auto taking = hooks_.take_over(std::move(others));
  const auto taken = co_await std::move(taking);
  if (!taken) co_return;
  for (const auto& coordinator : taken.value()) {
    metrics_.recovery_action("takeover");
    logging::warn("took over a coordinator's sagas: its lease ran out",
                  {{"coordinator", std::string_view(coordinator)}});
  }
}

// True if there may be more at once.
asio::awaitable<bool> Sagas::adopt() {
  if (!health_.reachable(log_name) || draining_ || full()) co_return false;
  // Before: an adoption whose answer was lost is found again by a later round, and what it was
  // adopted from is fenced by this.
  auto requiring = fences_.require_committed();
  const bool required = co_await std::move(requiring);
  if (!required) co_return false;
  auto asking = log_.adopt(owner_, adopted_at_once_max);
  auto adopted = co_await std::move(asking);
  if (!adopted) {
    health_.failed(log_name, adopted.failure());
    if (adopted.failure().kind == FailureKind::fenced) hooks_.fenced("adopting was refused");
    co_return false;
  }
  if (!adopted.value().empty()) {
    logging::info("adopted unfinished sagas",
                  {{"sagas", static_cast<std::int64_t>(adopted.value().size())}});
    crash_.reach("saga.adopt.after");
  }
  const bool more = adopted.value().size() == adopted_at_once_max;
  for (const auto& instance : adopted.value())
    fences_.require(instance.adopted_from.coordinator, instance.adopted_from.epoch + 1);
  for (auto& instance : adopted.value()) resume(std::move(instance));
  co_return more;
}

void Sagas::resume(SagaInstance instance) {
  if (running_.contains(instance.saga_id)) return;
  try {
    auto operation = std::make_shared<const Operation>(from_payload(instance.payload));
    auto plan = plan_of(instance.type, instance.accepted);
    auto position = protocol::read_position(plan, instance.status, instance.current_step,
                                            instance.reason, instance.detail);
    auto submission = std::make_shared<Submission>(io_, std::move(operation));
    submission->submitted_at = std::chrono::steady_clock::now();
    submission->adopted = true;
    const auto saga = take_in(instance.saga_id, std::move(submission), std::move(plan),
                              std::move(position), instance.accepted, instance.answered);
    saga->known = true;
    deliver(saga, {.kind = protocol::SagaEventKind::start});
  } catch (const std::exception& unreadable) {
    // Never lost: it stays in the log, shown as stuck. Its words may hold personal data.
    logging::error("a saga cannot be read: it needs a person",
                   {{"saga_id", std::string_view(instance.saga_id)},
                    {"order_id", std::string_view(instance.order_id)}});
    troubles_.push("trouble",
                   {instance.saga_id, instance.attempts, std::nullopt, "it cannot be read", true});
  }
}

asio::awaitable<void> Sagas::trim() {
  auto taking = take_over_owners_of_ended();
  co_await std::move(taking);
  for (std::size_t i = 0; i < trims_in_round_max && health_.all_reachable(); ++i) {
    auto trimming = trim_some();
    const bool more = co_await std::move(trimming);
    if (!more) co_return;
  }
}

// Barriers first, then the record: a step that comes late must find its barrier as long as anybody
// could send it. True if there is more to do.
asio::awaitable<bool> Sagas::trim_some() {
  auto asking = log_.ended_before(owner_, std::chrono::seconds(settings_.saga.barriers_keep_s),
                                  trimmed_at_once_max);
  const auto ended = co_await std::move(asking);
  if (!ended) {
    health_.failed(log_name, ended.failure());
    co_return false;
  }
  if (!ended.value().empty()) {
    auto trimming = trim_barriers(ended.value());
    const bool trimmed = co_await std::move(trimming);
    if (!trimmed) co_return false;
    auto noting = log_.barriers_trimmed(ended.value());
    co_await std::move(noting);
  }
  auto forgetting = log_.trim(std::chrono::seconds(settings_.saga.keep_s));
  const auto forgotten = co_await std::move(forgetting);
  co_return forgotten.ok() && ended.value().size() == trimmed_at_once_max;
}

// Rules 4 and 5 of fences.hpp. All tries of these sagas were sent before the sagas ended, so before
// they were read from the log: whoever sent them is known by now.
asio::awaitable<bool> Sagas::trim_barriers(std::vector<std::string> saga_ids) {
  auto requiring = fences_.require_committed();
  const bool required = co_await std::move(requiring);
  if (!required) co_return false;
  auto first = fences_.raise_everywhere();
  if (const bool raised = co_await std::move(first); !raised) co_return false;
  if (unanswered_) {
    if (!hooks_.begin_generation()) co_return false;
    unanswered_ = false;
    auto second = fences_.raise_everywhere();
    if (const bool raised = co_await std::move(second); !raised) co_return false;
  }
  for (Participant* participant : participants_) {
    auto trimming = participant->trim_steps(saga_ids, fences_.owner());
    const auto trimmed = co_await std::move(trimming);
    if (trimmed) continue;
    health_.failed(participant->name(), trimmed.failure());
    if (trimmed.failure().kind == FailureKind::fenced) {
      auto looking = fences_.look(*participant);
      co_await std::move(looking);
    }
    co_return false;
  }
  co_return true;
}

// A coordinator that is gone for good left sagas that ended: their barriers go once it is fenced.
asio::awaitable<void> Sagas::take_over_owners_of_ended() {
  auto asking = log_.owners_of_ended(std::chrono::seconds(settings_.saga.barriers_keep_s));
  const auto owners = co_await std::move(asking);
  if (!owners) {
    health_.failed(log_name, owners.failure());
    co_return;
  }
  auto taking = take_over(owners.value());
  co_await std::move(taking);
}

// While this process stops: a client who waits is worth another try here; nobody else is.
bool Sagas::left_to_others(const RunningSaga& saga) const {
  return draining_ && !saga.submission->awaited;
}

// It stays as it is in the log; whoever adopts it goes on.
void Sagas::give_up_waiting(const RunningSagaPtr& saga) {
  if (!saga->submission->result) {
    SubmitResult result;
    result.status = SubmitStatus::unknown;
    result.reason = "OUTCOME_UNKNOWN";
    result.transaction_id = saga->id;
    hooks_.answer(saga->submission, std::move(result));
  }
  forget(saga);
}

asio::awaitable<void> Sagas::drain(SteadyTime deadline) {
  draining_ = true;
  ticker_.stop();
  for (auto& [id, saga] : running_)
    if (left_to_others(*saga)) saga->pause.cancel();
  while (!running_.empty() && std::chrono::steady_clock::now() < deadline) {
    idle_.expires_at(deadline);
    boost::system::error_code ignored;
    auto token = asio::redirect_error(asio::use_awaitable, ignored);
    co_await idle_.async_wait(token);
  }
}

}  // namespace txcoord::engine
