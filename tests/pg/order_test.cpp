// The order service on a real server: branches from vote to commit, and its reads.
#include "participants/order/order.hpp"

#include <boost/asio/io_context.hpp>
#include <catch2/catch_test_macros.hpp>
#include <memory>
#include <string>
#include <vector>

#include "tests/pg/service_database.hpp"
#include "tests/pg/shapes.hpp"
#include "txcoord/base/time.hpp"

namespace txcoord {
namespace {

using protocol::Answer;
using protocol::Votes;
using test::await;

std::shared_ptr<Operation> on(const std::string& order_id, OperationKind kind) {
  auto operation = std::make_shared<Operation>();
  operation->kind = kind;
  operation->order_id = order_id;
  operation->correlation_id = "corr-" + std::string(to_string(kind));
  operation->created_at = now_utc();
  return operation;
}

std::shared_ptr<Operation> place(const std::string& customer = "customer-001") {
  auto operation = on(uuid_v7(), OperationKind::place);
  operation->place.customer_id = customer;
  operation->place.items = {{"book-123", 2, 3500, uuid_v7()}, {"book-789", 1, 2800, uuid_v7()}};
  operation->place.total_amount = 9800;
  return operation;
}

struct OrderRig {
  test::ServiceDatabase database{"order"};
  boost::asio::io_context io;
  OrderParts parts;
  std::uint64_t seq = 0;

  OrderRig() : parts(test::in_shape(io, make_order(io.get_executor(), settings(), nullptr))) {}

