// What is written of sagas to the log: starts, states, troubles. In batches; what may be the cause
// of a batch's failure is taken out of it and tried by itself, and the others go on.
#include <algorithm>

#include "txcoord/base/logging.hpp"
#include "txcoord/base/time.hpp"
#include "txcoord/engine/backoff.hpp"
#include "txcoord/engine/blame.hpp"
#include "txcoord/engine/sagas.hpp"
#include "txcoord/engine/words.hpp"
#include "txcoord/log/saga_payload.hpp"

namespace txcoord::engine {
namespace {

using protocol::SagaEventKind;

// A start whose outcome stays unknown for longer is left to reconcile(), which finds it if it
// stands.
constexpr std::uint32_t start_tries_max = 10;
// After so many errors of its own a state is shown as one that needs a person.
constexpr std::uint32_t refusals_max = 3;

SagaUpdate update_of(const RunningSaga& saga) {
  const auto& position = saga.core.position();
  SagaUpdate update;
  update.saga_id = saga.id;
  update.status = position.status;
  update.current_step = protocol::current_step(saga.core.plan(), position);
  update.reason = position.reason;
  update.detail = position.detail;
  update.ended = position.ended();
  update.confirmed = saga.core.confirmed();
  update.progress = protocol::progress(saga.core.plan(), position);
  return update;
}

void log_failure(std::string_view what, std::size_t sagas, const Failure& failure) {
  logging::warn(what, {{"sagas", static_cast<std::int64_t>(sagas)},
                       {"failure", to_string(failure.kind)},
                       {"sqlstate", std::string_view(failure.sqlstate)},
                       {"outcome_unknown", failure.outcome_unknown}});
}

// Trying the very same again will not help.
bool hopeless(const Failure& failure) {
  const bool refused = failure.kind == FailureKind::poison || failure.kind == FailureKind::error;
  return failure.kind == FailureKind::fenced || (refused && !failure.outcome_unknown);
}

}  // namespace

// --- starts ------------------------------------------------------------------------------------

asio::awaitable<void> Sagas::start_batch(std::vector<RunningSagaPtr> batch) {
  crash_.reach("saga.start.before");
  std::vector<SagaStart> starts;
  for (const auto& saga : batch) {
    const auto& core = saga->core;
    starts.push_back({saga->id, core.plan().type,
                      protocol::current_step(core.plan(), core.position()),
                      to_payload(saga->operation()), saga->submission->operation, saga->accepted});
  }
  auto starting = log_.start(owner_, std::move(starts));
  const auto replies = co_await std::move(starting);
  if (!replies) {
    start_batch_failed(std::move(batch), replies.failure());
    co_return;
  }
  crash_.reach("saga.start.after");
  for (std::size_t i = 0; i < batch.size(); ++i) {
    const SagaStartReply& reply = replies.value().at(i);
    batch[i]->apart = false;
    reply.started ? started(batch[i]) : not_started(batch[i], reply.stored);
  }
}

// A start that may stand is repeated until it is known. Repeating is safe: the key is claimed for
// this saga. Only where every try was certain is the client told that nothing was done; what may
// stand is answered "unknown", and found by reconcile() if it stands.
void Sagas::start_batch_failed(std::vector<RunningSagaPtr> batch, const Failure& failure) {
  health_.failed(log_name, failure);
  log_failure("sagas could not be started", batch.size(), failure);
  if (failure.kind == FailureKind::fenced) hooks_.fenced("a saga's start was refused");
  const bool in_company = batch.size() > 1;
  for (const auto& saga : batch) {
    const Failure known = saga->starting.failed(failure);
    ++saga->start_failures;
    saga->apart =
        saga->apart || may_lie_with_one(failure) || saga->start_failures >= tries_in_company_max;
    if (in_company && may_lie_with_one(failure) && !draining_) {
      push_start(saga);
    } else if (!known.outcome_unknown || draining_ || hopeless(failure) ||
               saga->start_failures >= start_tries_max) {
      start_failed(saga, known);
    } else {
      spawn(wait_and_start(saga));
    }
  }
}

void Sagas::push_start(const RunningSagaPtr& saga) {
  if (!saga->apart) return starts_.push("start", saga);
  alone_.push("start", [this, saga] {
    std::vector<RunningSagaPtr> batch{saga};
    return start_batch(std::move(batch));
  });
}

asio::awaitable<void> Sagas::wait_and_start(RunningSagaPtr saga) {
  auto pause = sleep(saga->pause, jittered(backoff(saga->start_failures), jitter_));
  co_await std::move(pause);
  push_start(saga);
}

void Sagas::started(const RunningSagaPtr& saga) {
  saga->known = true;
  saga->starting.settled();
  if (saga->accepted) {
    SubmitResult result;
    result.status = SubmitStatus::accepted;
    result.transaction_id = saga->id;
    hooks_.answer(saga->submission, std::move(result));
  }
  deliver(saga, {.kind = SagaEventKind::start});
}

// Its key was used before. What is pending under it is under way here or at another coordinator.
void Sagas::not_started(const RunningSagaPtr& saga, const std::optional<StoredOutcome>& stored) {
  SubmitResult result;
  result.stored = stored;
  if (!stored || stored->fingerprint != saga->operation().fingerprint) {
    result.status = stored ? SubmitStatus::key_reused : SubmitStatus::in_flight;
  } else if (stored->pending) {
    result.status = stored->accepted ? SubmitStatus::accepted : SubmitStatus::in_flight;
  } else {
    result.status = SubmitStatus::replayed;
  }
  if (result.status == SubmitStatus::in_flight) result.reason = "REQUEST_IN_FLIGHT";
  hooks_.answer(saga->submission, std::move(result));
  forget(saga);
}

// `failure` is what all tries together came to.
void Sagas::start_failed(const RunningSagaPtr& saga, const Failure& failure) {
  SubmitResult result;
  if (failure.outcome_unknown) {
    result.status = SubmitStatus::unknown;
    result.reason = "OUTCOME_UNKNOWN";
    result.transaction_id = saga->id;
  } else if (failure.kind == FailureKind::poison) {
    result.status = SubmitStatus::invalid;
    result.reason = "VALIDATION_FAILED";
    result.detail = "a database cannot hold these values";
  } else {
    result.status = SubmitStatus::unavailable;
    result.reason = "PARTICIPANT_UNAVAILABLE";
    result.detail = "the log did not take it; nothing was done, send it again";
    metrics_.participant_errors(log_name, 1);
  }
  hooks_.answer(saga->submission, std::move(result));
  forget(saga);
}

// --- states ------------------------------------------------------------------------------------

asio::awaitable<void> Sagas::record_batch(std::vector<Record> batch) {
  std::erase_if(batch, [](const Record& record) { return record.saga->gone; });
  if (batch.empty()) co_return;
  crash_.reach("saga.record.before");
  std::vector<SagaUpdate> updates;
  updates.reserve(batch.size());
  for (const Record& record : batch) updates.push_back(update_of(*record.saga));
  auto recording = log_.record(owner_, std::move(updates));
  const auto not_ours = co_await std::move(recording);
  if (!not_ours) {
    record_batch_failed(std::move(batch), not_ours.failure());
    co_return;
  }
  crash_.reach("saga.record.after");
  for (const Record& record : batch) {
    if (std::ranges::find(not_ours.value(), record.saga->id) != not_ours.value().end()) {
      logging::warn("a saga was adopted by another coordinator",
                    {{"saga_id", std::string_view(record.saga->id)}});
      forget(record.saga);
    } else {
      recorded(record.saga);
    }
  }
}

void Sagas::record_batch_failed(std::vector<Record> batch, const Failure& failure) {
  health_.failed(log_name, failure);
  log_failure("saga states could not be recorded", batch.size(), failure);
  // I11: a fenced owner runs nothing any more; whoever fenced it adopts its sagas.
  if (failure.kind == FailureKind::fenced) {
    hooks_.fenced("a saga's state was refused: the epoch was raised");
    for (const Record& record : batch) forget(record.saga);
    return;
  }
  const bool in_company = batch.size() > 1;
  for (const Record& record : batch) {
    const auto& saga = record.saga;
    saga->apart =
        saga->apart || may_lie_with_one(failure) || record.attempt + 1 >= tries_in_company_max;
    if (in_company && may_lie_with_one(failure)) {
      push_record(record);
      continue;
    }
    if (!in_company && may_lie_with_one(failure)) record_refused(saga, failure);
    deliver(saga, {.kind = SagaEventKind::record_failed});
  }
}

void Sagas::push_record(const Record& record) {
  if (!record.saga->apart) return records_.push("record", record);
  alone_.push("record", [this, record] {
    std::vector<Record> batch{record};
    return record_batch(std::move(batch));
  });
}

// The log answered, and does not take this one state. It is tried on, more and more slowly, and
// shown to people: at once where its values are refused, later where it is merely in somebody's
// way.
void Sagas::record_refused(const RunningSagaPtr& saga, const Failure& failure) {
  ++saga->record_refusals;
  saga->conflict =
      failure.kind == FailureKind::lock_timeout || failure.kind == FailureKind::deadlock;
  saga->last_error = describe("log.record", failure);
  const std::uint32_t patience = saga->conflict ? settings_.saga.stuck_after : refusals_max;
  const bool needs_a_person =
      failure.kind == FailureKind::poison || saga->record_refusals >= patience;
  if (needs_a_person && !std::exchange(saga->record_stuck, true)) {
    count_stuck();
    logging::error("a saga is stuck: its state cannot be recorded, it needs a person",
                   {{"saga_id", std::string_view(saga->id)},
                    {"order_id", std::string_view(saga->operation().order_id)},
                    {"error", std::string_view(saga->last_error)}});
  }
  troubles_.push("trouble", {saga->id, saga->record_refusals, std::nullopt, saga->last_error,
                             saga->record_stuck});
}

void Sagas::recorded(const RunningSagaPtr& saga) {
  saga->apart = saga->conflict = false;
  saga->record_refusals = 0;
  saga->step.settled();
  if (std::exchange(saga->record_stuck, false)) count_stuck();
  deliver(saga, {.kind = SagaEventKind::recorded});
}

asio::awaitable<void> Sagas::wait_and_record(RunningSagaPtr saga, std::uint32_t attempt) {
  const bool refused = saga->record_refusals > 0 && !saga->conflict;
  const auto time = refused ? pause_of(saga->record_refusals) : jittered(backoff(attempt), jitter_);
  auto pause = sleep(saga->pause, time);
  co_await std::move(pause);
  push_record({saga, attempt});
}

// What is only shown may be lost: the next try shows it again.
asio::awaitable<void> Sagas::trouble_batch(std::vector<SagaTrouble> batch) {
  std::vector<std::vector<SagaTrouble>> parts;
  parts.push_back(std::move(batch));
  while (!parts.empty() && health_.usable(log_name)) {
    std::vector<SagaTrouble> part = std::move(parts.back());
    parts.pop_back();
    auto noting = log_.note_trouble(owner_, part);
    const auto noted = co_await std::move(noting);
    if (noted) continue;
    health_.failed(log_name, noted.failure());
    if (!may_lie_with_one(noted.failure())) co_return;
    if (part.size() == 1) continue;
    auto [first, second] = halves(std::move(part));
    parts.push_back(std::move(second));
    parts.push_back(std::move(first));
  }
}

}  // namespace txcoord::engine
