// Pure: judges a group's operations from the stock rows and reservations that the vote locked.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "participants/locked_rows.hpp"

namespace txcoord {

struct StockRow {
  Money unit_price = 0;
  std::int64_t available = 0;
};

enum class ReservationStatus : std::uint8_t { reserved, released, shipped };

struct ReservationRow {
  std::string reservation_id, sku;
  std::int64_t quantity = 0;
  ReservationStatus status = ReservationStatus::reserved;
};

class LockedStock final : public LockedRows {
 public:
  std::map<std::string, StockRow> stock;  // by sku; every row is locked
  std::map<std::string, std::vector<ReservationRow>>
      reservations;  // by order_id, read after the locks
  // What is there and held by somebody else: stock by sku, reservations by order_id.
  HeldRows held, held_orders;

  // Reasons, for the first item that has one: UNKNOWN_SKU, then PRICE_CHANGED, then OUT_OF_STOCK.
  protocol::Votes judge(const Operations& operations,
                        const OperationMask& candidates) const override;
  bool undone_already(const Operation& operation) const override;
};

}  // namespace txcoord
