// The route table, and the router over it.
#include "txcoord/http/routes.hpp"

#include <algorithm>

#include "txcoord/http/operator_schemas.hpp"
#include "txcoord/http/participant_schemas.hpp"
#include "txcoord/http/saga_schemas.hpp"

namespace txcoord::http {
namespace {

namespace s = schemas;

constexpr QueryParameter order_list_query[] = {{"customer_id", &s::customer_id},
                                               {"status", &s::order_status},
                                               {"correlation_id", &s::correlation_id},
                                               {"limit", &s::limit},
                                               {"cursor", &s::cursor}};
constexpr QueryParameter order_row_query[] = {{"customer_id", &s::customer_id},
                                              {"status", &s::order_status},
                                              {"limit", &s::limit},
                                              {"cursor", &s::cursor}};
constexpr QueryParameter page_query[] = {{"limit", &s::limit}, {"cursor", &s::cursor}};
constexpr QueryParameter by_order_query[] = {{"order_id", &s::uuid, true}};
constexpr QueryParameter payments_query[] = {{"order_id", &s::uuid},
                                             {"customer_id", &s::customer_id},
                                             {"limit", &s::limit},
                                             {"cursor", &s::cursor}};
constexpr QueryParameter transactions_query[] = {{"state", &s::transaction_filter},
                                                 {"limit", &s::limit}};
constexpr QueryParameter sagas_query[] = {
    {"state", &s::saga_filter}, {"limit", &s::limit}, {"cursor", &s::cursor}};
constexpr std::string_view verbose_names[] = {"", "1", "true", "0", "false"};
constexpr Schema verbose{.kind = SchemaKind::text,
                         .description = "Each service's state; also without a value.",
                         .choices = verbose_names};
constexpr QueryParameter ready_query[] = {{"verbose", &verbose}};

constexpr std::string_view json_media = "application/json";
constexpr std::string_view text_media = "text/plain; version=0.0.4; charset=utf-8";

constexpr Success order_placed[] = {
    {201, &s::order, json_media, "Confirmed: the decision is durable. A replay answers the same."},
    {202, &s::order, json_media, "Accepted, or not known yet: look at Location."}};
constexpr Success order_changed[] = {
    {200, &s::order, json_media, "Done: the decision is durable."},
    {202, &s::accepted, json_media, "Not known yet: look at Location."}};
constexpr Success shipment_changed[] = {
    {200, &s::shipment_change, json_media, "Done: the decision is durable."},
    {202, &s::accepted, json_media, "Not known yet: look at Location."}};
constexpr Success order_found[] = {
    {200, &s::order, json_media, "The order, over all four services."}};
constexpr Success order_page[] = {{200, &s::order_page, json_media, "Newest first."}};
constexpr Success stock_now[] = {{200, &s::stock, json_media, "The stock as it is now."}};
constexpr Success stock_put[] = {{200, &s::stock, json_media, "The stock as it is now."},
                                 {201, &s::stock, json_media, "The product was made."}};
constexpr Success stock_page[] = {{200, &s::stock_page, json_media, "By SKU."}};
constexpr Success wallet_now[] = {{200, &s::wallet, json_media, "The wallet as it is now."}};
constexpr Success wallet_put[] = {{200, &s::wallet, json_media, "The wallet as it is now."},
                                  {201, &s::wallet, json_media, "The customer was made."}};
constexpr Success reservation_found[] = {{200, &s::reservation, json_media, "The reservation."}};
constexpr Success reservation_list[] = {
    {200, &s::reservation_list, json_media, "The order's reservations."}};
constexpr Success payment_found[] = {{200, &s::payment, json_media, "The payment."}};
constexpr Success payment_page[] = {{200, &s::payment_page, json_media, "Newest first."}};
constexpr Success shipment_found[] = {{200, &s::shipment, json_media, "The shipment."}};
constexpr Success shipment_list[] = {
    {200, &s::shipment_list, json_media, "The order's shipments."}};
constexpr Success transaction_found[] = {
    {200, &s::transaction, json_media, "The global transaction."}};
constexpr Success transaction_resolved[] = {
    {200, &s::transaction, json_media, "It is kept that a person has repaired it."}};
constexpr Success transaction_list[] = {
    {200, &s::transaction_list, json_media, "Active ones, then newest first."}};
constexpr Success saga_found[] = {{200, &s::saga, json_media, "The saga."}};
constexpr Success saga_list[] = {{200, &s::saga_list, json_media, "Newest first."}};
constexpr Success saga_resolved[] = {
    {202, &s::saga, json_media,
     "It stands in the log again and is run; a replay answers the same."}};
constexpr Success search_begun[] = {
    {202, &s::lost_search, json_media, "Lost sagas are looked for; `lost` are known so far."}};
constexpr Success fault_set[] = {{200, &s::fault, json_media, "The fault as set."}};
constexpr Success fault_cleared[] = {{204, nullptr, "", "No fault is set."}};
constexpr Success mode_list[] = {{200, &s::mode_list, json_media, "Payment's and shipping's."}};
constexpr Success mode_set[] = {{200, &s::degraded_mode, json_media, "The mode as it now is."}};
constexpr Success mode_cleared[] = {{204, nullptr, "", "The participant's mode is normal."}};
constexpr Success metrics_text[] = {{200, &s::document, text_media, "Prometheus text format."}};
constexpr Success is_live[] = {{200, &s::liveness, json_media, "The process answers."}};
constexpr Success is_ready[] = {{200, &s::readiness, json_media, "Orders are taken."},
                                {503, &s::readiness, json_media, "Not ready, or draining."}};
constexpr Success order_row_found[] = {{200, &s::order_row, json_media, "The row as it is now."}};
constexpr Success order_row_page[] = {{200, &s::order_row_page, json_media, "Newest first."}};
constexpr Success participant_is_ready[] = {
    {200, &s::participant_readiness, json_media, "Every database answers."},
    {503, &s::participant_readiness, json_media, "One does not."}};
constexpr Success openapi_document[] = {{200, nullptr, json_media, "This document."}};

constexpr int changes[] = {404, 409, 422, 504};
constexpr int places[] = {409, 422, 504};
constexpr int puts[] = {404, 422};
constexpr int reads[] = {404};
constexpr int resolves[] = {404, 409, 422};
constexpr int admin_changes[] = {404, 422};

// The order is the order of /openapi.json; the hottest route comes first.
// clang-format off
constexpr Route table[] = {
    {.method = "POST", .path = "/v1/orders", .endpoint = Endpoint::place_order,
     .operation_id = "placeOrder", .summary = "Place an order, atomic over all four services",
     .request = &s::place_order, .key_required = true, .preferences = true, .successes = order_placed, .problems = places},
    {.method = "GET", .path = "/v1/orders", .endpoint = Endpoint::list_orders,
     .operation_id = "listOrders", .summary = "Orders, newest first",
     .query = order_list_query, .successes = order_page},
    {.method = "GET", .path = "/v1/orders/{order_id}", .endpoint = Endpoint::get_order,
     .operation_id = "getOrder", .summary = "One order, seen over all four services",
     .path_schema = &s::uuid, .successes = order_found, .problems = reads},
    {.method = "POST", .path = "/v1/orders/{order_id}/cancel", .endpoint = Endpoint::cancel_order,
     .operation_id = "cancelOrder", .summary = "Release, refund and cancel, atomically",
     .path_schema = &s::uuid, .request = &s::cancel_order, .body_optional = true, .key_required = true,
     .preferences = true,
     .successes = order_changed, .problems = changes},
    {.method = "GET", .path = "/v1/inventory", .endpoint = Endpoint::list_stock,
     .participant = "inventory", .operation_id = "listStock", .summary = "Stock, by SKU",
     .query = page_query, .successes = stock_page},
    {.method = "GET", .path = "/v1/inventory/{sku}", .endpoint = Endpoint::get_stock,
     .participant = "inventory", .operation_id = "getStock", .summary = "One product's stock",
     .path_schema = &s::sku, .successes = stock_now, .problems = reads},
    {.method = "PUT", .path = "/v1/inventory/{sku}", .endpoint = Endpoint::put_stock,
     .participant = "inventory", .operation_id = "putStock",
     .summary = "Set what is named, make what is missing",
     .path_schema = &s::sku, .request = &s::put_stock, .successes = stock_put, .problems = puts},
    {.method = "POST", .path = "/v1/inventory/{sku}/restock", .endpoint = Endpoint::restock,
     .participant = "inventory", .operation_id = "restock", .summary = "Add to what is available",
     .path_schema = &s::sku, .request = &s::restock, .key_required = true,
     .successes = stock_now, .problems = changes},
    {.method = "GET", .path = "/v1/wallets/{customer_id}", .endpoint = Endpoint::get_wallet,
     .participant = "payment", .operation_id = "getWallet", .summary = "A customer's wallet",
     .path_schema = &s::customer_id, .successes = wallet_now, .problems = reads},
    {.method = "PUT", .path = "/v1/wallets/{customer_id}", .endpoint = Endpoint::put_wallet,
     .participant = "payment", .operation_id = "putWallet",
     .summary = "Set the balance; makes the customer",
     .path_schema = &s::customer_id, .request = &s::put_wallet, .successes = wallet_put, .problems = puts},
    {.method = "GET", .path = "/v1/reservations", .endpoint = Endpoint::list_reservations,
     .participant = "inventory", .operation_id = "listReservations",
     .summary = "An order's reservations",
     .query = by_order_query, .successes = reservation_list},
    {.method = "GET", .path = "/v1/reservations/{reservation_id}", .endpoint = Endpoint::get_reservation,
     .participant = "inventory", .operation_id = "getReservation", .summary = "One reservation",
     .path_schema = &s::uuid, .successes = reservation_found, .problems = reads},
    {.method = "GET", .path = "/v1/payments", .endpoint = Endpoint::list_payments,
     .participant = "payment", .operation_id = "listPayments",
     .summary = "An order's or a customer's payments: give one of the two",
     .query = payments_query, .successes = payment_page},
    {.method = "GET", .path = "/v1/payments/{payment_id}", .endpoint = Endpoint::get_payment,
     .participant = "payment", .operation_id = "getPayment", .summary = "One payment",
     .path_schema = &s::uuid, .successes = payment_found, .problems = reads},
    {.method = "GET", .path = "/v1/shipments", .endpoint = Endpoint::list_shipments,
     .participant = "shipping", .operation_id = "listShipments", .summary = "An order's shipments",
     .query = by_order_query, .successes = shipment_list},
    {.method = "GET", .path = "/v1/shipments/{shipment_id}", .endpoint = Endpoint::get_shipment,
     .participant = "shipping", .operation_id = "getShipment", .summary = "One shipment",
     .path_schema = &s::uuid, .successes = shipment_found, .problems = reads},
    {.method = "PATCH", .path = "/v1/shipments/{shipment_id}", .endpoint = Endpoint::patch_shipment,
     .operation_id = "patchShipment", .summary = "Ship or deliver: atomic over the services it touches",
     .path_schema = &s::uuid, .request = &s::patch_shipment, .key_required = true, .preferences = true,
     .successes = shipment_changed, .problems = changes},
    {.method = "GET", .path = "/v1/transactions", .endpoint = Endpoint::list_transactions,
     .operation_id = "listTransactions", .summary = "Global transactions",
     .query = transactions_query, .successes = transaction_list},
    {.method = "GET", .path = "/v1/transactions/{transaction_id}", .endpoint = Endpoint::get_transaction,
     .operation_id = "getTransaction", .summary = "One global transaction",
     .path_schema = &s::gid, .successes = transaction_found, .problems = reads},
    {.method = "GET", .path = "/v1/sagas", .endpoint = Endpoint::list_sagas,
     .operation_id = "listSagas", .summary = "Sagas and accepted orders, newest first",
     .query = sagas_query, .successes = saga_list},
    {.method = "GET", .path = "/v1/sagas/{saga_id}", .endpoint = Endpoint::get_saga,
     .operation_id = "getSaga", .summary = "One saga, with its history",
     .path_schema = &s::uuid, .successes = saga_found, .problems = reads},
    {.method = "GET", .path = "/v1/order-rows", .endpoint = Endpoint::list_order_rows,
     .participant = "order", .coordinator = false,
     .operation_id = "listOrderRows", .summary = "The order service's own rows, newest first",
     .query = order_row_query, .successes = order_row_page},
    {.method = "GET", .path = "/v1/order-rows/{order_id}", .endpoint = Endpoint::get_order_row,
     .participant = "order", .coordinator = false,
     .operation_id = "getOrderRow", .summary = "The order service's own row of an order",
     .path_schema = &s::uuid, .successes = order_row_found, .problems = reads},
    {.method = "GET", .path = "/admin/v1/transactions", .endpoint = Endpoint::list_transactions,
     .operation_id = "adminListTransactions", .summary = "Global transactions", .ports = Ports::admin,
     .query = transactions_query, .successes = transaction_list},
    {.method = "GET", .path = "/admin/v1/transactions/{transaction_id}", .endpoint = Endpoint::get_transaction,
     .operation_id = "adminGetTransaction", .summary = "One global transaction", .ports = Ports::admin,
     .path_schema = &s::gid, .successes = transaction_found, .problems = reads},
    {.method = "POST", .path = "/admin/v1/transactions/{transaction_id}/resolve",
     .endpoint = Endpoint::resolve_transaction, .operation_id = "resolveTransaction",
     .summary = "Say that a heuristic outcome is repaired", .ports = Ports::admin, .path_schema = &s::gid,
     .request = &s::resolve_transaction, .key_required = true, .successes = transaction_resolved, .problems = resolves},
    {.method = "POST", .path = "/admin/v1/sagas/search", .endpoint = Endpoint::search_lost_sagas,
     .operation_id = "searchLostSagas", .summary = "Look for sagas that the log has lost", .ports = Ports::admin,
     .successes = search_begun},
    {.method = "POST", .path = "/admin/v1/sagas/{saga_id}/resolve", .endpoint = Endpoint::resolve_saga,
     .operation_id = "resolveSaga", .summary = "Compensate or complete a saga that the log has lost", .ports = Ports::admin,
     .path_schema = &s::uuid, .request = &s::resolve_saga, .key_required = true, .successes = saga_resolved,
     .problems = changes},
    {.method = "PUT", .path = "/admin/v1/faults/{participant}", .endpoint = Endpoint::put_fault,
     .operation_id = "putFault", .summary = "Make a participant fail or wait", .ports = Ports::admin,
     .path_schema = &s::participant, .request = &s::fault, .successes = fault_set, .problems = admin_changes},
    {.method = "DELETE", .path = "/admin/v1/faults/{participant}", .endpoint = Endpoint::delete_fault,
     .operation_id = "deleteFault", .summary = "Clear a participant's fault", .ports = Ports::admin,
     .path_schema = &s::participant, .successes = fault_cleared, .problems = admin_changes},
    {.method = "GET", .path = "/admin/v1/modes", .endpoint = Endpoint::list_modes,
     .operation_id = "listModes", .summary = "Which participants orders are placed without", .ports = Ports::admin,
     .successes = mode_list},
    {.method = "PUT", .path = "/admin/v1/modes/{participant}", .endpoint = Endpoint::put_mode,
     .operation_id = "putMode", .summary = "Place orders without a participant, or with it again", .ports = Ports::admin,
     .path_schema = &s::spared_participant, .request = &s::put_mode, .successes = mode_set, .problems = admin_changes},
    {.method = "DELETE", .path = "/admin/v1/modes/{participant}", .endpoint = Endpoint::delete_mode,
     .operation_id = "deleteMode", .summary = "Place orders with the participant again", .ports = Ports::admin,
     .path_schema = &s::spared_participant, .successes = mode_cleared, .problems = admin_changes},
    {.method = "GET", .path = "/metrics", .endpoint = Endpoint::metrics,
     .participant = any_participant, .operation_id = "metrics",
     .summary = "Metrics for Prometheus", .ports = Ports::both,
     .successes = metrics_text},
    {.method = "GET", .path = "/livez", .endpoint = Endpoint::live,
     .participant = any_participant, .operation_id = "livez",
     .summary = "Is the process alive? Needs nothing else", .ports = Ports::both,
     .successes = is_live},
    {.method = "GET", .path = "/readyz", .endpoint = Endpoint::ready,
     .operation_id = "readyz", .summary = "Are the databases, the log and the first recovery there?",
     .ports = Ports::both, .query = ready_query, .successes = is_ready},
    {.method = "GET", .path = "/readyz", .endpoint = Endpoint::participant_ready,
     .participant = any_participant, .coordinator = false,
     .operation_id = "readyz", .summary = "Do the participants' databases answer?",
     .ports = Ports::both, .query = ready_query, .successes = participant_is_ready},
    {.method = "GET", .path = "/openapi.json", .endpoint = Endpoint::openapi,
     .participant = any_participant, .operation_id = "openapi",
     .summary = "This interface, described", .ports = Ports::both,
     .successes = openapi_document},
};
// clang-format on

// The raw parameter, empty for a path without one; nullopt: no match.
std::optional<std::string_view> match_path(std::string_view pattern, std::string_view path) {
  const std::size_t open = pattern.find('{');
  if (open == std::string_view::npos)
    return pattern == path ? std::optional(std::string_view()) : std::nullopt;
  const std::string_view before = pattern.substr(0, open);
  const std::string_view after = pattern.substr(pattern.find('}') + 1);
  if (path.size() <= before.size() + after.size() || !path.starts_with(before) ||
      !path.ends_with(after)) {
    return std::nullopt;
  }
  const std::string_view raw =
      path.substr(before.size(), path.size() - before.size() - after.size());
  if (raw.find('/') != std::string_view::npos) return std::nullopt;
  return raw;
}

void allow(std::string& allowed, std::string_view method) {
  if (!allowed.empty()) allowed += ", ";
  allowed += method;
  if (method == "GET") allowed += ", HEAD";
}

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

std::span<const Route> routes() { return table; }

bool serves(const Route& route, Port port) {
  return route.ports == Ports::both || (route.ports == Ports::admin) == (port == Port::admin);
}

std::optional<std::string> percent_decode(std::string_view text) {
  std::string decoded;
  decoded.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      decoded.push_back(text[i]);
      continue;
    }
    if (i + 2 >= text.size()) return std::nullopt;
    const int high = hex_value(text[i + 1]);
    const int low = hex_value(text[i + 2]);
    if (high < 0 || low < 0) return std::nullopt;
    decoded.push_back(static_cast<char>(high * 16 + low));
    i += 2;
  }
  return decoded;
}

