// Lists of orders: the order service's rows, with what is decided and not in them yet; and by
// correlation id, with those that were accepted and have no row.
#include <iterator>
#include <map>
#include <set>

#include "txcoord/base/json_writer.hpp"
#include "txcoord/http/api.hpp"
#include "txcoord/http/gather.hpp"

namespace txcoord::http {
namespace {

// Newest first, by id; of what is added, those that the filter lets through and that come after the
// cursor.
class OrderPage {
 public:
  OrderPage(const OrderFilter& filter, const PageRequest& wanted)
      : filter_(filter), wanted_(wanted) {}

  void add(const OrderDocument& order, const OrderState& state) {
    if (!filter_.status.empty() && filter_.status != order.status) return;
    if (!filter_.customer_id.empty() && filter_.customer_id != order.customer_id) return;
    if (!wanted_.after.empty() && order.order_id >= wanted_.after) return;
    orders_.emplace(order.order_id, write_order(order, state));
  }

  bool has(const std::string& order_id) const { return orders_.contains(order_id); }

  // `last_read`: the last id that was read, if there may be more after it; else empty.
  Reply reply(std::string last_read) {
    // Orders left over on this page are older than its last one, so the next page finds them there.
    if (orders_.size() > wanted_.limit) {
      orders_.erase(std::next(orders_.begin(), static_cast<std::ptrdiff_t>(wanted_.limit)),
                    orders_.end());
      last_read = orders_.rbegin()->first;
    }
    JsonWriter out;
    out.begin_object().key("orders").begin_array();
    for (const auto& [id, order] : orders_) out.raw(order);
    out.end_array();
    if (!last_read.empty()) out.field("next_cursor", make_cursor(last_read));
    out.end_object();
    return json_reply(out.take());
  }

 private:
  const OrderFilter& filter_;
  const PageRequest& wanted_;
  std::map<std::string, std::string, std::greater<>> orders_;
};

void add_unapplied(const engine::PendingOrder& place, std::string_view currency, OrderPage& page) {
  OrderState state;
  state.transaction_id = place.transaction_id;
  state.applied = false;
  page.add(document_of(*place.operation, currency), state);
}

}  // namespace

asio::awaitable<Reply> Api::list_orders(Call& call) {
  const PageOrProblem wanted = read_page(call, /*ids_are_uuids=*/true);
  if (wanted.problem) co_return problem_reply(*wanted.problem);
  const OrderFilter filter{call.query_value("customer_id"), call.query_value("status")};
  if (std::string correlation_id = call.query_value("correlation_id"); !correlation_id.empty()) {
    auto listing = list_by_correlation(std::move(correlation_id), filter, wanted.page);
    co_return co_await std::move(listing);
  }
  auto reading = within(io_, read_wait(), d_.orders.orders(filter, wanted.page));
  const auto rows = co_await std::move(reading);
  if (!rows) co_return problem_reply(participant_unavailable("order", rows.failure()));

  OrderPage page(filter, wanted.page);
  for (const OrderView& row : rows.value()) {
    OrderState state;
    const OrderDocument order = listed(row, state);
    page.add(order, state);
  }
  for (const engine::PendingOrder& place : unapplied_places())
    add_unapplied(place, d_.settings.currency, page);
  const bool more = rows.value().size() == wanted.page.limit;
  co_return page.reply(more ? rows.value().back().order_id : std::string());
}

// By what a client called it: orders that stand with the order service, and those decided or
// accepted and not there yet.
asio::awaitable<Reply> Api::list_by_correlation(std::string correlation_id, OrderFilter filter,
                                                PageRequest wanted) {
  auto reading = gather(io_, read_wait(), d_.orders.orders_by_correlation(correlation_id),
                        d_.saga_log.orders_of_correlation(correlation_id));
  const auto [rows, sagas] = co_await std::move(reading);
  if (!rows) co_return problem_reply(participant_unavailable("order", rows.failure()));
  if (!sagas) co_return problem_reply(participant_unavailable("log", sagas.failure()));
  OrderPage page(filter, wanted);
  std::set<std::string> stand;
  for (const std::string& order_id : rows.value()) {
    auto looking = within(io_, read_wait(), d_.orders.order(order_id));
    const auto row = co_await std::move(looking);
    if (!row) co_return problem_reply(participant_unavailable("order", row.failure()));
    if (!row.value()) continue;
    stand.insert(order_id);
    OrderState state;
    const OrderDocument order = listed(*row.value(), state);
    page.add(order, state);
  }
  for (const engine::PendingOrder& place : unapplied_places()) {
    if (place.operation->correlation_id == correlation_id)
      add_unapplied(place, d_.settings.currency, page);
  }
  for (const std::string& order_id : sagas.value()) {
    if (stand.contains(order_id) || page.has(order_id)) continue;
    std::optional<OrderDocument> order;
    OrderState state;
    auto adding = add_sagas(order_id, order, state);
    const auto failure = co_await std::move(adding);
    if (failure) co_return problem_reply(participant_unavailable("log", *failure));
    state.with_history = false;
    if (order) page.add(*order, state);
  }
  co_return page.reply({});
}

// A row, with what is decided on it here laid over it.
OrderDocument Api::listed(const OrderView& row, OrderState& state) const {
  OrderDocument order = document_of(row, d_.settings.currency);
  const auto pending = d_.engine.pending(row.order_id);
  const bool overlaid = pending && pending->decided;
  if (overlaid && !further(order.status, order_status_after(pending->kind)))
    apply_status(order, order_status_after(pending->kind));
  state.transaction_id = row.transaction_id;
  state.applied = !overlaid && order.status != "PENDING";
  return order;
}

std::vector<engine::PendingOrder> Api::unapplied_places() const {
  std::vector<engine::PendingOrder> places;
  for (const engine::ActiveTransaction& transaction : d_.engine.active()) {
    for (const std::string& id : transaction.order_ids) {
      auto pending = d_.engine.pending(id);
      const bool place = pending && pending->decided && pending->kind == OperationKind::place;
      if (place) places.push_back(std::move(*pending));
    }
  }
  return places;
}

std::optional<engine::PendingOrder> Api::find_pending(const PlaceFilter& matches) const {
  for (engine::PendingOrder& place : unapplied_places()) {
    if (matches(place.operation->place)) return std::move(place);
  }
  return std::nullopt;
}

std::optional<DecidedPlace> Api::find_decided(const PlaceFilter& matches) const {
  const auto pending = find_pending(matches);
  if (!pending) return std::nullopt;
  return DecidedPlace{document_of(*pending->operation, d_.settings.currency), pending->operation};
}

}  // namespace txcoord::http
