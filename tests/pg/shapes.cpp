// See shapes.hpp.
#include "tests/pg/shapes.hpp"

#include <cstdlib>
#include <string_view>

#include "participants/remote/participant_host.hpp"
#include "participants/remote/remote_participant.hpp"
#include "participants/remote/remote_services.hpp"
#include "txcoord/base/logging.hpp"
#include "txcoord/http/participant_api.hpp"
#include "txcoord/http/server.hpp"

namespace txcoord::test {
namespace {

using remote::RemoteService;
using std::chrono::milliseconds;

constexpr const char* token = "between-the-tests";

bool apart() {
  const char* const shape = std::getenv("TXC_SHAPE");
  return shape != nullptr && std::string_view(shape) == "apart";
}

// The service's side and the client's, for as long as the client's parts live.
template <class Parts>
struct World {
  World(boost::asio::io_context& io, Parts local, remote::Hosted hosted)
      : parts(std::move(local)),
        host(io.get_executor(), {{std::string(hosted.participant->name()), hosted}},
             milliseconds(60'000)),
        api(host, metrics, settings_for_tests(settings), token, nullptr),
        server(io.get_executor(), settings, api) {
    logging::start("error");
    server.start();
    const auto url = remote::parse_url("http://127.0.0.1:" + std::to_string(server.port()));
    service = std::make_unique<RemoteService>(io.get_executor(), url, token);
  }

  static HttpSettings& settings_for_tests(HttpSettings& settings) {
    settings.port = 0;
    settings.body_bytes_max = 16 * 1024 * 1024;
    return settings;
  }

  Parts parts;
  Metrics metrics;
  HttpSettings settings;
  remote::ParticipantHost host;
  http::ParticipantApi api;
  http::Server server;
  std::unique_ptr<RemoteService> service;
};

// The client, which keeps everything behind it alive.
template <class Parts>
std::shared_ptr<RemoteService> service_for(boost::asio::io_context& io, Parts parts,
                                           remote::Hosted hosted) {
  hosted.participant = parts.participant.get();
  const auto world = std::make_shared<World<Parts>>(io, std::move(parts), hosted);
  return {world, world->service.get()};
}

constexpr milliseconds deadline{3000};

std::unique_ptr<Participant> participant_of(const char* name,
                                            std::shared_ptr<RemoteService> service) {
  return remote::make_remote_participant(name, std::move(service), ParticipantDeadlines{}, nullptr);
}

}  // namespace

OrderParts in_shape(boost::asio::io_context& io, OrderParts parts) {
  if (!apart()) return parts;
  remote::Hosted hosted;
  hosted.orders = parts.service.get();
  const auto service = service_for(io, std::move(parts), hosted);
  return {participant_of("order", service), remote::make_remote_order(service, deadline)};
}

InventoryParts in_shape(boost::asio::io_context& io, InventoryParts parts) {
  if (!apart()) return parts;
  remote::Hosted hosted;
  hosted.inventory = parts.service.get();
  const auto service = service_for(io, std::move(parts), hosted);
  return {participant_of("inventory", service), remote::make_remote_inventory(service, deadline)};
}

PaymentParts in_shape(boost::asio::io_context& io, PaymentParts parts) {
  if (!apart()) return parts;
  remote::Hosted hosted;
  hosted.payments = parts.service.get();
  hosted.cards = parts.settlement.get();
  const auto service = service_for(io, std::move(parts), hosted);
  return {participant_of("payment", service), remote::make_remote_payment(service, deadline),
          remote::make_remote_settler(service, deadline, nullptr)};
}

ShippingParts in_shape(boost::asio::io_context& io, ShippingParts parts) {
  if (!apart()) return parts;
  remote::Hosted hosted;
  hosted.shipping = parts.service.get();
  const auto service = service_for(io, std::move(parts), hosted);
  return {participant_of("shipping", service), remote::make_remote_shipping(service, deadline)};
}

PaymentParts without_intent_age(PaymentParts parts) {
  dynamic_cast<CardSettlement&>(*parts.settlement).intent_age_min = milliseconds(0);
  return parts;
}

}  // namespace txcoord::test
