// Inventory on a real server: branches from vote to commit, PUT and restock, reads.
#include "participants/inventory/inventory.hpp"

#include <catch2/catch_get_random_seed.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <fstream>
#include <random>
#include <sstream>

#include "tests/pg/branch_rig.hpp"
#include "tests/pg/shapes.hpp"
#include "txcoord/base/sha256.hpp"

namespace txcoord {
namespace {

using test::Answer;
using test::await;
using test::operation_on;
using test::place_order;

struct InventoryRig {
  test::ServiceDatabase database{"inventory"};
  boost::asio::io_context io;
  InventoryParts parts = test::in_shape(io, make_inventory(io.get_executor(), settings(), nullptr));
  test::BranchDriver branch{io, *parts.participant};
  InventoryService& service = *parts.service;

  DatabaseSettings settings() {
    DatabaseSettings settings = test::settings_of(database);
    settings.lock_ms_max = 200;
    return settings;
  }
  void stock(const std::string& sku, std::int64_t available, Money price = 100) {
    StockChange change;
    change.available = available;
    change.unit_price = price;
    REQUIRE(await(io, service.put_stock(sku, change)).ok());
  }
  std::string quantities(const std::string& sku) {
    const auto view = await(io, service.stock(sku)).value().value();
    return std::to_string(view.available) + " " + std::to_string(view.reserved) + " " +
           std::to_string(view.shipped);
  }
  // I6, from outside of the code under test.
  void check_conserved() {
    CHECK(database.value(
              "SELECT count(*) FROM inventory i WHERE available + reserved + shipped <> "
              "(SELECT coalesce(sum(delta), 0) FROM stock_ledger l WHERE l.sku = i.sku)") == "0");
    CHECK(
        database.value(
            "SELECT count(*) FROM inventory i WHERE reserved <> (SELECT coalesce(sum(quantity), 0) "
            "FROM reservations r WHERE r.sku = i.sku AND status = 'RESERVED')") == "0");
  }
};

TEST_CASE("inventory: a group takes its sum from a stock row, invisible until committed",
          "[inventory][I1][I6]") {
  InventoryRig rig;
  rig.stock("a", 10);
  rig.stock("b", 5);
  const Operations group{place_order({{"a", 3, 100, ""}, {"b", 5, 100, ""}}),
                         place_order({{"a", 4, 100, ""}}), place_order({{"b", 1, 100, ""}})};
  const auto gid = rig.branch.prepared(group);  // the third is refused: nothing is left of b
  CHECK(rig.quantities("a") == "10 0 0");
  CHECK(rig.database.prepared() == "1");
  CHECK_FALSE(rig.branch.has_witness(gid));
  REQUIRE(rig.branch.commit(gid).ok());

  CHECK(rig.quantities("a") == "3 7 0");
  CHECK(rig.quantities("b") == "0 5 0");
  CHECK(rig.branch.has_witness(gid));
  CHECK(rig.database.value("SELECT count(*) FROM reservations WHERE expires_at IS NULL") == "3");
  CHECK(rig.database.value("SELECT count(*) FROM events WHERE type = 'StockReserved'") == "2");
  rig.check_conserved();
}

TEST_CASE("inventory: a branch that is rolled back leaves nothing", "[inventory][I1]") {
  InventoryRig rig;
  rig.stock("a", 10);
  const auto gid = rig.branch.prepared({place_order({{"a", 3, 100, ""}})});
  REQUIRE(rig.branch.roll_back(gid).ok());
  CHECK(rig.quantities("a") == "10 0 0");
  CHECK(rig.database.value("SELECT count(*) FROM reservations") == "0");
  CHECK_FALSE(rig.branch.has_witness(gid));
}

TEST_CASE("inventory: a cancel releases and a ship moves, once", "[inventory][I6]") {
  InventoryRig rig;
  rig.stock("a", 10);
  const auto first = place_order({{"a", 3, 100, ""}});
  const auto second = place_order({{"a", 4, 100, ""}});
  rig.branch.committed({first, second});
  rig.branch.committed({operation_on(first->order_id, OperationKind::cancel),
                        operation_on(second->order_id, OperationKind::ship),
                        place_order({{"a", 1, 100, ""}})});
  CHECK(rig.quantities("a") == "5 1 4");
  rig.check_conserved();

  const auto gid = rig.branch.next_gid();
  const auto votes = rig.branch.vote(gid, {operation_on(first->order_id, OperationKind::cancel),
                                           operation_on(second->order_id, OperationKind::cancel)});
  for (const auto& vote : votes) CHECK(vote.reason == "ILLEGAL_STATE");
  rig.branch.release(gid);
}

TEST_CASE("inventory: a SKU may hold every character that SQL and arrays treat specially",
          "[inventory]") {
  InventoryRig rig;
  const std::vector<std::string> skus{
      R"(a"b)", R"(c\d)", "e,f{g}", "NULL", "本'; DROP TABLE inventory; --", " x "};
  std::vector<OrderItem> items;
  for (const auto& sku : skus) {
    rig.stock(sku, 2);
    items.push_back({sku, 1, 100, ""});
  }
  rig.branch.committed({place_order(items)});
  for (const auto& sku : skus) CHECK(rig.quantities(sku) == "1 1 0");
}

TEST_CASE(
    "inventory: a row that an in-doubt branch holds is retry for who needs it, yes for others",
    "[inventory]") {
  InventoryRig rig;
  rig.stock("a", 10);
  rig.stock("b", 10);
  const auto gid = rig.branch.prepared({place_order({{"a", 1, 100, ""}})});
  for (const LockMode mode : {LockMode::skip, LockMode::wait}) {
    const auto next = rig.branch.next_gid();
    const auto votes = rig.branch.vote(
        next,
        {place_order({{"a", 1, 100, ""}}), place_order({{"b", 1, 100, ""}}),
         place_order({{"b", 1, 100, ""}, {"a", 1, 100, ""}}), place_order({{"no", 1, 100, ""}})},
        mode);
    CHECK(votes[0].answer == Answer::retry);
    CHECK(votes[0].busy == "inventory/a");
    // The prepared branch, which has no session.
    CHECK(votes[0].holder == rig.database.value("SELECT transaction::text FROM pg_prepared_xacts"
                                                " WHERE database = current_database()"));
    CHECK(votes[1].answer == Answer::yes);
    CHECK(votes[2].busy == "inventory/a");
    CHECK(votes[3].reason == "UNKNOWN_SKU");
    rig.branch.release(next);
  }
  REQUIRE(rig.branch.commit(gid).ok());
  rig.branch.committed({place_order({{"a", 1, 100, ""}})});
  CHECK(rig.quantities("a") == "8 2 0");
}

TEST_CASE("inventory: a cancel whose stock, or whose reservation, somebody holds is judged later",
          "[inventory]") {
  InventoryRig rig;
  rig.stock("a", 10);
  rig.stock("b", 10);
  const auto first = place_order({{"a", 1, 100, ""}});
  const auto second = place_order({{"b", 1, 100, ""}});
  rig.branch.committed({first, second});
  rig.database.run("BEGIN");
  const std::string held = GENERATE("SELECT FROM inventory WHERE sku = 'a' FOR UPDATE",
                                    "SELECT FROM reservations WHERE sku = 'a' FOR UPDATE");
  rig.database.run(held);
  const auto votes = rig.branch.vote(rig.branch.next_gid(),
                                     {operation_on(first->order_id, OperationKind::cancel),
                                      operation_on(second->order_id, OperationKind::cancel)});
  CHECK(votes[0].answer == Answer::retry);
  CHECK_FALSE(votes[0].busy.empty());
  CHECK(votes[0].holder == rig.database.value("SELECT pg_current_xact_id()::xid::text"));
  CHECK(votes[1].answer == Answer::yes);
  rig.database.run("ROLLBACK");
}

TEST_CASE("inventory: random groups of places, cancels and ships conserve the stock",
          "[inventory][I6]") {
  InventoryRig rig;
  const auto seed = Catch::getSeed();
  CAPTURE(seed);
  std::mt19937 random(seed);
  const auto upto = [&](int most) { return std::uniform_int_distribution<int>(0, most)(random); };
  const std::vector<std::string> skus{"a", "b", "c"};
  for (const auto& sku : skus) rig.stock(sku, 25);
  std::vector<std::string> orders;
  for (int round = 0; round < 25; ++round) {
    Operations group;
    for (int i = 0; i <= upto(9); ++i) {
      if (!orders.empty() && upto(2) == 0) {
        const auto kind = upto(1) == 0 ? OperationKind::cancel : OperationKind::ship;
        group.push_back(operation_on(
            orders[static_cast<std::size_t>(upto(static_cast<int>(orders.size()) - 1))], kind));
        continue;
      }
      std::vector<OrderItem> items;
      for (const auto& sku : skus) {
        if (upto(1) == 0) items.push_back({sku, 1 + upto(2), 100, ""});
      }
      if (!items.empty()) group.push_back(place_order(items));
    }
    const auto gid = rig.branch.prepared(group);
    const bool commit = upto(3) > 0;
    REQUIRE((commit ? rig.branch.commit(gid) : rig.branch.roll_back(gid)).ok());
    for (const auto& operation : group) {
      if (commit && operation->kind == OperationKind::place) orders.push_back(operation->order_id);
    }
    rig.check_conserved();
  }
}

TEST_CASE("inventory: PUT sets what it names and books the difference", "[inventory][I6]") {
  InventoryRig rig;
  rig.stock("a", 10, 250);
  StockChange change;
  change.title = "クラウド設計パターン集";
  change.available = 4;
  const auto view = await(rig.io, rig.service.put_stock("a", change)).value();
  CHECK(view.title == "クラウド設計パターン集");
  CHECK(view.unit_price == 250);
  CHECK(view.available == 4);
  CHECK(rig.database.value(
            "SELECT string_agg(delta::text, ' ' ORDER BY entry_id) FROM stock_ledger") == "10 -6");
  change.available.reset();
  CHECK(await(rig.io, rig.service.put_stock("a", change)).value().available == 4);
  rig.check_conserved();
  change.available = -1;
  CHECK(await(rig.io, rig.service.put_stock("a", change)).failure().kind == FailureKind::poison);
  rig.check_conserved();
}

RequestKey key_of(const std::string& key, const std::string& body) {
  return {"-|POST|restock", key, sha256(body)};
}

TEST_CASE("inventory: a restock key has one effect and one answer", "[inventory][I5][I6]") {
  InventoryRig rig;
  rig.stock("a", 1);
  const auto first = await(rig.io, rig.service.restock("a", 5, key_of("k1", "a 5"))).value();
  CHECK(first.status == KeyedStatus::done);
  CHECK(first.stock.available == 6);
  await(rig.io, rig.service.restock("a", 1, key_of("k2", "a 1")));

  const auto again = await(rig.io, rig.service.restock("a", 5, key_of("k1", "a 5"))).value();
  CHECK(again.status == KeyedStatus::replayed);
  CHECK(again.stock.available == 6);  // as it was answered, not as it is now
  CHECK(await(rig.io, rig.service.restock("a", 9, key_of("k1", "a 9"))).value().status ==
        KeyedStatus::key_reused);
  for (int i = 0; i < 2; ++i) {
    CHECK(await(rig.io, rig.service.restock("no", 1, key_of("k3", "no 1"))).value().status ==
          KeyedStatus::not_found);
  }
  CHECK(rig.quantities("a") == "7 0 0");
  rig.check_conserved();
  // That there was no such product is no outcome of the request.
  CHECK(rig.database.value("SELECT count(*) FROM request_keys WHERE key = 'k3'") == "0");
  rig.stock("no", 2);
  const auto later = await(rig.io, rig.service.restock("no", 1, key_of("k3", "no 1"))).value();
  CHECK(later.status == KeyedStatus::done);
  CHECK(later.stock.available == 3);
  rig.check_conserved();
}

TEST_CASE("inventory: a PUT makes a product only with what is available of it", "[inventory][I6]") {
  InventoryRig rig;
  StockChange change;
  change.unit_price = 5;
  const auto nothing = await(rig.io, rig.service.put_stock("new", change));
  REQUIRE_FALSE(nothing.ok());
  CHECK(nothing.failure().kind == FailureKind::poison);
  CHECK(nothing.failure().sqlstate == missing_product_sqlstate);
  CHECK_FALSE(nothing.failure().outcome_unknown);
  CHECK(rig.database.value("SELECT count(*) FROM inventory WHERE sku = 'new'") == "0");
  change.available = 3;
  const auto made = await(rig.io, rig.service.put_stock("new", change)).value();
  CHECK(made.made);
  CHECK(made.title == "new");
  CHECK_FALSE(await(rig.io, rig.service.put_stock("new", StockChange{})).value().made);
  rig.check_conserved();
}

TEST_CASE("inventory: the same restock sixteen times at once adds once", "[inventory][I5]") {
  InventoryRig rig;
  rig.stock("a", 0);
  std::vector<std::shared_ptr<test::Running<Result<RestockReply>>>> running;
  for (int i = 0; i < 16; ++i) {
    running.push_back(test::start(rig.io, rig.service.restock("a", 5, key_of("k", "a 5"))));
  }
  int done = 0;
  for (const auto& each : running) {
    const auto reply = test::finish(rig.io, each).value();
    done += reply.status == KeyedStatus::done ? 1 : 0;
    CHECK(reply.stock.available == 5);
  }
  CHECK(done == 1);
  CHECK(rig.quantities("a") == "5 0 0");
}

TEST_CASE("inventory: reads by page, by order and by id", "[inventory]") {
  InventoryRig rig;
  for (const char* sku : {"a", "b", "c"}) rig.stock(sku, 5);
  PageRequest page;
  page.limit = 2;
  const auto first = await(rig.io, rig.service.stocks(page)).value();
  REQUIRE(first.size() == 2);
  page.after = first[1].sku;
  CHECK(await(rig.io, rig.service.stocks(page)).value().at(0).sku == "c");
  CHECK_FALSE(await(rig.io, rig.service.stock("none")).value().has_value());

  const auto order = place_order({{"a", 1, 100, ""}, {"b", 2, 100, ""}});
  rig.branch.committed({order});
  const auto reservations = await(rig.io, rig.service.reservations(order->order_id)).value();
  REQUIRE(reservations.size() == 2);
  CHECK(reservations[1].quantity == 2);
  CHECK(reservations[1].status == "RESERVED");
  CHECK(reservations[1].created_at == order->created_at);
  CHECK_FALSE(reservations[1].expires_at.has_value());
  const auto one = await(rig.io, rig.service.reservation(reservations[0].reservation_id)).value();
  CHECK(one.value().sku == "a");
  const auto events = await(rig.io, rig.service.stock_events(order->order_id)).value();
  REQUIRE(events.size() == 1);
  CHECK(events[0].type == "StockReserved");
  CHECK(events[0].correlation_id == "corr-1");
}

TEST_CASE("inventory: the CloudMart catalogue loads twice and stays conserved", "[inventory][I6]") {
  InventoryRig rig;
  std::ifstream file("schemas/inventory/cloudmart.sql");
  REQUIRE(file);
  std::stringstream sql;
  sql << file.rdbuf();
  rig.database.run(sql.str());
  rig.database.run(sql.str());
  CHECK(rig.quantities("book-123") == "5 0 0");
  CHECK(rig.quantities("book-456") == "0 0 0");
  CHECK(await(rig.io, rig.service.stock("book-789")).value()->title == "プログラミング入門");
  rig.check_conserved();
}

}  // namespace
}  // namespace txcoord
