// See stock_judge.hpp. Quantities are compared by subtraction from what is there, never by adding
// up what is asked for, so that no sum can overflow.
#include "participants/inventory/stock_judge.hpp"

#include <algorithm>
#include <limits>
#include <optional>
#include <set>
#include <utility>

namespace txcoord {
namespace {

using Quantities = std::map<std::string, std::int64_t>;  // by sku

// What one order needs of each SKU; nullopt if that is more than any stock can hold.
std::optional<Quantities> needs(const PlaceOrder& order) {
  Quantities need;
  for (const OrderItem& item : order.items) {
    std::int64_t& quantity = need[item.sku];
    if (item.quantity > std::numeric_limits<std::int64_t>::max() - quantity) return std::nullopt;
    quantity += item.quantity;
  }
  return need;
}

// One pass over the group: what earlier candidates with yes took, and which orders they changed.
class StockJudge {
 public:
  explicit StockJudge(const LockedStock& rows) : rows_(rows) {}

  protocol::Vote judge(const Operation& operation) {
    switch (operation.kind) {
      case OperationKind::place: return place(operation.place);
      case OperationKind::cancel:
      case OperationKind::ship: return move(operation);
      case OperationKind::deliver:
      case OperationKind::create:
      case OperationKind::confirm:
      case OperationKind::fail: break;  // nothing of theirs is here
    }
    return vote_yes();
  }

 private:
  protocol::Vote place(const PlaceOrder& order) {
    for (const OrderItem& item : order.items) {
      const auto row = rows_.stock.find(item.sku);
      if (row == rows_.stock.end()) {
        if (auto held = vote_if_held(rows_.held, "inventory", item.sku)) return *std::move(held);
        return vote_no("UNKNOWN_SKU", item.sku, true);
      }
      if (row->second.unit_price != item.unit_price) {
        return vote_no("PRICE_CHANGED",
                       item.sku + ": now " + std::to_string(row->second.unit_price), true);
      }
    }
    const auto need = needs(order);
    if (!need) return vote_no("OUT_OF_STOCK", "more than can be stored", true);
    // A shortage that even the untouched stock has is final, and told before one that is not.
    for (const auto& [sku, quantity] : *need) {
      if (quantity > rows_.stock.at(sku).available)
        return out_of_stock(sku, rows_.stock.at(sku).available, true);
    }
    for (const auto& [sku, quantity] : *need) {
      const std::int64_t left = rows_.stock.at(sku).available - taken_[sku];
      if (quantity > left) return out_of_stock(sku, left, false);
    }
    // All or nothing over the items: only now is anything taken.
    for (const auto& [sku, quantity] : *need) taken_[sku] += quantity;
    return vote_yes();
  }

  // What a cancel gives back is counted by nobody in this group: if the cancel fell, or were
  // applied in another order, a place that had counted it would oversell.
  protocol::Vote move(const Operation& operation) {
    const auto found = rows_.reservations.find(operation.order_id);
    if (found == rows_.reservations.end())
      return vote_retry("no reservation of this order here yet");
    if (auto held = vote_if_held(rows_.held_orders, "inventory", operation.order_id))
      return *std::move(held);
    for (const ReservationRow& reservation : found->second) {
      if (auto held = vote_if_held(rows_.held, "inventory", reservation.sku))
        return *std::move(held);
      // It came after the SKUs to lock were looked up: its stock row is not locked.
      if (!rows_.stock.contains(reservation.sku))
        return vote_retry("a reservation appeared during the vote");
    }
    for (const ReservationRow& reservation : found->second) {
      if (reservation.status == ReservationStatus::reserved) continue;
      return vote_no("ILLEGAL_STATE",
                     reservation.status == ReservationStatus::shipped
                         ? "the order is shipped already: nothing was changed"
                         : "the order is cancelled or has failed already, and its stock is free "
                           "again: nothing was changed",
                     true);
    }
    if (!changed_.insert(operation.order_id).second) {
      return vote_no("ILLEGAL_STATE",
                     "another request changed the order at the same time: look at it again", false);
    }
    return vote_yes();
  }

  static protocol::Vote out_of_stock(const std::string& sku, std::int64_t left, bool final) {
    return vote_no("OUT_OF_STOCK", sku + ": " + std::to_string(left) + " left", final);
  }

  const LockedStock& rows_;
  Quantities taken_;
  std::set<std::string> changed_;
};

}  // namespace

protocol::Votes LockedStock::judge(const Operations& operations,
                                   const OperationMask& candidates) const {
  StockJudge judge(*this);
  protocol::Votes votes(operations.size());
  for (std::size_t i = 0; i < operations.size(); ++i) {
    if (candidates[i]) votes[i] = judge.judge(*operations[i]);
  }
  return votes;
}

bool LockedStock::undone_already(const Operation& operation) const {
  const auto found = reservations.find(operation.order_id);
  if (operation.kind != OperationKind::cancel || found == reservations.end()) return false;
  return std::all_of(found->second.begin(), found->second.end(), [](const ReservationRow& row) {
    return row.status == ReservationStatus::released;
  });
}

}  // namespace txcoord
