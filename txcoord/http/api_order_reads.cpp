// Orders as seen over all four services, with what is decided and not applied yet laid over them.
//
// A commit is atomic but not atomically visible: between two COMMIT PREPAREDs one database is ahead
// of another. What makes the view right:
//   1. The overlay (engine, then log) is read before the services. A decision that is complete by
//      then is in every service's answer; one that is not is in the overlay.
//   2. Each part is compared with what the order's newest status calls for. A part that is behind,
//      or whose service did not answer, puts its service in waiting_for, and `applied` is false.
//   3. Behind without an overlay means that the decision fell between the two reads: look again.
#include <algorithm>

#include "txcoord/base/json_writer.hpp"
#include "txcoord/base/time.hpp"
#include "txcoord/http/api.hpp"
#include "txcoord/http/gather.hpp"

namespace txcoord::http {
namespace {

constexpr int looks_max = 3;

using Orders = Result<std::optional<OrderView>>;
using Events = Result<std::vector<EventView>>;
using Reservations = Result<std::vector<ReservationView>>;
using Payments = Result<std::vector<PaymentView>>;
using Shipments = Result<std::vector<ShipmentView>>;
// In the order in which get_order asks.
using Parts = std::tuple<Orders, Reservations, Payments, Shipments, Events, Events, Events, Events>;

constexpr std::string_view names[] = {"order", "inventory", "payment", "shipping"};

// The services that did not answer, each with its first failure.
std::vector<std::pair<std::string_view, const Failure*>> failures(const Parts& parts) {
  std::vector<std::pair<std::string_view, const Failure*>> failed;
  const auto look = [&](std::string_view name, const auto& first, const auto& second) {
    if (!first.ok()) {
      failed.emplace_back(name, &first.failure());
    } else if (!second.ok()) {
      failed.emplace_back(name, &second.failure());
    }
  };
  look(names[0], std::get<0>(parts), std::get<4>(parts));
  look(names[1], std::get<1>(parts), std::get<5>(parts));
  look(names[2], std::get<2>(parts), std::get<6>(parts));
  look(names[3], std::get<3>(parts), std::get<7>(parts));
  return failed;
}

void add_rows(OrderDocument& order, const Parts& parts) {
  if (const auto& rows = std::get<1>(parts); rows.ok()) {
    for (const ReservationView& row : rows.value()) {
      for (ItemDocument& item : order.items) {
        if (item.sku != row.sku) continue;
        item.reservation_id = row.reservation_id;
        item.reservation_status = row.status;
      }
    }
  }
  if (const auto& rows = std::get<2>(parts); rows.ok() && !rows.value().empty()) {
    const PaymentView& row = rows.value().front();
    order.payment = PaymentDocument{row.payment_id, row.payment_method, row.status, row.amount};
  }
  if (const auto& rows = std::get<3>(parts); rows.ok() && !rows.value().empty()) {
    const ShipmentView& row = rows.value().front();
    order.shipment =
        ShipmentDocument{row.shipment_id, row.status, row.carrier, row.tracking_number};
  }
}

// Whether the parts that a service answered for are behind the order's newest status.
bool inventory_behind(const std::vector<ReservationView>& rows, std::size_t items,
                      std::string_view status) {
  if (status == "CONFIRMED") return rows.size() < items;
  const auto reserved = [](const ReservationView& row) { return row.status == "RESERVED"; };
  return rows.size() < items || std::any_of(rows.begin(), rows.end(), reserved);
}

// An order that was cancelled for a reason was cancelled since what was due of it was refused: it
// may never have had a payment, or a shipment.
bool payment_behind(const std::vector<PaymentView>& rows, std::string_view status, bool revoked) {
  if (rows.empty()) return !revoked;
  const std::string& paid = rows.front().status;
  return status == "CANCELLED" && (paid == "CAPTURED" || paid == "AUTHORIZED");
}

bool shipping_behind(const std::vector<ShipmentView>& rows, std::string_view status, bool revoked) {
  if (rows.empty()) return !revoked;
  return rows.front().status != (status == "CONFIRMED" ? "ARRANGED" : status);
}

std::vector<std::string> behind(const Parts& parts, std::size_t items, std::string_view status) {
  std::vector<std::string> late;
  if (status == "PENDING" || status == "FAILED") return late;  // they promise no parts
  const auto& order = std::get<0>(parts);
  const auto& reservations = std::get<1>(parts);
  const auto& payments = std::get<2>(parts);
  const auto& shipments = std::get<3>(parts);
  if (!order.ok() || !order.value() || order.value()->status != status) late.emplace_back(names[0]);
  if (!reservations.ok() || inventory_behind(reservations.value(), items, status))
    late.emplace_back(names[1]);
  const bool revoked =
      status == "CANCELLED" && order.ok() && order.value() && !order.value()->reason.empty();
  if (!payments.ok() || payment_behind(payments.value(), status, revoked))
    late.emplace_back(names[2]);
  if (!shipments.ok() || shipping_behind(shipments.value(), status, revoked))
    late.emplace_back(names[3]);
  return late;
}

// Of an order that is not decided: whom its next step asks, and who could not be asked here.
std::vector<std::string> awaited(const Overlay& over, const Parts& parts) {
  std::vector<std::string> services = over.waiting_for;
  for (const auto& [name, failure] : failures(parts)) {
    if (std::find(services.begin(), services.end(), name) == services.end())
      services.emplace_back(name);
  }
  return services;
}

bool any_rows(const Parts& parts) {
  return (std::get<1>(parts).ok() && !std::get<1>(parts).value().empty()) ||
         (std::get<2>(parts).ok() && !std::get<2>(parts).value().empty()) ||
         (std::get<3>(parts).ok() && !std::get<3>(parts).value().empty());
}

std::vector<TimelineEntry> timeline(const Parts& parts) {
  std::vector<TimelineEntry> entries;
  const auto add = [&](std::string_view service, const Events& events) {
    if (!events.ok()) return;
    for (const EventView& event : events.value()) entries.push_back({service, event});
  };
  add(names[0], std::get<4>(parts));
  add(names[1], std::get<5>(parts));
  add(names[2], std::get<6>(parts));
  add(names[3], std::get<7>(parts));
  std::stable_sort(
      entries.begin(), entries.end(),
      [](const TimelineEntry& a, const TimelineEntry& b) { return a.event.at < b.event.at; });
  return entries;
}

// Whose story the log's sagas tell a part of.
bool told_by_sagas(const OrderDocument& order) {
  return order.mode == "saga" || order.status == "PENDING" || order.status == "FAILED";
}

// One look: the document and its state, or that the looker must look again.
struct Look {
  std::optional<OrderDocument> order;
  OrderState state;
  bool again = false;
};

Look look_at(const Parts& parts, const Overlay& over, std::string_view currency) {
  Look look;
  const auto& row = std::get<0>(parts);
  const bool have_row = row.ok() && row.value().has_value();
  if (!have_row && !over.placed) {
    look.again = any_rows(parts);
    return look;
  }
  OrderDocument order = have_row ? document_of(*row.value(), currency) : *over.placed;
  // What is not decided promises nothing: then the parts are those that the services show, and no
  // others.
  if (!over.decided) {
    if (!have_row) make_pending(order);
  } else if (have_row && over.placed) {
    order.items = over.placed->items;
    order.payment = over.placed->payment;
    order.shipment = over.placed->shipment;
  }
  add_rows(order, parts);
  // A group that is applied and not yet recorded as complete still stands in the overlay: what came
  // after it (a cancel that was a saga) is further, and stays (I10).
  if (over.decided && !further(order.status, over.status)) apply_status(order, over.status);
  look.state.transaction_id = have_row ? row.value()->transaction_id : over.transaction_id;
  look.state.waiting_for = order.status == "PENDING"
                               ? awaited(over, parts)
                               : behind(parts, order.items.size(), order.status);
  look.state.applied = order.status != "PENDING" && look.state.waiting_for.empty();
  look.state.timeline = timeline(parts);
  look.state.with_history = true;
  look.again = !look.state.waiting_for.empty() && !over.pending;
  look.order = std::move(order);
  return look;
}

}  // namespace

asio::awaitable<Result<Overlay>> Api::overlay(std::string order_id) {
  Overlay over;
  if (const auto pending = d_.engine.pending(order_id)) {
    over.pending = true;
    over.decided = pending->decided;
    over.transaction_id = pending->transaction_id;
    over.waiting_for = pending->waiting_for;
    if (pending->decided) over.status = order_status_after(pending->kind);
    if (pending->kind == OperationKind::place) {
      over.place = pending->operation;
      over.placed = document_of(*pending->operation, d_.settings.currency);
    }
    // An operation under way here has waited for those before it to be applied.
    if (over.decided || over.placed) co_return over;
  }
  auto looking = within(io_, read_wait(), d_.log.unapplied_outcomes(order_id));
  const auto outcomes = co_await std::move(looking);
  if (!outcomes) co_return outcomes.failure();
  for (const StoredOutcome& outcome : outcomes.value()) {
    if (!outcome.confirmed) continue;
    over.pending = over.decided = true;
    over.status = order_status_after(outcome.kind);
    over.transaction_id = outcome.gid;
    if (outcome.kind == OperationKind::place) over.placed = parse_answer(outcome.answer);
  }
  co_return over;
}

asio::awaitable<std::optional<DecidedPlace>> Api::decided_place(std::string order_id) {
  auto looking = overlay(std::move(order_id));
  const auto over = co_await std::move(looking);
  if (!over.ok() || !over.value().decided || !over.value().placed) co_return std::nullopt;
  co_return DecidedPlace{*over.value().placed, over.value().place};
}

asio::awaitable<Reply> Api::get_order(Call& call) {
  call.order_id = call.id;
  const std::string id = call.id;
  for (int looks = 1;; ++looks) {
    auto looking = overlay(id);
    const auto over = co_await std::move(looking);
    if (!over) co_return problem_reply(participant_unavailable("log", over.failure()));
    auto gathering = gather(io_, read_wait(), d_.orders.order(id), d_.inventory.reservations(id),
                            d_.payments.payments_of_order(id), d_.shipping.shipments(id),
                            d_.orders.order_events(id), d_.inventory.stock_events(id),
                            d_.payments.payment_events(id), d_.shipping.shipping_events(id));
    const Parts parts = co_await std::move(gathering);
    const auto failed = failures(parts);
    // Who is away can be told from the decision, but only while the decision still holds the parts.
    if (!failed.empty() && !over.value().placed) {
      co_return problem_reply(
          participant_unavailable(failed.front().first, *failed.front().second));
    }
    Look look = look_at(parts, over.value(), d_.settings.currency);
    if (look.again && looks < looks_max) continue;
    if (!look.order || told_by_sagas(*look.order)) {
      auto adding = add_sagas(id, look.order, look.state);
      const auto failure = co_await std::move(adding);
      if (failure) co_return problem_reply(participant_unavailable("log", *failure));
    }
    if (!look.order) co_return problem_reply(not_found("there is no such order"));
    if (d_.lost_sagas.known() > 0) {
      auto adding = add_lost(id, look.state);
      const auto failure = co_await std::move(adding);
      if (failure) co_return problem_reply(participant_unavailable("log", *failure));
    }
    call.transaction_id = look.state.transaction_id;
    co_return json_reply(write_order(*look.order, look.state));
  }
}

}  // namespace txcoord::http
