// See row_keys.hpp.
#include "participants/row_keys.hpp"

#include <algorithm>

namespace txcoord {

std::string row_key(std::string_view participant, std::string_view row) {
  std::string key;
  key.reserve(participant.size() + 1 + row.size());
  return key.append(participant).append("/").append(row);
}

std::string_view participant_of(std::string_view key) { return key.substr(0, key.find('/')); }

RowKeys row_keys(const Operation& operation) {
  RowKeys rows;
  if (operation.kind == OperationKind::place) {
    for (const OrderItem& item : operation.place.items)
      rows.keys.push_back(row_key("inventory", item.sku));
    rows.keys.push_back(row_key("payment", operation.place.customer_id));
    // Its own row is there already, and others can hold it.
    if (operation.accepted) rows.keys.push_back(row_key("order", operation.order_id));
    return rows;
  }
  rows.keys.push_back(row_key("order", operation.order_id));
  rows.keys.push_back(row_key("shipping", operation.order_id));
  rows.others = operation.kind == OperationKind::cancel || operation.kind == OperationKind::ship;
  return rows;
}

bool locks_rows_at(const RowKeys& rows, std::string_view participant) {
  if (rows.others && (participant == "inventory" || participant == "payment")) return true;
  return std::ranges::any_of(rows.keys,
                             [&](const auto& key) { return participant_of(key) == participant; });
}

}  // namespace txcoord
