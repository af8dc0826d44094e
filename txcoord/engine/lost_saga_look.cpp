// One lost saga: what its rows say is at risk, and writing it into the log again.
#include <algorithm>

#include "txcoord/base/logging.hpp"
#include "txcoord/engine/health.hpp"
#include "txcoord/engine/lost_sagas.hpp"
#include "txcoord/engine/words.hpp"
#include "txcoord/log/saga_payload.hpp"
#include "txcoord/protocol/saga_plans.hpp"

namespace txcoord::engine {
namespace {

bool taken(const PaymentView& payment) {
  return payment.status == "CAPTURED" || payment.status == "AUTHORIZED";
}

std::string stock_of(const std::vector<ReservationView>& reservations) {
  std::string text;
  for (const ReservationView& one : reservations) {
    if (one.status != "RESERVED") continue;
    if (!text.empty()) text += ", ";
    text += std::to_string(one.quantity) + ' ' + one.sku;
  }
  return text;
}

}  // namespace

std::string at_risk(const LostSaga& saga) {
  std::string text;
  const auto add = [&text](const std::string& part) {
    if (!text.empty()) text += "; ";
    text += part;
  };
  if (saga.money_taken > 0)
    add(std::to_string(saga.money_taken) + " taken from " + saga.customer_id + " (" +
        saga.payment_status + ")");
  if (!saga.stock_held.empty()) add(saga.stock_held + " held");
  if (saga.shipment_status == "ARRANGED") add("shipment ARRANGED");
  if (saga.order_status == "CONFIRMED") add("confirmed, and its payment or its shipment is due");
  return text.empty() ? "nothing is taken; the order stays " + saga.order_status : text;
}

void LostSagas::collect(Found& found, std::string_view participant, const SagaBarriers& barriers) {
  const bool first = found.barriers.empty();
  if (!barriers.order_id.empty()) found.order_id = barriers.order_id;
  found.age_seconds =
      first ? barriers.age_seconds : std::min(found.age_seconds, barriers.age_seconds);
  for (const auto& [step, outcome] : barriers.steps)
    found.barriers[std::string(participant) + '.' + step] = outcome;
}

asio::awaitable<Result<LostSagas::Found>> LostSagas::barriers_of(std::string saga_id) {
  Found found;
  for (Participant* participant : participants_) {
    BarriersQuery query{identity_().installation, {saga_id}, {}, 0};
    auto listing = participant->list_steps(std::move(query));
    const auto page = co_await std::move(listing);
    if (!page) co_return named(participant->name(), page.failure());
    for (const SagaBarriers& barriers : page.value().sagas)
      collect(found, participant->name(), barriers);
  }
  co_return found;
}

asio::awaitable<Result<LostSagas::Rows>> LostSagas::rows_of(std::string order_id) {
  Rows rows;
  if (order_id.empty()) co_return rows;
  auto reading_order = services_.orders.order(order_id);
  const auto order = co_await std::move(reading_order);
  if (!order) co_return named("order", order.failure());
  auto reading_stock = services_.inventory.reservations(order_id);
  const auto reservations = co_await std::move(reading_stock);
  if (!reservations) co_return named("inventory", reservations.failure());
  auto reading_payments = services_.payments.payments_of_order(order_id);
  const auto payments = co_await std::move(reading_payments);
  if (!payments) co_return named("payment", payments.failure());
  auto reading_shipments = services_.shipping.shipments(order_id);
  const auto shipments = co_await std::move(reading_shipments);
  if (!shipments) co_return named("shipping", shipments.failure());
  rows.order = order.value();
  rows.reservations = reservations.value();
  if (!payments.value().empty()) rows.payment = payments.value().front();
  if (!shipments.value().empty()) rows.shipment = shipments.value().front();
  co_return rows;
}

namespace {

protocol::LostRows summary(const auto& rows) {
  protocol::LostRows said;
  if (rows.order) {
    said.order_status = rows.order->status;
    said.order_mode = rows.order->mode;
    said.order_reason = !rows.order->reason.empty();
  }
  said.stock_held = std::ranges::any_of(rows.reservations,
                                        [](const auto& one) { return one.status == "RESERVED"; });
  said.money_taken = rows.payment && taken(*rows.payment);
  said.shipment_arranged = rows.shipment && rows.shipment->status == "ARRANGED";
  said.shipment_sent =
      rows.shipment && (rows.shipment->status == "SHIPPED" || rows.shipment->status == "DELIVERED");
  return said;
}

LostSaga described(const std::string& saga_id, const std::string& order_id, const auto& rows,
                   const protocol::LostVerdict& verdict) {
  LostSaga saga;
  saga.saga_id = saga_id;
  saga.type = verdict.type;
  saga.order_id = order_id;
  if (rows.order) {
    saga.order_status = rows.order->status;
    saga.customer_id = rows.order->customer_id;
  }
  if (rows.payment) {
    saga.customer_id = rows.payment->customer_id;
    saga.payment_status = rows.payment->status;
    if (taken(*rows.payment)) saga.money_taken = rows.payment->amount;
  }
  saga.stock_held = stock_of(rows.reservations);
  if (rows.shipment) saga.shipment_status = rows.shipment->status;
  saga.may_compensate = verdict.compensate.has_value();
  saga.may_complete = verdict.complete.has_value();
  return saga;
}

// All that the steps that are left need. The address and the card's token are gone, and no
// compensation asks for them.
Operation operation_again(const LostSaga& saga, const auto& rows) {
  Operation operation;
  operation.kind =
      saga.type == protocol::cancel_order_type ? OperationKind::cancel : OperationKind::place;
  operation.order_id = saga.order_id;
  operation.scope = "lost";
  operation.idempotency_key = saga.saga_id;
  operation.mode = "saga";
  operation.transaction_id = saga.saga_id;
  PlaceOrder& place = operation.place;
  place.customer_id = saga.customer_id.empty() ? "unknown" : saga.customer_id;
  if (rows.order) {
    operation.correlation_id = rows.order->correlation_id;
    operation.created_at = rows.order->created_at;
    operation.mode = rows.order->mode;
    place.items = rows.order->items;
    place.total_amount = rows.order->total_amount;
  }
  for (OrderItem& item : place.items) {
    for (const ReservationView& one : rows.reservations)
      if (one.sku == item.sku) item.reservation_id = one.reservation_id;
  }
  if (rows.payment) {
    place.payment_id = rows.payment->payment_id;
    if (rows.payment->payment_method == "card") place.payment_method = PaymentMethod::card;
    if (!rows.order) {
      operation.created_at = rows.payment->created_at;
      place.total_amount = rows.payment->amount;
    }
  }
  if (rows.shipment) place.shipment_id = rows.shipment->shipment_id;
  return operation;
}

LostResolution refused(LostResolve outcome, std::string detail, std::optional<LostSaga> saga = {}) {
  return {outcome, std::move(detail), std::move(saga), std::nullopt};
}

LostResolution failed(const Failure& failure) {
  return {LostResolve::failed, {}, std::nullopt, failure};
}

std::string why_not(LostAction action, std::string_view type) {
  if (action == LostAction::compensate) return "a cancelled order goes forward only: complete it";
  if (type == protocol::place_order_type)
    return "not every step before the confirmation was done, and what the others need was lost "
           "with the log: compensate it";
  return "what its next step needs was lost with the log: compensate it";
}

}  // namespace

// Whether a person is needed; what was found is written down.
asio::awaitable<Result<bool>> LostSagas::examine(std::string saga_id, std::string order_id) {
  auto looking = barriers_of(saga_id);
  const auto found = co_await std::move(looking);
  if (!found) co_return found.failure();
  if (order_id.empty()) order_id = found.value().order_id;
  auto reading = rows_of(order_id);
  const auto rows = co_await std::move(reading);
  if (!rows) co_return rows.failure();
  auto verdict = protocol::judge_lost_saga(found.value().barriers, summary(rows.value()));
  // Half done for an order that nobody can name: shown all the same.
  const bool nameless = order_id.empty() && !protocol::ended_by_barriers(found.value().barriers);
  if (!verdict.lost && !nameless) {
    auto going = log_.gone(saga_id);
    const auto gone = co_await std::move(going);
    if (!gone) co_return named(log_name, gone.failure());
    co_return false;
  }
  const LostSaga saga = described(saga_id, order_id, rows.value(), verdict);
  auto putting = log_.put(saga);
  const auto is_new = co_await std::move(putting);
  if (!is_new) co_return named(log_name, is_new.failure());
  if (is_new.value()) {
    const std::string risk = at_risk(saga);
    logging::error("the log has lost a saga: it needs a person",
                   {{"saga_id", std::string_view(saga_id)},
                    {"order_id", std::string_view(order_id)},
                    {"order_status", std::string_view(saga.order_status)},
                    {"at_risk", std::string_view(risk)}});
  }
  co_return true;
}

asio::awaitable<LostResolution> LostSagas::resolve(std::string saga_id, LostAction action,
                                                   std::string key) {
  auto finding = log_.find(saga_id);
  const auto known = co_await std::move(finding);
  if (!known) co_return failed(named(log_name, known.failure()));
  if (!known.value()) co_return refused(LostResolve::not_found, "no lost saga has this id");
  const LostSaga& before = *known.value();
  const std::string wanted(to_string(action));
  if (!before.resolution.empty()) {
    if (before.resolution == wanted) co_return refused(LostResolve::replayed, {}, before);
    if (before.resolution_key == key)
      co_return refused(LostResolve::key_reused, "this key asked for the other action", before);
    co_return refused(LostResolve::impossible, "it is resolved already: " + before.resolution,
                      before);
  }
  // As it is now: what was shown may be seconds old.
  auto looking = barriers_of(saga_id);
  const auto found = co_await std::move(looking);
  if (!found) co_return failed(found.failure());
  auto reading = rows_of(before.order_id);
  const auto rows = co_await std::move(reading);
  if (!rows) co_return failed(rows.failure());
  const auto verdict = protocol::judge_lost_saga(found.value().barriers, summary(rows.value()));
  const LostSaga saga = described(saga_id, before.order_id, rows.value(), verdict);
  if (before.order_id.empty())
    co_return refused(LostResolve::impossible, "its order is not known: repair it by hand", before);
  const auto& position = action == LostAction::compensate ? verdict.compensate : verdict.complete;
  if (!verdict.lost)
    co_return refused(LostResolve::impossible, "nothing of it is at risk any more", before);
  if (!position) co_return refused(LostResolve::impossible, why_not(action, verdict.type), before);

  const auto plan = protocol::plan_of_type(verdict.type, settings_.saga.step_tries_max);
  const Operation operation = operation_again(saga, rows.value());
  SagaRewrite again;
  again.saga_id = saga_id;
  again.type = verdict.type;
  again.order_id = saga.order_id;
  again.correlation_id = operation.correlation_id;
  again.status = position->status;
  again.current_step = protocol::current_step(plan, *position);
  again.reason = position->reason;
  again.detail = position->detail;
  // What the order says already stays its reason.
  if (!again.reason.empty() && rows.value().order && !rows.value().order->reason.empty())
    again.reason = rows.value().order->reason;
  again.progress = protocol::progress(plan, *position);
  again.confirmed = protocol::is_later_type(verdict.type);
  again.kind = to_string(operation.kind);
  again.payload = to_payload(operation);
  again.resolution = wanted;
  again.resolution_key = std::move(key);
  const RecoveryIdentity identity = identity_();
  SagaOwner owner{identity.coordinator, identity.epoch};
  auto writing = log_.resolve(std::move(owner), std::move(again));
  const auto begun = co_await std::move(writing);
  if (!begun) co_return failed(named(log_name, begun.failure()));
  if (!begun.value())
    co_return refused(LostResolve::impossible, "somebody else has resolved it meanwhile", before);
  logging::warn("a lost saga is written into the log again",
                {{"saga_id", std::string_view(saga_id)},
                 {"order_id", std::string_view(saga.order_id)},
                 {"action", std::string_view(wanted)}});
  co_return refused(LostResolve::begun, {}, saga);
}

asio::awaitable<Result<std::vector<std::string>>> LostSagas::paid_and_lost(
    std::vector<std::string> order_ids) {
  auto asking = log_.orders_without_saga(std::move(order_ids));
  const auto without = co_await std::move(asking);
  if (!without) co_return without.failure();
  std::vector<std::string> kept;
  for (const std::string& order_id : without.value()) {
    auto reading = services_.payments.payments_of_order(order_id);
    const auto payments = co_await std::move(reading);
    const bool unsure = !payments.ok();
    if (unsure || std::ranges::any_of(payments.value(), taken)) kept.push_back(order_id);
  }
  if (!kept.empty()) search();
  co_return kept;
}

}  // namespace txcoord::engine
