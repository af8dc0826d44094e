// The names of the rows that operations lock: what groups may not want at the same time, and what
// an operation that had to wait, waited for. Pure.
//
// A key is "participant/row": "inventory/book-123", "payment/customer-001", "order/<order id>". It
// may hold a customer's id: it is compared, and never logged or shown.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "participants/operation.hpp"

namespace txcoord {

std::string row_key(std::string_view participant, std::string_view row);
// "inventory" of "inventory/book-123"; all of it if there is no slash.
std::string_view participant_of(std::string_view key);

struct RowKeys {
  std::vector<std::string> keys;
  // It also locks rows at inventory and payment whose names are known there alone: those of the
  // order that it changes.
  bool others = false;
};

// The parent rows that the operation locks in a group, as far as it says itself.
RowKeys row_keys(const Operation& operation);
// Whether it locks rows there that others may hold. Rows that it makes are nobody else's.
bool locks_rows_at(const RowKeys& rows, std::string_view participant);

}  // namespace txcoord
