// Reservations that free themselves: those that a saga made to expire and that no confirmation made
// permanent. Each function is one transaction of the inventory database, on a worker's thread;
// blocks; throws what libpqxx throws.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "txcoord/pg/session.hpp"

namespace txcoord {

// See InventoryService, where each is described.
struct ExpiryPlace {  // where expired reservations were listed up to; empty: from the oldest on
  std::string expires_at, order_id;
};
struct ExpiredPage {
  std::vector<std::string> order_ids;
  ExpiryPlace next;  // empty again when there are no more
};
ExpiredPage expired_reservations(pg::Session& session, const ExpiryPlace& place, std::size_t limit);
std::size_t expire_reservations(pg::Session& session, const std::vector<std::string>& order_ids);
void keep_reservations(pg::Session& session, const std::vector<std::string>& order_ids);

}  // namespace txcoord
