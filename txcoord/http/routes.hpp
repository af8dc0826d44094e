// The one route table: what the router matches and what /openapi.json says, at a coordinator and at
// a participant that is a service of its own.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "txcoord/http/message.hpp"
#include "txcoord/http/schema.hpp"

namespace txcoord::http {

enum class Endpoint : std::uint8_t {
  place_order,
  get_order,
  list_orders,
  cancel_order,
  get_stock,
  put_stock,
  list_stock,
  restock,
  get_wallet,
  put_wallet,
  list_reservations,
  get_reservation,
  list_payments,
  get_payment,
  list_shipments,
  get_shipment,
  patch_shipment,
  list_transactions,
  get_transaction,
  resolve_transaction,
  list_sagas,
  get_saga,
  search_lost_sagas,
  resolve_saga,
  get_order_row,
  list_order_rows,
  put_fault,
  delete_fault,
  list_modes,
  put_mode,
  delete_mode,
  metrics,
  live,
  ready,
  participant_ready,
  openapi,
};

struct QueryParameter {
  std::string_view name;
  const Schema* schema = nullptr;
  bool required = false;
};

struct Success {
  int status = 200;
  const Schema* schema = nullptr;  // null: a body that no schema describes (the OpenAPI document)
  std::string_view media = "application/json";
  std::string_view description = {};
};

enum class Ports : std::uint8_t { open, admin, both };

// Of a route that says how a process is: whatever participants are in it.
inline constexpr std::string_view any_participant = "any";

struct Route {
  std::string_view method = {};
  std::string_view path = {};  // at most one {parameter}
  Endpoint endpoint = Endpoint::live;
  std::string_view participant = {};  // can answer it alone, from its own database; empty: none can
  bool coordinator = true;            // serves it
  std::string_view operation_id = {}, summary = {};
  Ports ports = Ports::open;
  const Schema* path_schema = nullptr;  // of the {parameter}
  std::span<const QueryParameter> query = {};
  const Schema* request = nullptr;  // of the JSON body
  bool body_optional = false;       // an empty body stands for {}
  bool key_required = false;        // Idempotency-Key
  bool preferences = false;         // Prefer is looked at
  std::span<const Success> successes = {};
  std::span<const int> problems = {};  // beside those that every route may answer
};

// Whether it reads or changes a service's data; the others say how the process is.
inline bool holds_data(const Route& route) { return route.path.starts_with("/v1/"); }

std::span<const Route> routes();

// Whether it is served on this port.
bool serves(const Route& route, Port port);

// What one server serves, in the table's order.
using RouteSet = std::vector<const Route*>;
RouteSet coordinator_routes();
RouteSet participant_routes(const std::vector<std::string>& participants);

struct Match {
  const Route* route = nullptr;  // null: no route for this method
  std::string parameter;         // decoded
  std::string allowed;           // methods of the path, for Allow; empty: no such path
};

// `path` without the query. A parameter that is not valid percent-encoding or holds a control
// character matches nothing.
Match match_route(const RouteSet& routes, Port port, std::string_view method,
                  std::string_view path);

// Who serves what `routes` do not, on the public port: "coordinator", or a participant's name;
// empty: nobody.
std::string_view served_by(const RouteSet& routes, std::string_view method, std::string_view path);

// nullopt: not valid percent-encoding. '+' stays '+': this is a path or an id, not a form.
std::optional<std::string> percent_decode(std::string_view text);

}  // namespace txcoord::http
