// An inventory with steps of sagas, and how much of it is where.
#pragma once

#include <boost/asio/io_context.hpp>
#include <string>
#include <vector>

#include "participants/inventory/inventory.hpp"
#include "tests/pg/saga_steps_rig.hpp"
#include "tests/pg/shapes.hpp"

namespace txcoord::test {

struct InventoryStepRig {
  ServiceDatabase database{"inventory"};
  boost::asio::io_context io;
  InventoryParts parts =
      in_shape(io, make_inventory(io.get_executor(), settings_of(database), nullptr));
  StepDriver steps{io, *parts.participant};
  BranchDriver branch{io, *parts.participant};
  InventoryService& service = *parts.service;

  explicit InventoryStepRig(std::int64_t available = 100) { stock("a", available); }

  void stock(const std::string& sku, std::int64_t available) {
    StockChange change;
    change.available = available;
    change.unit_price = 100;
    REQUIRE(await(io, service.put_stock(sku, change)).ok());
  }
  std::string quantities(const std::string& sku = "a") {
    const auto view = await(io, service.stock(sku)).value().value();
    return std::to_string(view.available) + " " + std::to_string(view.reserved) + " " +
           std::to_string(view.shipped);
  }
  static TestSaga saga(std::int64_t quantity = 1, const std::string& sku = "a") {
    return saga_of(*place_order({{sku, quantity, 100, ""}}));
  }
  StepReply reserve(const TestSaga& saga) {
    return steps.run_one("reserve", saga.call(OperationKind::place));
  }
  StepReply release(const TestSaga& saga) {
    return steps.undo_one("release", "reserve", saga.call(OperationKind::cancel));
  }
  std::string rows() { return database.value("SELECT count(*) FROM txc_saga_steps"); }
  // I6, from outside of the code under test.
  void check_conserved() {
    CHECK(database.value(
              "SELECT count(*) FROM inventory i WHERE available + reserved + shipped <> "
              "(SELECT coalesce(sum(delta), 0) FROM stock_ledger l WHERE l.sku = i.sku)") == "0");
    CHECK(
        database.value("SELECT count(*) FROM inventory i WHERE reserved <> "
                       "(SELECT coalesce(sum(quantity), 0) FROM reservations r WHERE r.sku = i.sku "
                       "AND status = 'RESERVED')") == "0");
  }
};

}  // namespace txcoord::test
