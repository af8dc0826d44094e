// What each step does in the model, and what the log takes.
#include "tests/sim/saga_world.hpp"

#include <algorithm>
#include <stdexcept>

#include "txcoord/protocol/saga_plans.hpp"

namespace txcoord::saga_sim {

using protocol::SagaActionKind;

namespace {

// Small limits, so that two faults are enough to reach them.
protocol::SagaPlan small(protocol::SagaPlan plan) {
  plan.conflict_tries_max = 1;
  plan.stuck_after = 2;
  return plan;
}

}  // namespace

const protocol::SagaPlan& plan_of(What what) {
  static const protocol::SagaPlan place = small(protocol::place_order_plan(2)),
                                  cancel = small(protocol::cancel_order_plan()),
                                  accepted = small(protocol::accepted_order_plan()),
                                  pay_later =
                                      small(protocol::place_order_later_plan(true, false, 2)),
                                  both_later =
                                      small(protocol::place_order_later_plan(true, true, 2));
  switch (what) {
    case What::place: return place;
    case What::cancel: return cancel;
    case What::accepted: return accepted;
    case What::pay_later: return pay_later;
    case What::both_later: return both_later;
  }
  throw std::logic_error("a saga of no plan");
}

std::string text_of(const Message& message) {
  std::string text = std::to_string(message.epoch) + ' ' + message.saga + ' ';
  if (message.kind == SagaActionKind::record)
    return text + "record " + message.status + ' ' + message.current_step + ' ' + message.reason;
  return text + message.step;
}

World::World(const Skeleton& skeleton, Promises promises, bool traced)
    : available(skeleton.available),
      balance(skeleton.balance),
      skeleton_(skeleton),
      promises_(promises),
      traced_(traced) {
  for (const auto& [order, status] : skeleton.standing) {
    orders[order] = {status, {}};
    reservations[order] = payments[order] = shipments[order] = {true, 1};
  }
  for (const Wish& wish : skeleton.wishes)
    log[wish.saga] = {.what = wish.what,
                      .order = wish.order,
                      .status = std::string(protocol::saga_started),
                      .current_step = plan_of(wish.what).steps.front().name};
}

const Size& World::size_of(const std::string& order) const {
  static const Size usual;
  const auto found = skeleton_.sizes.find(order);
  return found == skeleton_.sizes.end() ? usual : found->second;
}

void World::note(std::string_view line) {
  if (traced_) trace.emplace_back(line);
}

void World::note(std::string_view what, const Message& message) {
  if (traced_) trace.push_back(std::string(what) + text_of(message));
}

void World::violation(const std::string& line) {
  note("=> " + line);
  violations.push_back(line);
}

Answer World::execute(const Message& message) {
  note("", message);
  switch (message.kind) {
    case SagaActionKind::record: return record(message);
    case SagaActionKind::undo: return undo(message);
    default: return run(message);
  }
}

void World::post_late(const Message& message) {
  note("still under way: ", message);
  late_.push_back(message);
}

void World::land(std::size_t index) {
  const Message message = late_.at(index);
  late_.erase(late_.begin() + static_cast<std::ptrdiff_t>(index));
  note("lands late:");
  execute(message);
}

// --- the log -------------------------------------------------------------------------------------

Answer World::record(const Message& message) {
  LogEntry& entry = log.at(message.saga);
  if (promises_.log_knows_the_owner && entry.owner != message.epoch) return {Answer::not_ours};
  if (promises_.log_never_goes_back && message.progress < entry.progress) return {};
  if (entry.ended() && entry.status != message.status)
    violation("I10 " + message.saga + " had ended " + entry.status);
  entry.status = message.status;
  entry.current_step = message.current_step;
  entry.reason = message.reason;
  entry.progress = message.progress;
  entry.confirmed = entry.confirmed || message.confirmed;
  return {};
}

// --- steps, behind their barriers ----------------------------------------------------------------

const Row* World::barrier(const std::string& saga, const std::string& step) const {
  const auto found = barriers_.find({saga, step});
  return found == barriers_.end() ? nullptr : &found->second;
}

// What a step needs must be there, and what is undone must be the last that stands.
void World::watch_order_of_steps(const Message& message) {
  const protocol::SagaPlan& plan = plan_of(log.at(message.saga).what);
  bool after = false;
  for (const protocol::SagaStep& step : plan.steps) {
    const Row* row = barrier(message.saga, step.name);
    const bool is_done = row != nullptr && row->outcome == Outcome::done;
    const bool undone = barrier(message.saga, step.compensation) != nullptr;
    const bool this_one = step.name == message.step || step.name == message.undoes;
    if (!message.undoes.empty() && after && is_done && !undone)
      violation("I8 " + message.step + " before " + step.name + " was undone");
    if (message.undoes.empty() && !after && !this_one && (!is_done || undone))
      violation("I8 " + message.step + " without " + step.name);
    after = after || this_one;
  }
}

Answer World::run(const Message& message) {
  if (const Row* row = barrier(message.saga, message.step)) {
    switch (row->outcome) {
      case Outcome::done:
        if (promises_.repeated_step_is_known) return {};
        break;
      case Outcome::refused: return {Answer::refused, row->reason};
      case Outcome::skipped: return {Answer::barred};
    }
  }
  watch_order_of_steps(message);
  Answer answer = judge(message);
  if (answer.kind == Answer::done) apply(message.step, message);
  if (answer.kind == Answer::done || promises_.refusal_is_known)
    barriers_[{message.saga, message.step}] = {
        answer.kind == Answer::done ? Outcome::done : Outcome::refused, answer.reason};
  return answer;
}

Answer World::undo(const Message& message) {
  if (const Row* row = barrier(message.saga, message.step)) return {Answer::done, row->reason};
  // Not remembered: it is asked for again when a person has mended what is in its way.
  if (compensations_refused_ < skeleton_.compensations_refused) {
    ++compensations_refused_;
    return {Answer::refused, "ILLEGAL_STATE"};
  }
  watch_order_of_steps(message);
  const Row* step = barrier(message.saga, message.undoes);
  if (step != nullptr && step->outcome == Outcome::done) apply(message.step, message);
  if (step == nullptr && promises_.compensation_bars_the_late)
    barriers_[{message.saga, message.undoes}] = {Outcome::skipped, {}};
  const auto row = orders.find(message.order);
  // What had failed before, for another reason, says which.
  std::string reason;
  if (message.step == "order.fail" && row != orders.end() && promises_.one_reason)
    reason = row->second.reason;
  barriers_[{message.saga, message.step}] = {Outcome::done, reason};
  return {Answer::done, reason};
}

// The business rules of a step.
Answer World::judge(const Message& message) const {
  const Size& size = size_of(message.order);
  const std::string& step = message.step;
  const auto row = orders.find(message.order);
  const std::string status = row == orders.end() ? std::string() : row->second.status;
  const bool all = step == "transact";
  if ((all || step == "order.confirm") && status != "PENDING")
    return {Answer::refused, row == orders.end() ? "NOT_FOUND" : row->second.reason};
  if (step == "order.cancel" && status != "CONFIRMED") return {Answer::refused, "ILLEGAL_STATE"};
  if ((all || step == "inventory.reserve") && available < size.quantity)
    return {Answer::refused, "OUT_OF_STOCK"};
  if ((all || step == "payment.charge") && balance < size.amount)
    return {Answer::refused, "INSUFFICIENT_FUNDS"};
  if ((all || step == "shipping.arrange") && !size.carried)
    return {Answer::refused, "CARRIER_UNAVAILABLE"};
  return {};
}

void World::apply(const std::string& step, const Message& message) {
  const Size& size = size_of(message.order);
  if (step == "order.create") {
    if (!orders.emplace(message.order, OrderRow{"PENDING", {}}).second)
      violation("I5 created twice: " + message.order);
  } else if (step == "inventory.reserve") {
    available -= size.quantity;
    take(reservations, message);
  } else if (step == "payment.charge") {
    balance -= size.amount;
    take(payments, message);
  } else if (step == "shipping.arrange") {
    take(shipments, message);
  } else if (step == "order.confirm") {
    orders.at(message.order).status = "CONFIRMED";
  } else if (step == "transact") {
    for (const char* part :
         {"inventory.reserve", "payment.charge", "shipping.arrange", "order.confirm"})
      apply(part, message);
  } else if (step == "order.cancel") {
    orders.at(message.order).status = "CANCELLED";
  } else if (step == "order.revoke") {
    orders.at(message.order) = {"CANCELLED", message.reason};
  } else if (step == "order.fail") {
    fail_order(message);
  } else if (step == "inventory.release") {
    if (give_back(reservations, message)) available += size.quantity;
  } else if (step == "payment.refund") {
    if (give_back(payments, message)) balance += size.amount;
  } else if (step == "shipping.cancel") {
    give_back(shipments, message);
  } else {
    violation("no such step: " + step);
  }
}

void World::take(std::map<std::string, Effect>& effects, const Message& message) {
  Effect& effect = effects[message.order];
  if (++effect.made > 1) violation("I5 " + message.step + " twice: " + message.order);
  effect.stands = true;
}

// What came after the answer goes back before the order is revoked.
bool World::was_due(const Message& message) const {
  bool due = false;
  const protocol::SagaPlan& plan = plan_of(log.at(message.saga).what);
  for (const protocol::SagaStep& step : plan.steps) {
    if (step.name == message.undoes) return due;
    due = due || step.name == plan.answer_after;
  }
  return false;
}

bool World::give_back(std::map<std::string, Effect>& effects, const Message& message) {
  if (orders.at(message.order).status == "CONFIRMED" && !was_due(message))
    violation("I8 " + message.step + " while the order is CONFIRMED: " + message.order);
  return std::exchange(effects[message.order].stands, false);
}

void World::fail_order(const Message& message) {
  OrderRow& row = orders.at(message.order);
  // By the same way back: what was told to be confirmed stays to be seen as cancelled.
  const Row* revoked = barrier(message.saga, "order.revoke");
  if (row.status == "CANCELLED" && revoked != nullptr) return;
  if (row.status != "PENDING" && row.status != "FAILED")
    violation("I10 " + row.status + " becomes FAILED: " + message.order);
  if (row.status == "PENDING") row = {"FAILED", message.reason};
}

// --- the expirer ---------------------------------------------------------------------------------

bool World::expire_order(const std::string& order) {
  const auto reservation = reservations.find(order);
  if (reservation == reservations.end() || !reservation->second.stands) return false;
  OrderRow& row = orders.at(order);
  if (row.status == "PENDING") row = {"FAILED", "RESERVATION_EXPIRED"};
  note("expires: " + order + ", which is " + row.status);
  return row.status == "FAILED";
}

void World::free_expired(const std::string& order) {
  note("frees what expired: " + order);
  if (std::exchange(reservations[order].stands, false)) available += size_of(order).quantity;
}

}  // namespace txcoord::saga_sim
