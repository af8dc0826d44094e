// See api.hpp: which endpoint goes where.
#include "txcoord/http/api.hpp"

#include "txcoord/http/openapi.hpp"

namespace txcoord::http {

Api::Api(const asio::any_io_executor& io, const HttpDependencies& dependencies)
    : io_(io),
      d_(dependencies),
      services_(io,
                {.orders = &d_.orders,
                 .inventory = &d_.inventory,
                 .payments = &d_.payments,
                 .shipping = &d_.shipping,
                 .settings = d_.settings},
                {.of_order = [this](std::string id) { return decided_place(std::move(id)); },
                 .find = [this](const PlaceFilter& matches) { return find_decided(matches); }}),
      openapi_(openapi_document(coordinator_routes(), {})),
      admin_openapi_(openapi_document(coordinator_routes(),
                                      {.title = "txcoord admin",
                                       .note = " This is the admin port: it has no password.",
                                       .port = Port::admin})) {}

asio::awaitable<Reply> Api::handle(Call& call) {
  switch (call.route->endpoint) {
    case Endpoint::place_order: return place_order(call);
    case Endpoint::get_order: return get_order(call);
    case Endpoint::list_orders: return list_orders(call);
    case Endpoint::cancel_order: return cancel_order(call);
    case Endpoint::get_stock:
    case Endpoint::put_stock:
    case Endpoint::list_stock:
    case Endpoint::restock:
    case Endpoint::get_wallet:
    case Endpoint::put_wallet:
    case Endpoint::list_reservations:
    case Endpoint::get_reservation:
    case Endpoint::list_payments:
    case Endpoint::get_payment:
    case Endpoint::list_shipments:
    case Endpoint::get_shipment: return services_.handle(call);
    case Endpoint::patch_shipment: return patch_shipment(call);
    case Endpoint::list_transactions: return list_transactions(call);
    case Endpoint::get_transaction: return get_transaction(call);
    case Endpoint::resolve_transaction: return resolve_transaction(call);
    case Endpoint::list_sagas: return list_sagas(call);
    case Endpoint::get_saga: return get_saga(call);
    case Endpoint::resolve_saga: return resolve_saga(call);
    case Endpoint::put_mode: return put_mode(call);
    case Endpoint::delete_mode: return delete_mode(call);
    case Endpoint::list_modes:
    case Endpoint::search_lost_sagas:
    case Endpoint::put_fault:
    case Endpoint::delete_fault:
    case Endpoint::metrics:
    case Endpoint::live:
    case Endpoint::ready:
    case Endpoint::openapi:
    case Endpoint::participant_ready:  // of routes that a coordinator does not serve
    case Endpoint::get_order_row:
    case Endpoint::list_order_rows: break;
  }
  return immediate(call);
}

// Endpoints that wait for nothing.
asio::awaitable<Reply> Api::immediate(Call& call) {
  switch (call.route->endpoint) {
    case Endpoint::put_fault: co_return put_fault(call);
    case Endpoint::delete_fault: co_return delete_fault(call);
    case Endpoint::list_modes: co_return list_modes();
    case Endpoint::search_lost_sagas: co_return search_lost_sagas();
    case Endpoint::metrics:
      d_.metrics.ready(d_.engine.ready() && !d_.engine.draining());
      co_return metrics_reply(call, d_.metrics);
    case Endpoint::live: co_return live_reply();
    case Endpoint::ready: co_return ready(call);
    case Endpoint::openapi:
      co_return json_reply(call.port == Port::admin ? admin_openapi_ : openapi_);
    default: break;
  }
  co_return problem_reply(
      {.status = 500, .reason = "OUTCOME_UNKNOWN", .detail = "this endpoint has no handler"});
}

std::chrono::milliseconds Api::read_wait() const {
  return std::chrono::milliseconds(d_.settings.http.read_wait_ms_max);
}

}  // namespace txcoord::http