RouteSet coordinator_routes() {
  RouteSet set;
  for (const Route& route : table) {
    if (route.coordinator) set.push_back(&route);
  }
  return set;
}

RouteSet participant_routes(const std::vector<std::string>& participants) {
  RouteSet set;
  for (const Route& route : table) {
    const bool served = route.participant == any_participant ||
                        std::find(participants.begin(), participants.end(), route.participant) !=
                            participants.end();
    if (served) set.push_back(&route);
  }
  return set;
}

Match match_route(const RouteSet& routes, Port port, std::string_view method,
                  std::string_view path) {
  Match match;
  for (const Route* route : routes) {
    if (!serves(*route, port)) continue;
    const auto raw = match_path(route->path, path);
    if (!raw) continue;
    allow(match.allowed, route->method);
    const bool head = method == "HEAD" && route->method == "GET";
    if (route->method != method && !head) continue;
    auto parameter = percent_decode(*raw);
    if (!parameter) return {};
    match.route = route;
    match.parameter = std::move(*parameter);
    return match;
  }
  if (!match.allowed.empty()) match.allowed += ", OPTIONS";
  return match;
}

std::string_view served_by(const RouteSet& routes, std::string_view method, std::string_view path) {
  for (const Route& route : table) {
    const bool asked = route.ports == Ports::open && route.method == method &&
                       match_path(route.path, path).has_value();
    if (!asked || std::find(routes.begin(), routes.end(), &route) != routes.end()) continue;
    return route.coordinator ? "coordinator" : route.participant;
  }
  return {};
}

}  // namespace txcoord::http
