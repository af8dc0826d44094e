// A call on its way to a handler: its parameters and body already keep to the route's schemas. And
// what handlers share: replies, pages, cursors, idempotency keys.
#pragma once

#include <array>
#include <boost/json/value.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "participants/services.hpp"
#include "txcoord/http/headers.hpp"
#include "txcoord/http/message.hpp"
#include "txcoord/http/problem.hpp"
#include "txcoord/http/routes.hpp"
#include "txcoord/metrics/metrics.hpp"

namespace txcoord::http {

struct Call {
  Port port = Port::open;
  const Route* route = nullptr;
  std::string id;  // the path's {parameter}
  std::vector<std::pair<std::string, std::string>> query;
  std::optional<json::value> body;  // set where the route has a request schema
  std::string key;                  // Idempotency-Key, where the route requires one
  Preferences prefer;
  std::string correlation_id, traceparent;
  std::string order_id, transaction_id;  // set by handlers, for the log line

  // Empty: not given.
  std::string query_value(std::string_view name) const;
  // Given, with a value or without.
  bool query_has(std::string_view name) const;
  // Given, and neither 0 nor false.
  bool query_says(std::string_view name) const;
};

Reply json_reply(std::string body, int status = 200);
// What every server says of itself.
Reply live_reply();
Reply metrics_reply(const Call& call, const Metrics& metrics);
// 503 with Retry-After, unless it is ready.
Reply readiness_reply(std::string body, bool is_ready);
// The page parameters; `after` is decoded from the cursor. A cursor that is not ours is a problem.
struct PageOrProblem {
  PageRequest page;
  std::optional<Problem> problem;
};
PageOrProblem read_page(const Call& call, bool ids_are_uuids);
std::string make_cursor(std::string_view last_id);
std::array<std::uint8_t, 32> fingerprint_of(const Call& call, std::string_view canonical);
std::string scope_of(const Route& route);

}  // namespace txcoord::http
