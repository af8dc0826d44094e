// Sagas to test: the plans, every position that they can have, and the way to one of them.
#pragma once

#include "tests/scenarios/saga_script.hpp"

namespace txcoord::protocol::saga_test {

inline const std::vector<SagaPlan>& plans() {
  static const std::vector<SagaPlan> all = {place_order_plan(3),
                                            cancel_order_plan(),
                                            accepted_order_plan(),
                                            place_order_later_plan(true, false, 3),
                                            place_order_later_plan(false, true, 3),
                                            place_order_later_plan(true, true, 3)};
  return all;
}

inline bool can_be_undone(const SagaStep& step) { return !step.compensation.empty(); }

// Every position that a saga of this plan can record, in the order of its progress.
inline std::vector<SagaPosition> positions_of(const SagaPlan& plan) {
  std::vector<SagaPosition> all{{}};
  for (std::size_t i = 0; i < plan.steps.size(); ++i)
    all.push_back({plan.steps[i].status_after, i + 1});
  for (std::size_t i = plan.steps.size(); i > 0; --i)
    if (can_be_undone(plan.steps[i - 1]))
      all.push_back({std::string(saga_compensating), i, "OUT_OF_STOCK", "book-456"});
  all.push_back({std::string(saga_failed), 0, "OUT_OF_STOCK", "book-456"});
  return all;
}

inline SagaActions feed(Saga& saga, SagaEventKind kind, std::string reason = {}) {
  return saga.step({kind, std::move(reason), "detail"});
}

// Stands before step `next` of a new saga, its position durable, the step asked for.
inline Saga running_at(const SagaPlan& plan, std::size_t next) {
  Saga saga(plan);
  feed(saga, SagaEventKind::start);
  for (std::size_t i = 0; i < next; ++i) {
    feed(saga, SagaEventKind::step_done);
    feed(saga, SagaEventKind::recorded);
  }
  return saga;
}

// Takes a saga that has turned back to its end: the steps that were undone, in order.
inline std::vector<std::size_t> undo_all(Saga& saga) {
  std::vector<std::size_t> undone;
  while (saga.state() != SagaState::done) {
    const bool recording = saga.state() == SagaState::recording;
    for (const SagaAction& action :
         feed(saga, recording ? SagaEventKind::recorded : SagaEventKind::compensated))
      if (action.kind == SagaActionKind::undo) undone.push_back(action.step);
  }
  return undone;
}

inline std::vector<std::size_t> last_to_first(std::size_t count) {
  std::vector<std::size_t> steps;
  for (std::size_t i = count; i > 0; --i) steps.push_back(i - 1);
  return steps;
}

}  // namespace txcoord::protocol::saga_test
