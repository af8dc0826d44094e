// The one list of checks that every port makes of a request before any of its body is read: the
// REST interface, the admin port, and a participant's ports with the branch protocol on them.
//
//   1. Whom it is for: Host names this process. A web page that has its own name point to our
//      address (DNS rebinding) does not come further.                        421 HOST_NOT_ALLOWED
//   2. Who made it: no web page, but one of an origin that the settings name. 403
//   ORIGIN_NOT_ALLOWED
//   3. What it asks for: route and method; the router's.                      404, 405
//   4. Who sent it: the token, where the route asks for one.                  401 UNAUTHENTICATED
//   5. Its body, by what its header says: length, coding, media type.         413, 415
//
// Cheap checks come before dear ones: of a stranger nothing is read but the header.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "txcoord/base/settings.hpp"
#include "txcoord/http/message.hpp"
#include "txcoord/http/problem.hpp"

namespace txcoord::http {

enum class BodyRule : std::uint8_t {
  none,      // what comes all the same is refused
  optional,  // an empty one stands for {}
  required,
};

class Door {
 public:
  explicit Door(const HttpSettings& settings);

  // 1 and 2. Whoever bears `token` (unless it is empty) is no web page that lost its way, and may
  // call us by any name: coordinators go on calling a participant by the name in their settings.
  std::optional<Problem> check_caller(const Request& request, std::string_view token) const;

  // What a browser needs to see before it shows our answer to a page of an allowed origin.
  void add_origin_headers(const Request& request, Reply& reply) const;

 private:
  bool is_our_name(std::string_view authority, Port port) const;
  bool allows_origin(std::string_view origin) const;

  std::vector<std::string> hosts_, origins_;  // as configured, in lower case
  std::string hostname_;                      // of this machine
  bool local_only_[2];                        // by Port: it listens on loopback
};

// 4. `token` empty: everybody may.
std::optional<Problem> check_token(const Request& request, std::string_view token);
// 5.
std::optional<Problem> check_body_header(const Request& request, BodyRule rule,
                                         std::uint64_t body_bytes_max);

Problem body_too_long(std::uint64_t body_bytes_max);
// What health checks and scrapes ask: answered when a port is full, too.
bool asks_health(const Request& request);

// "a, b" as {"a", "b"}, in lower case; for the settings of names.
std::vector<std::string> split_names(std::string_view names);

}  // namespace txcoord::http
