// Sagas that nobody works on are adopted; those that ended long ago are forgotten; drain.
#include <algorithm>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "txcoord/base/logging.hpp"
#include "txcoord/engine/blame.hpp"
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
    bool more = co_await std::move(adopting);
    auto looking = reconcile();
    const bool more_of_ours = co_await std::move(looking);
    more = more || more_of_ours;
    // Beside this loop: a barrier that somebody holds must not keep sagas from being taken up.
    const bool due = settings_.engine.trim && round % trim_every_rounds == trim_every_rounds - 1;
    if (due && !std::exchange(trimming_, true)) spawn(trim());
    auto pause = ticker_.wait(more ? std::chrono::milliseconds(0) : interval);
    const bool go_on = co_await std::move(pause);
    if (!go_on) co_return;
  }
}

// A coordinator that is gone may have left nothing prepared, and sagas all the same.
asio::awaitable<void> Sagas::take_over_owners() {
  if (!health_.usable(log_name) || draining_) co_return;
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
  if (!health_.usable(log_name) || draining_ || full()) co_return false;
  // Before: an adoption whose answer was lost is found again by a later round, and what it was
  // adopted from is fenced by this.
  auto requiring = fences_.require_committed();
  const bool required = co_await std::move(requiring);
  if (!required) co_return false;
  const std::size_t limit = std::min(room(), adopted_at_once_max);
  auto asking = log_.adopt(owner_, limit);
  auto adopted = co_await std::move(asking);
  if (!adopted) {
    // Unknown: what became ours all the same is found by reconcile().
    health_.failed(log_name, adopted.failure());
    if (adopted.failure().kind == FailureKind::fenced) hooks_.fenced("adopting was refused");
    if (!may_lie_with_one(adopted.failure())) co_return false;
    auto singly = adopt_one_by_one();
    co_return co_await std::move(singly);
  }
  if (!adopted.value().empty()) {
    logging::info("adopted unfinished sagas",
                  {{"sagas", static_cast<std::int64_t>(adopted.value().size())}});
    crash_.reach("saga.adopt.after");
  }
  const bool more = adopted.value().size() == limit;
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
    // Who ran it before may have asked for the step that is next.
    saga->step.presume();
    set_aside_.erase(instance.saga_id);
    deliver(saga, {.kind = protocol::SagaEventKind::start});
  } catch (const std::exception& unreadable) {
    // Its words may hold personal data.
    set_aside(instance.saga_id, "it cannot be read");
    troubles_.push("trouble",
                   {instance.saga_id, instance.attempts, std::nullopt, "it cannot be read", true});
  }
}

asio::awaitable<void> Sagas::trim() {
  auto taking = take_over_owners_of_ended();
  co_await std::move(taking);
  bool more = true;
  for (std::size_t i = 0; more && i < trims_in_round_max; ++i) {
    if (!health_.all_usable() || draining_) break;
    auto trimming = trim_some();
    more = co_await std::move(trimming);
  }
  trimming_ = false;
}

// True if there is more to do. One whose barriers cannot be deleted now (somebody holds a row) does
// not keep the others': they go without it, and it is met again in the next round.
asio::awaitable<bool> Sagas::trim_some() {
  auto asking = log_.ended_before(owner_, std::chrono::seconds(settings_.saga.barriers_keep_s),
                                  trimmed_at_once_max);
  const auto ended = co_await std::move(asking);
  if (!ended) {
    health_.failed(log_name, ended.failure());
    co_return false;
  }
  std::vector<std::vector<std::string>> parts;
  if (!ended.value().empty()) {
    auto raising = raise_for_trim();
    if (const bool raised = co_await std::move(raising); !raised) co_return false;
    parts.push_back(ended.value());
  }
  bool all = true;
  while (!parts.empty()) {
    std::vector<std::string> part = std::move(parts.back());
    parts.pop_back();
    auto trimming = trim_barriers(part);
    const auto trimmed = co_await std::move(trimming);
    if (trimmed) continue;
    if (!may_lie_with_one(trimmed.failure()) || draining_) co_return false;
    all = false;
    if (part.size() == 1) continue;
    auto [first, second] = halves(std::move(part));
    parts.push_back(std::move(second));
    parts.push_back(std::move(first));
  }
  auto forgetting = log_.trim(std::chrono::seconds(settings_.saga.keep_s));
  const auto forgotten = co_await std::move(forgetting);
  co_return forgotten.ok() && all&& ended.value().size() == trimmed_at_once_max;
}

// Rules 4 and 5 of fences.hpp. All tries of the sagas that are to be trimmed were sent before these
// ended, so before they were read from the log: whoever sent them is known by now.
asio::awaitable<bool> Sagas::raise_for_trim() {
  auto requiring = fences_.require_committed();
  const bool required = co_await std::move(requiring);
  if (!required) co_return false;
  auto first = fences_.raise_everywhere();
  if (const bool raised = co_await std::move(first); !raised) co_return false;
  if (!unanswered_) co_return true;
  if (!hooks_.begin_generation()) co_return false;
  unanswered_ = false;
  auto second = fences_.raise_everywhere();
  co_return co_await std::move(second);
}

// Barriers first, then the record: a step that comes late must find its barrier as long as anybody
// could send it.
asio::awaitable<Result<Done>> Sagas::trim_barriers(std::vector<std::string> ended) {
  for (Participant* participant : participants_) {
    auto trimming = participant->trim_steps(ended, fences_.owner());
    auto trimmed = co_await std::move(trimming);
    if (trimmed) continue;
    health_.failed(participant->name(), trimmed.failure());
    if (trimmed.failure().kind == FailureKind::fenced) {
      auto looking = fences_.look(*participant);
      co_await std::move(looking);
    }
    co_return trimmed;
  }
  auto noting = log_.barriers_trimmed(std::move(ended));
  auto noted = co_await std::move(noting);
  if (!noted) health_.failed(log_name, noted.failure());
  co_return noted;
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
    if (left_to_others(*saga) || !saga->known) saga->pause.cancel();
  while (!running_.empty() && std::chrono::steady_clock::now() < deadline) {
    idle_.expires_at(deadline);
    boost::system::error_code ignored;
    auto token = asio::redirect_error(asio::use_awaitable, ignored);
    co_await idle_.async_wait(token);
  }
}

}  // namespace txcoord::engine
