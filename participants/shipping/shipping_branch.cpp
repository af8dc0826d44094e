// The shipping service's branch SQL: one statement arranges a group's shipments, one moves others.
#include "participants/shipping/shipping_branch.hpp"

#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "participants/shipping/address_json.hpp"
#include "participants/shipping/carrier.hpp"
#include "participants/shipping/shipping_judge.hpp"
#include "txcoord/base/time.hpp"

namespace txcoord {
namespace {

// Locks in the order of order_id, which never changes: the same order in every transaction.
#define TXC_SHIPMENTS_IN_KEY_ORDER                                           \
  "SELECT order_id, status FROM shipments WHERE order_id = ANY ($1::uuid[])" \
  " ORDER BY order_id FOR NO KEY UPDATE"
constexpr pg::Statement lock_free_shipments{"shipping_lock_free",
                                            TXC_SHIPMENTS_IN_KEY_ORDER " SKIP LOCKED"};
constexpr pg::Statement lock_shipments{"shipping_lock", TXC_SHIPMENTS_IN_KEY_ORDER};

// Without a lock: what came back as no row and is there all the same is held by somebody else.
constexpr pg::Statement held_shipments{"shipping_held", R"(
  SELECT order_id, xmax::text FROM shipments WHERE order_id = ANY ($1::uuid[]))"};

// Nothing here waits: the three unique columns are made by us, one of each for an order.
constexpr pg::Statement arrange_shipments{"shipping_arrange", R"(
  WITH history AS (
    INSERT INTO events (order_id, type, correlation_id, at)
    SELECT s.order_id, 'ShippingArranged', s.correlation_id, s.created_at
      FROM unnest($2::uuid[], $6::text[], $7::timestamptz[]) AS s (order_id, correlation_id, created_at)
  )
  INSERT INTO shipments (shipment_id, order_id, shipping_address, tracking_number, carrier, status,
                         created_at, updated_at)
  SELECT s.shipment_id, s.order_id, s.address::jsonb, s.tracking_number, s.carrier, 'ARRANGED',
         s.created_at, s.created_at
    FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $7::timestamptz[])
      AS s (shipment_id, order_id, address, tracking_number, carrier, created_at))"};

// Counts the rows that were what the judge saw: under our locks, all of them.
constexpr pg::Statement move_shipments{"shipping_move", R"(
  WITH moved AS (
    UPDATE shipments s
       SET status = m.to_status, updated_at = greatest(s.updated_at, m.at)
      FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[])
        AS m (order_id, from_status, to_status, event, correlation_id, at)
     WHERE s.order_id = m.order_id AND s.status = m.from_status
    RETURNING s.order_id, m.event, m.correlation_id, m.at
  )
  INSERT INTO events (order_id, type, correlation_id, at)
  SELECT order_id, event, correlation_id, at FROM moved)"};

std::string event_name(OperationKind kind) {
  switch (kind) {
    case OperationKind::place: return "ShippingArranged";
    case OperationKind::cancel: return "ShippingCancelled";
    case OperationKind::ship: return "ShipmentShipped";
    case OperationKind::deliver: return "ShipmentDelivered";
    case OperationKind::create:
    case OperationKind::confirm:
    case OperationKind::fail: break;  // steps at the order service alone
  }
  throw std::logic_error("not an operation on a shipment");
}

struct Arranged {  // one array a column
  std::vector<std::string> shipment_ids, order_ids, addresses, tracking_numbers, carriers,
      correlations, times;

  void add(const Operation& operation) {
    const auto prefecture = find_prefecture(operation.place.address.prefecture);
    if (!prefecture) throw std::logic_error("a survivor's address is served by no carrier");
    shipment_ids.push_back(operation.place.shipment_id);
    order_ids.push_back(operation.order_id);
    addresses.push_back(address_to_json(operation.place.address));
    const bool by_hand = operation.place.ship_by_hand;
    tracking_numbers.push_back(tracking_number(
        by_hand ? by_hand_prefix : prefecture->tracking_prefix, operation.place.shipment_id));
    carriers.emplace_back(by_hand ? by_hand_carrier : prefecture->carrier);
    correlations.push_back(operation.correlation_id);
    times.push_back(written_at(operation));
  }
};

class ShippingLogic final : public BranchLogic {
 public:
  std::string_view name() const override { return "shipping"; }
  bool touches(const Operation& operation) const override {
    return shipment_touched(operation.kind);
  }

  std::unique_ptr<LockedRows> without_locks(const Operations& operations) const override {
    return all_make_rows(operations, shipment_made_in) ? std::make_unique<LockedShipments>()
                                                       : nullptr;
  }

  std::unique_ptr<LockedRows> lock(pg::Session& session, const Operations& operations,
                                   const PreliminaryPtr&, LockMode mode) const override {
    const std::vector<std::string> wanted = orders_to_lock(operations, shipment_made_in);
    const pg::Statement& locking = mode == LockMode::wait ? lock_shipments : lock_free_shipments;
    std::map<std::string, ShipmentStatus> statuses;
    for (const pqxx::row& row : session.exec(locking, wanted)) {
      statuses.emplace(row[0].as<std::string>(), parse_shipment_status(row[1].view()));
    }
    HeldRows held = held_rows(session, held_shipments, wanted, statuses);
    return std::make_unique<LockedShipments>(std::move(statuses), std::move(held));
  }

  void apply(pg::Session& session, const Operations& operations, const OperationMask& survivors,
             const LockedRows& rows, const std::string&) const override {
    const auto& locked = dynamic_cast<const LockedShipments&>(rows);
    Arranged arranged;
    MovedRows moved;
    for (std::size_t i = 0; i < operations.size(); ++i) {
      if (!survivors[i] || !shipment_touched(operations[i]->kind)) continue;
      const Operation& operation = *operations[i];
      if (operation.kind == OperationKind::place) {
        arranged.add(operation);
      } else {
        moved.add(operation, locked.status(operation.order_id), shipment_moves(),
                  event_name(operation.kind));
      }
    }
    if (!arranged.order_ids.empty()) {
      const pqxx::result result = session.exec(
          arrange_shipments, arranged.shipment_ids, arranged.order_ids, arranged.addresses,
          arranged.tracking_numbers, arranged.carriers, arranged.correlations, arranged.times);
      expect_rows(result, arranged.order_ids.size(), arrange_shipments.name);
    }
    if (!moved.order_ids.empty()) {
      const pqxx::result result =
          session.exec(move_shipments, moved.order_ids, moved.from, moved.to, moved.events,
                       moved.correlations, moved.times);
      expect_rows(result, moved.order_ids.size(), move_shipments.name);
    }
  }
};

}  // namespace

std::shared_ptr<const BranchLogic> make_shipping_logic() {
  return std::make_shared<ShippingLogic>();
}

}  // namespace txcoord
