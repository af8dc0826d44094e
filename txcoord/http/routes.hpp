// The one route table: what the router matches and what /openapi.json says.
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
  list_sagas,
  get_saga,
  put_fault,
  delete_fault,
  list_modes,
  put_mode,
  delete_mode,
  metrics,
  live,
  ready,
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

struct Route {
  std::string_view method = {};
  std::string_view path = {};  // at most one {parameter}
  Endpoint endpoint = Endpoint::live;
  std::string_view operation_id = {}, summary = {};
  Ports ports = Ports::open;
  const Schema* path_schema = nullptr;  // of the {parameter}
  std::span<const QueryParameter> query = {};
  const Schema* request = nullptr;  // of the JSON body
  bool body_optional = false;       // an empty body stands for {}
  bool key_required = false;        // Idempotency-Key
  std::span<const Success> successes = {};
  std::span<const int> problems = {};  // beside those that every route may answer
};

std::span<const Route> routes();

struct Match {
  const Route* route = nullptr;  // null: no route for this method
  bool head = false;             // HEAD served by a GET route
  std::string parameter;         // decoded
  std::string allowed;           // methods of the path, for Allow; empty: no such path
};

// `path` without the query. A parameter that is not valid percent-encoding or holds a control
// character matches nothing.
Match match_route(Port port, std::string_view method, std::string_view path);

// nullopt: not valid percent-encoding. '+' stays '+': this is a path or an id, not a form.
std::optional<std::string> percent_decode(std::string_view text);

}  // namespace txcoord::http
