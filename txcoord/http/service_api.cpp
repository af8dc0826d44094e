// See service_api.hpp: which endpoint goes where.
#include "txcoord/http/service_api.hpp"

#include <stdexcept>
#include <utility>

namespace txcoord::http {

ServiceApi::ServiceApi(asio::any_io_executor io, const ServiceDependencies& dependencies,
                       DecidedPlaces decided)
    : io_(std::move(io)), d_(dependencies), decided_(std::move(decided)) {}

asio::awaitable<Reply> ServiceApi::handle(Call& call) {
  switch (call.route->endpoint) {
    case Endpoint::get_stock: return get_stock(call);
    case Endpoint::put_stock: return put_stock(call);
    case Endpoint::list_stock: return list_stock(call);
    case Endpoint::restock: return restock(call);
    case Endpoint::get_wallet: return get_wallet(call);
    case Endpoint::put_wallet: return put_wallet(call);
    case Endpoint::list_reservations: return list_reservations(call);
    case Endpoint::get_reservation: return get_reservation(call);
    case Endpoint::list_payments: return list_payments(call);
    case Endpoint::get_payment: return get_payment(call);
    case Endpoint::list_shipments: return list_shipments(call);
    case Endpoint::get_shipment: return get_shipment(call);
    case Endpoint::get_order_row: return get_order_row(call);
    case Endpoint::list_order_rows: return list_order_rows(call);
    default: break;
  }
  throw std::logic_error("no service alone answers this endpoint");
}

asio::awaitable<std::optional<DecidedPlace>> ServiceApi::decided_place(std::string order_id) const {
  if (!decided_.of_order) co_return std::nullopt;
  auto looking = decided_.of_order(std::move(order_id));
  co_return co_await std::move(looking);
}

std::optional<DecidedPlace> ServiceApi::find_decided(const PlaceFilter& matches) const {
  return decided_.find ? decided_.find(matches) : std::nullopt;
}

std::chrono::milliseconds ServiceApi::read_wait() const {
  return std::chrono::milliseconds(d_.settings.http.read_wait_ms_max);
}

}  // namespace txcoord::http
