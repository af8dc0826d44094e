// Reads of the Shipping service: shipments, and an order's shipping events.
#include <string>
#include <utility>
#include <vector>

#include "participants/pg_participant.hpp"
#include "participants/shipping/address_json.hpp"
#include "participants/shipping/shipping.hpp"
#include "participants/shipping/shipping_branch.hpp"

namespace txcoord {
namespace {

constexpr pg::Statement one_shipment{"shipping_one", R"(
  SELECT shipment_id, order_id, tracking_number, carrier, status, shipping_address, created_at, updated_at
    FROM shipments
   WHERE shipment_id = $1::uuid)"};

constexpr pg::Statement shipments_of_order{"shipping_of_order", R"(
  SELECT shipment_id, order_id, tracking_number, carrier, status, shipping_address, created_at, updated_at
    FROM shipments
   WHERE order_id = $1::uuid)"};

// Bounded: an order has few events, whatever wrote them.
constexpr pg::Statement events_of_order{"shipping_events", R"(
  SELECT type, correlation_id, at FROM events WHERE order_id = $1::uuid ORDER BY event_id LIMIT 1000)"};

std::vector<ShipmentView> shipments_of(const pqxx::result& rows) {
  std::vector<ShipmentView> shipments;
  for (const pqxx::row& row : rows) {
    ShipmentView shipment;
    shipment.shipment_id = row[0].as<std::string>();
    shipment.order_id = row[1].as<std::string>();
    shipment.tracking_number = row[2].as<std::string>();
    shipment.carrier = row[3].as<std::string>();
    shipment.status = row[4].as<std::string>();
    shipment.address = address_from_json(row[5].view());
    shipment.created_at = time_of(row[6]);
    shipment.updated_at = time_of(row[7]);
    shipments.push_back(std::move(shipment));
  }
  return shipments;
}

class PgShippingService final : public ShippingService {
 public:
  PgShippingService(std::shared_ptr<pg::Pool> pool, std::chrono::milliseconds deadline)
      : pool_(std::move(pool)), deadline_(deadline) {}

  asio::awaitable<Result<std::optional<ShipmentView>>> shipment(std::string shipment_id) override {
    auto read = [id = std::move(shipment_id)](pg::Session& session) -> std::optional<ShipmentView> {
      std::vector<ShipmentView> found = shipments_of(session.exec(one_shipment, id));
      if (found.empty()) return std::nullopt;
      return std::move(found.front());
    };
    auto reading = pool_->run(std::move(read), deadline_);
    co_return co_await std::move(reading);
  }

  asio::awaitable<Result<std::vector<ShipmentView>>> shipments(std::string order_id) override {
    auto read = [id = std::move(order_id)](pg::Session& session) {
      return shipments_of(session.exec(shipments_of_order, id));
    };
    auto reading = pool_->run(std::move(read), deadline_);
    co_return co_await std::move(reading);
  }

  asio::awaitable<Result<std::vector<EventView>>> shipping_events(std::string order_id) override {
    auto read = [id = std::move(order_id)](pg::Session& session) {
      std::vector<EventView> events;
      for (const pqxx::row& row : session.exec(events_of_order, id)) {
        events.push_back({row[0].as<std::string>(), row[1].as<std::string>(), time_of(row[2])});
      }
      return events;
    };
    auto reading = pool_->run(std::move(read), deadline_);
    co_return co_await std::move(reading);
  }

 private:
  std::shared_ptr<pg::Pool> pool_;
  std::chrono::milliseconds deadline_;
};

}  // namespace

ShippingParts make_shipping(const asio::any_io_executor& io, const DatabaseSettings& database,
                            Metrics* metrics, const ParticipantDeadlines& deadlines) {
  const PgPools pools = make_pools(io, "shipping", database, metrics);
  return {std::make_unique<PgParticipant>(pools, make_shipping_logic(), deadlines, metrics),
          std::make_unique<PgShippingService>(pools.service, deadlines.service)};
}

}  // namespace txcoord
