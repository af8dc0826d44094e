// Sagas: the door, the loop around the core, and the answers. What is written to the log:
// saga_writes.cpp; steps: saga_work.cpp; adopting and trimming: saga_upkeep.cpp; what is ours and
// not at work here: saga_ownership.cpp.
#include "txcoord/engine/sagas.hpp"

#include <algorithm>
#include <boost/asio/co_spawn.hpp>

#include "txcoord/base/ids.hpp"
#include "txcoord/base/logging.hpp"
#include "txcoord/base/time.hpp"
#include "txcoord/engine/backoff.hpp"
#include "txcoord/protocol/saga_plans.hpp"

namespace txcoord::engine {
namespace {

using protocol::SagaActionKind;
using protocol::SagaEventKind;

constexpr std::size_t troubles_in_batch_max = 500;

bool goes_forward(const protocol::Saga& core) {
  return !core.position().undoing() && core.position().status != protocol::saga_failed;
}

void stop_on_defect(const std::exception_ptr& error) {
  logging::stop_on_defect("defect in a saga: stopping", error);
}

}  // namespace

Sagas::Sagas(asio::any_io_executor io, const Settings& settings,
             std::vector<Participant*> participants, SagaLog& log, Health& health, Fences& fences,
             CrashPoints& crash, Metrics& metrics, SagaHooks hooks)
    : io_(io),
      settings_(settings),
      participants_(std::move(participants)),
      log_(log),
      health_(health),
      fences_(fences),
      crash_(crash),
      metrics_(metrics),
      hooks_(std::move(hooks)),
      starts_(
          io, {settings.engine.group_operations_max, settings.saga.lanes},
          [this](std::vector<RunningSagaPtr> batch) { return start_batch(std::move(batch)); },
          stop_on_defect),
      records_(
          io, {settings.engine.group_operations_max, settings.saga.lanes},
          [this](std::vector<Record> batch) { return record_batch(std::move(batch)); },
          stop_on_defect),
      alone_(
          io, {1, saga_lanes_alone_max}, [](std::vector<Alone> one) { return one.front()(); },
          stop_on_defect),
      troubles_(
          io, {troubles_in_batch_max, 1},
          [this](std::vector<SagaTrouble> batch) { return trouble_batch(std::move(batch)); },
          stop_on_defect),
      ticker_(io),
      idle_(io) {
  for (Participant* participant : participants_) {
    step_stations_.try_emplace(
        std::string(participant->name()), io,
        StationLimits{settings.engine.group_operations_max, settings.saga.lanes},
        [this, participant](std::vector<Step> batch) {
          return step_batch(participant, std::move(batch));
        },
        stop_on_defect);
  }
}

void Sagas::spawn(asio::awaitable<void> work) {
  asio::co_spawn(io_, std::move(work), [](const std::exception_ptr& error) {
    if (error) stop_on_defect(error);
  });
}

// --- the door ----------------------------------------------------------------------------------

std::shared_ptr<const Operation> Sagas::operation_for(const Operation& asked,
                                                      const std::string& saga_id,
                                                      Protocol protocol) const {
  auto operation = std::make_shared<Operation>(asked);
  operation->transaction_id = saga_id;
  if (protocol == Protocol::saga && asked.kind == OperationKind::place) operation->mode = "saga";
  return operation;
}

// Throws std::invalid_argument for a type that this version does not know.
protocol::SagaPlan Sagas::plan_of(std::string_view type, bool accepted) const {
  auto plan = protocol::plan_of_type(type, accepted ? 0 : settings_.saga.step_tries_max);
  plan.stuck_after = settings_.saga.stuck_after;
  return plan;
}

RunningSagaPtr Sagas::take_in(std::string saga_id, SubmissionPtr submission,
                              protocol::SagaPlan plan, protocol::SagaPosition position,
                              bool accepted, bool answered) {
  auto saga = std::make_shared<RunningSaga>(io_, std::move(saga_id), std::move(submission),
                                            std::move(plan), std::move(position), answered);
  saga->accepted = accepted;
  running_.emplace(saga->id, saga);
  by_order_[saga->operation().order_id] = saga;
  return saga;
}

void Sagas::begin(SubmissionPtr submission, Protocol protocol, bool accepted) {
  const std::string saga_id = uuid_v7();
  submission->operation = operation_for(*submission->operation, saga_id, protocol);
  std::string_view type = protocol::place_order_type;
  const PlaceOrder& place = submission->operation->place;
  if (submission->operation->kind == OperationKind::cancel) {
    type = protocol::cancel_order_type;
  } else if (place.something_due()) {
    type = protocol::later_type(place.pay_later, place.ship_by_hand);
  } else if (protocol == Protocol::two_phase) {
    type = protocol::accepted_order_type;
  }
  const auto saga =
      take_in(saga_id, std::move(submission), plan_of(type, accepted), {}, accepted, false);
  push_start(saga);
}

// --- the loop around the core ------------------------------------------------------------------

void Sagas::deliver(const RunningSagaPtr& saga, Event event) {
  if (saga->gone) return;
  saga->feed.deliver(std::move(event), [&](const Event& next) {
    const bool forward = goes_forward(saga->core);
    const protocol::SagaActions actions = saga->core.step(next);
    if (forward && !goes_forward(saga->core)) count_turned_back(*saga);
    for (const auto& action : actions) perform(saga, action);
  });
}

void Sagas::perform(const RunningSagaPtr& saga, const protocol::SagaAction& action) {
  const auto& plan = saga->core.plan();
  switch (action.kind) {
    case SagaActionKind::run: {
      const StepTarget& target = target_of(plan.steps[action.step].name);
      return ask(saga, {saga, target.name, {}, plan.steps[action.step].must_succeed},
                 action.attempt);
    }
    case SagaActionKind::undo: {
      const auto& step = plan.steps[action.step];
      const StepTarget& target = target_of(step.compensation);
      if (action.attempt == 0) metrics_.saga_compensation(target.name);
      return ask(saga, {saga, target.name, target_of(step.name).barrier, true}, action.attempt);
    }
    case SagaActionKind::record:
      if (action.attempt == 0) return push_record({saga, 0});
      return spawn(wait_and_record(saga, action.attempt));
    case SagaActionKind::reply: return reply(saga);
    case SagaActionKind::stuck:
    case SagaActionKind::unstuck: {
      const bool stuck = action.kind == SagaActionKind::stuck;
      troubles_.push("trouble",
                     {saga->id, saga->core.attempts(), std::nullopt, saga->last_error, stuck});
      count_stuck();
      if (!stuck) return;
      return logging::error("a saga is stuck: it needs a person",
                            {{"saga_id", std::string_view(saga->id)},
                             {"order_id", std::string_view(saga->operation().order_id)},
                             {"step", std::string_view(plan.steps[action.step].name)},
                             {"error", std::string_view(saga->last_error)}});
    }
    case SagaActionKind::finish: return finish(saga);
  }
}

void Sagas::reply(const RunningSagaPtr& saga) {
  SubmitResult result;
  result.transaction_id = saga->id;
  if (saga->core.confirmed()) {
    result.status = SubmitStatus::confirmed;
    result.applied = saga->submission->applied = saga->core.completed();
  } else {
    result.status = SubmitStatus::refused;
    result.reason = saga->core.position().reason;
    result.detail = saga->core.position().detail;
  }
  crash_.reach("saga.reply.before");
  hooks_.answer(saga->submission, std::move(result));
}

void Sagas::finish(const RunningSagaPtr& saga) {
  const auto& core = saga->core;
  if (!core.plan().answer_after.empty()) {
    // Whoever waits for "applied": it is, or never will be.
    saga->submission->applied = true;
    saga->submission->changed.cancel();
    if (!core.completed()) {
      metrics_.order(saga->operation().mode, "cancelled", core.position().reason);
      logging::warn("an order was confirmed, and is cancelled: what was due was refused",
                    {{"saga_id", std::string_view(saga->id)},
                     {"order_id", std::string_view(saga->operation().order_id)},
                     {"reason", std::string_view(core.position().reason)}});
    }
  }
  forget(saga);
}

void Sagas::forget(const RunningSagaPtr& saga) {
  saga->gone = true;
  if (running_.erase(saga->id) > 0 && looking_) left_while_looking_.insert(saga->id);
  const auto entry = by_order_.find(saga->operation().order_id);
  if (entry != by_order_.end() && entry->second == saga) by_order_.erase(entry);
  if (saga->core.stuck() || saga->record_stuck) count_stuck();
  idle_.cancel();
}

// What 2PC calls an abort. Where the order goes through a group, the group has counted it.
void Sagas::count_turned_back(const RunningSaga& saga) {
  if (saga.core.plan().type == protocol::accepted_order_type) return;
  const std::string& reason = saga.core.position().reason;
  std::string_view cause = "refused";
  if (reason == protocol::saga_participant_unavailable) {
    cause = saga.trouble;
    metrics_.participant_errors(saga.at, 1);
  }
  if (reason == expired_reason) cause = "timeout";
  metrics_.abort("saga", cause);
}

std::vector<std::string> Sagas::stuck() const {
  std::vector<std::string> ids;
  for (const auto& [id, saga] : running_)
    if (saga->core.stuck() || saga->record_stuck) ids.push_back(id);
  for (const auto& [id, until] : set_aside_) ids.push_back(id);
  return ids;
}

// The log remembers over a restart, and knows of others' sagas; only this process knows what the
// log would not take.
void Sagas::count_stuck() { metrics_.sagas_stuck(stuck().size() + stuck_elsewhere_); }

asio::awaitable<void> Sagas::look_for_stuck() {
  auto counting = log_.count_stuck();
  const auto counted = co_await std::move(counting);
  if (!counted) co_return;
  stuck_elsewhere_ = counted.value() - std::min(counted.value(), stuck().size());
  count_stuck();
}

// Doubling from retry_ms_min to retry_ms_max, and up to a quarter more, so that what failed
// together does not come back together.
std::chrono::milliseconds Sagas::pause_of(std::uint32_t attempt) {
  const std::uint64_t doublings = std::min(attempt == 0 ? 0U : attempt - 1, 20U);
  return with_a_quarter(std::chrono::milliseconds(std::min<std::uint64_t>(
      std::uint64_t{settings_.saga.retry_ms_min} << doublings, settings_.saga.retry_ms_max)));
}

std::chrono::milliseconds Sagas::with_a_quarter(std::chrono::milliseconds pause) {
  const auto extra = std::uniform_int_distribution<std::int64_t>(0, pause.count() / 4)(jitter_);
  return pause + std::chrono::milliseconds(extra);
}

std::chrono::milliseconds Sagas::pause_before(const RunningSaga& saga, std::uint32_t attempt) {
  return saga.conflict ? with_a_quarter(backoff(std::max(attempt, 1U))) : pause_of(attempt);
}

void Sagas::ask(const RunningSagaPtr& saga, Step step, std::uint32_t attempt) {
  if (attempt == 0 && !saga->conflict) return enqueue(std::move(step));
  const auto pause = pause_before(*saga, attempt);
  if (!saga->conflict) {
    troubles_.push("trouble", {saga->id, saga->core.attempts(), now_utc() + pause, saga->last_error,
                               saga->core.stuck()});
  }
  spawn(wait_and_ask(saga, std::move(step), pause));
}

void Sagas::enqueue(Step step) {
  const RunningSagaPtr saga = step.saga;
  const StepTarget& target = target_of(step.name);
  saga->conflict = false;
  saga->asked_at = std::chrono::steady_clock::now();
  saga->at = target.participant;
  if (target.participant.empty()) return spawn(transact(saga));
  std::string kind(step.name);
  // A batch is all of one kind: the same step may be a compensation, or past the point of no
  // return.
  if (!step.undoes.empty()) kind += " undoes";
  if (step.must_succeed) kind += " must";
  // What may meet an earlier try of its own, or waits for a row, waits with its like.
  if (saga->core.attempts() > 0 || saga->submission->adopted) kind += " again";
  step_stations_.find(target.participant)->second.push(std::move(kind), std::move(step));
}

// --- from outside ------------------------------------------------------------------------------

void Sagas::kick(std::string_view participant) {
  for (auto& [id, saga] : running_) {
    if (saga->pausing && (saga->at.empty() || saga->at == participant)) saga->pause.cancel();
  }
}

void Sagas::abandon(const std::string& order_id, std::string reason, std::string detail) {
  const auto entry = by_order_.find(order_id);
  if (entry == by_order_.end() || !entry->second->known) return;
  const RunningSagaPtr saga = entry->second;
  deliver(
      saga,
      {.kind = SagaEventKind::abandon, .reason = std::move(reason), .detail = std::move(detail)});
  saga->expired = true;
  if (saga->pausing) saga->pause.cancel();
}

asio::awaitable<Result<bool>> Sagas::something_due(std::string order_id) {
  auto reading = log_.of_order(std::move(order_id));
  const auto sagas = co_await std::move(reading);
  if (!sagas) co_return sagas.failure();
  co_return std::ranges::any_of(sagas.value(), [](const SagaInstance& saga) {
    return !saga.ended_at && protocol::is_later_type(saga.type);
  });
}

void Sagas::show_due() {
  std::map<std::string_view, std::size_t> due;
  for (Participant* participant : participants_) due[participant->name()] = 0;
  for (const auto& [id, saga] : running_) {
    const auto& plan = saga->core.plan();
    if (plan.answer_after.empty() || !saga->core.confirmed()) continue;
    for (std::size_t i = saga->core.position().next; i < plan.steps.size(); ++i)
      ++due[target_of(plan.steps[i].name).participant];
  }
  for (const auto& [participant, orders] : due) metrics_.orders_due(participant, orders);
}

std::optional<PendingOrder> Sagas::pending(const std::string& order_id) const {
  const auto entry = by_order_.find(order_id);
  if (entry == by_order_.end()) return std::nullopt;
  const RunningSaga& saga = *entry->second;
  PendingOrder order;
  order.operation = saga.submission->operation;
  order.kind = order.operation->kind;
  order.transaction_id = saga.id;
  order.decided = saga.core.confirmed();  // and something of it is due
  if (!saga.at.empty()) order.waiting_for.emplace_back(saga.at);
  return order;
}

}  // namespace txcoord::engine
