// What the participants' stations do: batches of steps. Each ends as an event of every saga in it.
#include <algorithm>

#include "txcoord/base/logging.hpp"
#include "txcoord/base/time.hpp"
#include "txcoord/engine/backoff.hpp"
#include "txcoord/engine/blame.hpp"
#include "txcoord/engine/sagas.hpp"
#include "txcoord/engine/words.hpp"

namespace txcoord::engine {
namespace {

using protocol::SagaEventKind;

bool is_conflict(const Failure& failure) {
  return failure.kind == FailureKind::deadlock || failure.kind == FailureKind::lock_timeout ||
         failure.kind == FailureKind::fenced;
}

// As the metrics name what a saga turns back for.
std::string_view cause_of(FailureKind kind) {
  const bool has_a_name = kind != FailureKind::not_found && kind != FailureKind::busy &&
                          kind != FailureKind::unreadable;
  return to_string(has_a_name ? kind : FailureKind::error);
}

}  // namespace

asio::awaitable<void> Sagas::wait_and_ask(RunningSagaPtr saga, Step step,
                                          std::chrono::milliseconds pause) {
  if (left_to_others(*saga)) {
    give_up_waiting(saga);
    co_return;
  }
  saga->pausing = true;
  auto sleeping = sleep(saga->pause, pause);
  co_await std::move(sleeping);
  saga->pausing = false;
  if (left_to_others(*saga)) {
    give_up_waiting(saga);
  } else if (std::exchange(saga->expired, false) && step.undoes.empty()) {
    deliver(saga, {.kind = SagaEventKind::step_failed, .detail = saga->last_error});
  } else if (!saga->gone) {
    enqueue(std::move(step));
  }
}

asio::awaitable<void> Sagas::step_batch(Participant* participant, std::vector<Step> batch) {
  std::erase_if(batch, [](const Step& step) { return step.saga->gone; });
  if (batch.empty()) co_return;
  const StepTarget& target = target_of(batch.front().name);
  if (!health_.usable(target.participant)) {
    Failure away;
    away.kind = FailureKind::unavailable;
    for (const Step& step : batch) step_failed(step, away);
    co_return;
  }
  if (!fences_.raised(target.participant)) {
    // Before the first step there of what was adopted: its former owner may still send its own.
    auto raising = fences_.ensure(*participant);
    const auto raised = co_await std::move(raising);
    std::erase_if(batch, [](const Step& step) { return step.saga->gone; });
    if (!raised) co_return batch_not_sent(batch, raised.failure());
    if (batch.empty()) co_return;
  }
  crash_.reach("saga", target.name, "before");
  StepRequest request;
  request.step = target.barrier;
  request.undoes = batch.front().undoes;
  request.must_succeed = batch.front().must_succeed;
  Contention& contention = contention_[participant];
  request.lock_mode = contention.mode(std::chrono::steady_clock::now());
  for (const Step& step : batch) {
    auto operation = std::make_shared<Operation>(step.saga->operation());
    operation->kind = target.kind;
    operation->reason = step.saga->core.position().reason;
    const bool makes = target.kind == OperationKind::place || target.kind == OperationKind::create;
    if (!makes) operation->created_at = now_utc();
    if (target.kind == OperationKind::place)
      operation->reserve_until = now_utc() + std::chrono::seconds(settings_.saga.reservation_ttl_s);
    request.calls.push_back({step.saga->id, std::move(operation)});
  }
  const LockMode request_mode = request.lock_mode;
  const protocol::Gid gid = hooks_.open_gid();
  auto running = participant->run_step(gid, std::move(request));
  const auto replies = co_await std::move(running);
  hooks_.close_gid(gid);
  if (replies) {
    crash_.reach("saga", target.name, "after");
    if (request_mode == LockMode::skip) note_held(contention, batch, replies.value());
    for (std::size_t i = 0; i < batch.size(); ++i)
      step_answered(batch[i], cleaned(replies.value().at(i)));
    co_return;
  }
  const Failure& failure = replies.failure();
  health_.failed(target.participant, failure);
  logging::warn("a saga step failed", {{"step", target.name},
                                       {"sagas", static_cast<std::int64_t>(batch.size())},
                                       {"gid", std::string_view(protocol::format(gid))},
                                       {"failure", to_string(failure.kind)},
                                       {"sqlstate", std::string_view(failure.sqlstate)}});
  // Also of a batch that is taken apart: what was sent may be done later than what is sent next.
  unanswered_ = unanswered_ || failure.outcome_unknown;
  // One of them is poison, or waits for a claim or a row that cannot be skipped: the others go on.
  if (work_may_lie_with_one(failure) && batch.size() > 1) {
    for (const Step& step : batch) step.saga->step.failed(failure);
    auto [first, second] = halves(std::move(batch));
    auto one = step_batch(participant, std::move(first));
    co_await std::move(one);
    auto other = step_batch(participant, std::move(second));
    co_await std::move(other);
    co_return;
  }
  metrics_.retry(cause_of(failure.kind));
  if (failure.kind == FailureKind::fenced) {
    // Of an earlier generation of this process: tried again. Else this process stops.
    auto looking = fences_.look(*participant);
    co_await std::move(looking);
  }
  for (const Step& step : batch) step_failed(step, failure);
}

// The fence could not be raised: nothing was asked of the participant.
void Sagas::batch_not_sent(const std::vector<Step>& batch, Failure failure) {
  if (batch.empty()) return;
  failure.outcome_unknown = false;
  const StepTarget& target = target_of(batch.front().name);
  health_.failed(target.participant, failure);
  metrics_.retry(cause_of(failure.kind));
  for (const Step& step : batch) step_failed(step, failure);
}

// Tries after the first are known to wait for something: they say nothing about the others.
void Sagas::note_held(Contention& contention, const std::vector<Step>& batch,
                      const std::vector<StepReply>& replies) {
  std::size_t first_tries = 0, held = 0;
  for (std::size_t i = 0; i < batch.size() && i < replies.size(); ++i) {
    if (batch[i].saga->core.attempts() > 0) continue;
    ++first_tries;
    if (replies[i].status == StepStatus::retry) ++held;
  }
  contention.judged(first_tries, held, std::chrono::steady_clock::now());
}

void Sagas::step_answered(const Step& step, const StepReply& reply) {
  const bool undo = !step.undoes.empty();
  const auto spent = std::chrono::steady_clock::now() - step.saga->asked_at;
  const double seconds = std::chrono::duration<double>(spent).count();
  metrics_.saga_step(step.name, seconds);
  metrics_.phase("saga", "step", seconds);
  switch (reply.status) {
    case StepStatus::done:
      // I10: the order had failed before, for the reason that its row shows.
      if (undo && target_of(step.name).kind == OperationKind::fail && !reply.reason.empty())
        return deliver(step.saga, {.kind = SagaEventKind::compensated,
                                   .reason = reply.reason,
                                   .detail = "the order had failed before"});
      return deliver(step.saga,
                     {.kind = undo ? SagaEventKind::compensated : SagaEventKind::step_done});
    case StepStatus::refused:
      step.saga->last_error = std::string(step.name) + ": " + reply.reason;
      return deliver(step.saga, {.kind = undo ? SagaEventKind::compensation_refused
                                              : SagaEventKind::step_refused,
                                 .reason = reply.reason,
                                 .detail = reply.detail});
    case StepStatus::barred:
      step.saga->trouble = "fenced";
      // Somebody undid this saga, who owns it now: trying again ends with the record that says so.
      return not_done(step, std::string(step.name) + ": undone by another coordinator", false);
    case StepStatus::retry:
      step.saga->trouble = "not_applied";
      return not_done(step, std::string(step.name) + ": its rows are not there yet", true);
  }
}

void Sagas::step_failed(const Step& step, const Failure& failure) {
  const bool may_be_done = step.saga->step.failed(failure).outcome_unknown;
  std::string words = describe(step.name, failure);
  step.saga->trouble = cause_of(failure.kind);
  if (failure.kind != FailureKind::poison)
    return not_done(step, std::move(words), is_conflict(failure));
  step.saga->last_error = words;
  if (step.undoes.empty()) {
    return deliver(step.saga, {.kind = SagaEventKind::step_refused,
                               .reason = "VALIDATION_FAILED",
                               .detail = "a database cannot hold these values",
                               .may_be_done = may_be_done});
  }
  deliver(step.saga, {.kind = SagaEventKind::compensation_refused,
                      .reason = "VALIDATION_FAILED",
                      .detail = std::move(words)});
}

void Sagas::not_done(const Step& step, std::string words, bool conflict) {
  step.saga->conflict = conflict;
  step.saga->last_error = std::move(words);
  deliver(step.saga, {.kind = step.undoes.empty() ? SagaEventKind::step_failed
                                                  : SagaEventKind::compensation_failed,
                      .detail = step.saga->last_error,
                      .conflict = conflict});
}

// An accepted order's turn in a group. Its own key under the order's id is the barrier: whatever
// crashed in between, the second time finds the first one's outcome.
asio::awaitable<void> Sagas::transact(RunningSagaPtr saga) {
  auto operation = std::make_shared<Operation>(saga->operation());
  operation->accepted = true;
  operation->transaction_id.clear();
  operation->created_at = now_utc();
  operation->scope = "accepted";
  operation->idempotency_key = operation->order_id;
  operation->fingerprint = {};
  crash_.reach("saga.transact.before");
  auto trying = hooks_.transact(std::move(operation));
  const SubmitResult result = co_await std::move(trying);
  crash_.reach("saga.transact.after");
  const bool stored = result.status == SubmitStatus::replayed && result.stored.has_value();
  if (result.status == SubmitStatus::confirmed || (stored && result.stored->confirmed)) {
    deliver(saga, {.kind = SagaEventKind::step_done});
  } else if (result.status == SubmitStatus::refused || result.status == SubmitStatus::invalid) {
    deliver(
        saga,
        {.kind = SagaEventKind::step_refused, .reason = result.reason, .detail = result.detail});
  } else if (stored) {
    deliver(saga, {.kind = SagaEventKind::step_refused,
                   .reason = result.stored->reason,
                   .detail = result.stored->detail});
  } else {
    saga->last_error = "transact: " + result.reason;
    deliver(saga, {.kind = SagaEventKind::step_failed, .detail = saga->last_error});
  }
}

}  // namespace txcoord::engine