  DatabaseSettings settings() {
    DatabaseSettings settings;
    settings.dsn = database.dsn();
    return settings;
  }
  protocol::Gid next_gid() { return {"0123abcd", "c1", 1, "89abcdef", ++seq}; }
  Votes vote(const protocol::Gid& gid, const Operations& group) {
    auto votes = await(io, parts.participant->vote(gid, group));
    REQUIRE(votes.ok());
    return votes.value();
  }
  Result<Done> prepare(const protocol::Gid& gid, const OperationMask& survivors) {
    return await(io, parts.participant->prepare(gid, survivors));
  }
  void commit(const protocol::Gid& gid) {
    REQUIRE(await(io, parts.participant->commit_prepared(gid)).ok());
  }
  // A whole branch, all operations surviving.
  protocol::Gid apply(const Operations& group) {
    const auto gid = next_gid();
    for (const auto& each : vote(gid, group)) REQUIRE(each.answer == Answer::yes);
    REQUIRE(prepare(gid, OperationMask(group.size(), true)).ok());
    commit(gid);
    return gid;
  }
  void release(const protocol::Gid& gid) {
    test::await(io, [](Participant& participant, protocol::Gid id) -> asio::awaitable<Done> {
      co_await participant.release(id);
      co_return Done{};
    }(*parts.participant, gid));
  }
  std::string status(const std::string& order_id) {
    return database.value("SELECT status FROM orders WHERE order_id = '" + order_id + "'");
  }
};

TEST_CASE("order: a group of places is invisible until committed, then whole", "[order][I1]") {
  OrderRig rig;
  const Operations group{place("customer-001"), place("customer-002"), place("customer-001")};
  const auto gid = rig.next_gid();
  CHECK(rig.vote(gid, group).size() == 3);
  REQUIRE(rig.prepare(gid, {true, true, true}).ok());
  CHECK(rig.database.value("SELECT count(*) FROM orders") == "0");
  CHECK(rig.database.prepared() == "1");
  rig.commit(gid);

  const auto rows = rig.database.run(
      "SELECT customer_id, status, mode, total_amount, transaction_id, correlation_id FROM orders "
      "ORDER BY order_id");
  REQUIRE(rows.size() == 3);
  CHECK(rows[1][0].view() == "customer-002");
  for (const pqxx::row& row : rows) {
    CHECK(row[1].view() == "CONFIRMED");
    CHECK(row[2].view() == "2pc");
    CHECK(row[3].view() == "9800");
    CHECK(row[4].view() == format(gid));
    CHECK(row[5].view() == "corr-place");
  }
  CHECK(rig.database.value(
            "SELECT string_agg(line || ' ' || sku || ' ' || quantity || ' ' || unit_price, ', ' "
            "ORDER BY line) FROM order_items WHERE order_id = '" +
            group[0]->order_id + "'") == "1 book-123 2 3500, 2 book-789 1 2800");
  CHECK(rig.database.value("SELECT count(*) FROM events WHERE type = 'OrderConfirmed'") == "3");
  CHECK(await(rig.io, rig.parts.participant->has_witness(gid)).value());
}

TEST_CASE("order: a rolled back branch leaves nothing, not even its witness", "[order][I1]") {
  OrderRig rig;
  const Operations group{place()};
  const auto gid = rig.next_gid();
  rig.vote(gid, group);
  REQUIRE(rig.prepare(gid, {true}).ok());
  REQUIRE(await(rig.io, rig.parts.participant->rollback_prepared(gid)).ok());
  for (const char* table : {"orders", "order_items", "events", "txc_branch"}) {
    CAPTURE(table);
    CHECK(rig.database.value("SELECT count(*) FROM " + std::string(table)) == "0");
  }
}

TEST_CASE("order: only the survivors of a group are applied", "[order]") {
  OrderRig rig;
  const auto standing = place(), other = place();
  rig.apply({standing, other});
  const auto fallen = place(), placed = place();
  const Operations group{fallen, on(standing->order_id, OperationKind::cancel), placed,
                         on(other->order_id, OperationKind::ship)};
  const auto gid = rig.next_gid();
  rig.vote(gid, group);
  REQUIRE(rig.prepare(gid, {false, true, true, false}).ok());
  rig.commit(gid);
  CHECK(rig.status(fallen->order_id).empty());
  CHECK(rig.status(standing->order_id) == "CANCELLED");
  CHECK(rig.status(placed->order_id) == "CONFIRMED");
  CHECK(rig.status(other->order_id) == "CONFIRMED");
}

TEST_CASE("order: it is shipped, delivered, and then neither cancelled nor shipped again",
          "[order]") {
  OrderRig rig;
  const auto placed = place();
  rig.apply({placed});
  rig.apply({on(placed->order_id, OperationKind::ship)});
  CHECK(rig.status(placed->order_id) == "SHIPPED");
  rig.apply({on(placed->order_id, OperationKind::deliver)});
  CHECK(rig.status(placed->order_id) == "DELIVERED");
  for (const auto kind : {OperationKind::cancel, OperationKind::ship, OperationKind::deliver}) {
    const auto gid = rig.next_gid();
    const Votes votes = rig.vote(gid, {on(placed->order_id, kind)});
    CHECK(votes[0].answer == Answer::no);
    CHECK(votes[0].reason == "ILLEGAL_STATE");
    rig.release(gid);
  }
  CHECK(rig.database.value("SELECT string_agg(type, ' ' ORDER BY event_id) FROM events") ==
        "OrderConfirmed OrderShipped OrderDelivered");
}

TEST_CASE("order: a cancel of no order is refused and locks nothing", "[order]") {
  OrderRig rig;
  const auto gid = rig.next_gid();
  const Votes votes = rig.vote(gid, {on(uuid_v7(), OperationKind::cancel)});
  CHECK(votes[0].reason == "NOT_FOUND");
  rig.release(gid);
}

TEST_CASE("order: a second group waits for the first one's lock and judges what that one left",
          "[order]") {
  OrderRig rig;
  const auto placed = place();
  rig.apply({placed});
  const auto first = rig.next_gid(), second = rig.next_gid();
  rig.vote(first, {on(placed->order_id, OperationKind::ship)});
  REQUIRE(rig.prepare(first, {true}).ok());

  // The second's vote is under way while the first is prepared: it must see SHIPPED, not CONFIRMED.
  const auto voting = test::start(
      rig.io, rig.parts.participant->vote(second, {on(placed->order_id, OperationKind::cancel)},
                                          LockMode::wait));
  rig.io.restart();
  rig.io.poll();
  rig.database.server().wait_for("wait_event_type = 'Lock'");
  CHECK_FALSE(voting->done());
  rig.commit(first);
  const auto votes = test::finish(rig.io, voting);
  REQUIRE(votes.ok());
  CHECK(votes.value()[0].answer == Answer::no);
  CHECK(votes.value()[0].detail.find("SHIPPED") != std::string::npos);
  rig.release(second);
}

TEST_CASE("order: a group that only places votes without a session", "[order]") {
  OrderRig rig;
  const auto gid = rig.next_gid();
  rig.vote(gid, {place(), place()});
  CHECK(rig.database.sessions() == "0");
  rig.release(gid);
}

TEST_CASE("order: values the database refuses are poison and prepare nothing", "[order]") {
  OrderRig rig;
  const auto bad = place();
  bad->place.items[0].quantity = -1;
  const auto gid = rig.next_gid();
  rig.vote(gid, {place(), bad});
  const auto prepared = rig.prepare(gid, {true, true});
  REQUIRE_FALSE(prepared.ok());
  CHECK(prepared.failure().kind == FailureKind::poison);
  CHECK_FALSE(prepared.failure().outcome_unknown);
  CHECK(rig.database.prepared() == "0");
  CHECK(rig.database.value("SELECT count(*) FROM orders") == "0");
}

TEST_CASE("order: a row that changed behind the judge is never prepared", "[order][I1]") {
  OrderRig rig;
  const auto placed = place();
  rig.apply({placed});
  const auto gid = rig.next_gid();
  rig.vote(gid, {on(placed->order_id, OperationKind::cancel)});
  // Nobody can change a locked row; a trigger that swallows the update stands for the impossible.
  rig.database.run(
      "CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
      "CREATE TRIGGER swallow BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION swallow()");
  const auto prepared = rig.prepare(gid, {true});
  REQUIRE_FALSE(prepared.ok());
  CHECK(rig.database.prepared() == "0");
}

TEST_CASE("order: no foreign key can make apply wait for a lock that the vote did not take",
          "[order]") {
  OrderRig rig;
  CHECK(rig.database.value("SELECT count(*) FROM pg_constraint WHERE contype = 'f'") == "0");
}

TEST_CASE("order: reads give an order with its items, and nothing for no order", "[order]") {
  OrderRig rig;
  const auto placed = place();
  const auto gid = rig.apply({placed});
  const auto found = await(rig.io, rig.parts.service->order(placed->order_id));
  REQUIRE(found.ok());
  REQUIRE(found.value());
  const OrderView& order = *found.value();
  CHECK(order.order_id == placed->order_id);
  CHECK(order.status == "CONFIRMED");
  CHECK(order.reason.empty());
  CHECK(order.transaction_id == format(gid));
  CHECK(order.total_amount == 9800);
  CHECK(order.created_at == placed->created_at);
  REQUIRE(order.items.size() == 2);
  CHECK(order.items[0].sku == "book-123");
  CHECK(order.items[0].quantity == 2);
  CHECK(order.items[1].unit_price == 2800);
  CHECK_FALSE(await(rig.io, rig.parts.service->order(uuid_v7())).value());

  const auto events = await(rig.io, rig.parts.service->order_events(placed->order_id));
  REQUIRE(events.ok());
  REQUIRE(events.value().size() == 1);
  CHECK(events.value()[0].type == "OrderConfirmed");
}

TEST_CASE("order: pages are newest first, filtered, and continue where the last one ended",
          "[order]") {
  OrderRig rig;
  Operations group;
  for (int i = 0; i < 7; ++i) group.push_back(place(i % 2 == 0 ? "even" : "odd"));
  rig.apply(group);
  rig.apply({on(group[2]->order_id, OperationKind::cancel)});

  const auto ids = [&](const OrderFilter& filter, const PageRequest& page) {
    std::vector<std::string> result;
    const auto orders = await(rig.io, rig.parts.service->orders(filter, page));
    for (const OrderView& order : orders.value()) {
      CHECK(order.items.size() == 2);
      result.push_back(order.order_id);
    }
    return result;
  };
  CHECK(ids({}, {3, ""}) ==
        std::vector{group[6]->order_id, group[5]->order_id, group[4]->order_id});
  CHECK(ids({}, {3, group[4]->order_id}) ==
        std::vector{group[3]->order_id, group[2]->order_id, group[1]->order_id});
  CHECK(ids({"odd", ""}, {}) ==
        std::vector{group[5]->order_id, group[3]->order_id, group[1]->order_id});
  CHECK(ids({"", "CANCELLED"}, {}) == std::vector{group[2]->order_id});
  CHECK(ids({"even", "CONFIRMED"}, {2, group[6]->order_id}) ==
        std::vector{group[4]->order_id, group[0]->order_id});
  CHECK(ids({"nobody", ""}, {}).empty());
}

}  // namespace
}  // namespace txcoord
