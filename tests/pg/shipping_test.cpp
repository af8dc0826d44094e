// The shipping service on a real server: branches from vote to commit, and its reads.
#include "participants/shipping/shipping.hpp"

#include <boost/asio/io_context.hpp>
#include <catch2/catch_test_macros.hpp>
#include <memory>
#include <string>

#include "participants/shipping/carrier.hpp"
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
  operation->correlation_id = "corr";
  operation->created_at = now_utc();
  return operation;
}

std::shared_ptr<Operation> place(const std::string& prefecture = "東京都") {
  auto operation = on(uuid_v7(), OperationKind::place);
  operation->place.shipment_id = uuid_v7();
  operation->place.address = {"田中 \"太郎\"", "100-0001", prefecture,    "千代田区",
                              "千代田1-1\\2",  "3F, {x}",  "03-0000-0000"};
  return operation;
}

struct ShippingRig {
  test::ServiceDatabase database{"shipping"};
  boost::asio::io_context io;
  ShippingParts parts;
  std::uint64_t seq = 0;

  ShippingRig()
      : parts(test::in_shape(io, make_shipping(io.get_executor(), settings(), nullptr))) {}

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
  void apply(const Operations& group) {
    const auto gid = next_gid();
    for (const auto& each : vote(gid, group)) REQUIRE(each.answer == Answer::yes);
    REQUIRE(await(io, parts.participant->prepare(gid, OperationMask(group.size(), true))).ok());
    REQUIRE(await(io, parts.participant->commit_prepared(gid)).ok());
  }
  void release(const protocol::Gid& gid) {
    test::await(io, [](Participant& participant, protocol::Gid id) -> asio::awaitable<Done> {
      co_await participant.release(id);
      co_return Done{};
    }(*parts.participant, gid));
  }
  std::string status(const std::string& order_id) {
    return database.value("SELECT status FROM shipments WHERE order_id = '" + order_id + "'");
  }
};

TEST_CASE("shipping: a group of shipments is arranged, each with its region's carrier",
          "[shipping]") {
  ShippingRig rig;
  const auto tokyo = place("東京都"), osaka = place("osaka-fu");
  rig.apply({tokyo, osaka});
  const auto found = await(rig.io, rig.parts.service->shipment(tokyo->place.shipment_id));
  REQUIRE(found.ok());
  REQUIRE(found.value());
  const ShipmentView& shipment = *found.value();
  CHECK(shipment.order_id == tokyo->order_id);
  CHECK(shipment.status == "ARRANGED");
  CHECK(shipment.carrier == find_prefecture("東京都")->carrier);
  CHECK(shipment.tracking_number == tracking_number("MS", tokyo->place.shipment_id));
  CHECK(shipment.created_at == tokyo->created_at);
  // The address survives quoting in an array, in JSON and in jsonb.
  CHECK(shipment.address.name == tokyo->place.address.name);
  CHECK(shipment.address.line1 == tokyo->place.address.line1);
  CHECK(shipment.address.line2 == tokyo->place.address.line2);
  CHECK(shipment.address.phone == tokyo->place.address.phone);

  const auto of_order = await(rig.io, rig.parts.service->shipments(osaka->order_id));
  REQUIRE(of_order.value().size() == 1);
  CHECK(of_order.value()[0].carrier == find_prefecture("大阪府")->carrier);
  CHECK_FALSE(await(rig.io, rig.parts.service->shipment(uuid_v7())).value());
  CHECK(await(rig.io, rig.parts.service->shipments(uuid_v7())).value().empty());
  const auto events = await(rig.io, rig.parts.service->shipping_events(tokyo->order_id));
  REQUIRE(events.value().size() == 1);
  CHECK(events.value()[0].type == "ShippingArranged");
}

TEST_CASE("shipping: a refused address costs no session, and the others of the group go on",
          "[shipping]") {
  ShippingRig rig;
  const auto good = place(), refused = place("Atlantis");
  const auto gid = rig.next_gid();
  const Votes votes = rig.vote(gid, {refused, good});
  CHECK(votes[0].reason == "ADDRESS_REFUSED");
  CHECK(votes[1].answer == Answer::yes);
  CHECK(rig.database.sessions() == "0");
  REQUIRE(await(rig.io, rig.parts.participant->prepare(gid, {false, true})).ok());
  REQUIRE(await(rig.io, rig.parts.participant->commit_prepared(gid)).ok());
  CHECK(rig.database.value("SELECT string_agg(order_id::text, '') FROM shipments") ==
        good->order_id);
}

TEST_CASE("shipping: a shipment moves with its order, and only the legal way", "[shipping]") {
  ShippingRig rig;
  const auto shipped = place(), cancelled = place();
  rig.apply({shipped, cancelled});
  rig.apply(
      {on(shipped->order_id, OperationKind::ship), on(cancelled->order_id, OperationKind::cancel)});
  CHECK(rig.status(shipped->order_id) == "SHIPPED");
  CHECK(rig.status(cancelled->order_id) == "CANCELLED");
  rig.apply({on(shipped->order_id, OperationKind::deliver)});
  CHECK(rig.status(shipped->order_id) == "DELIVERED");
  const auto gid = rig.next_gid();
  const Votes votes = rig.vote(gid, {on(shipped->order_id, OperationKind::cancel),
                                     on(cancelled->order_id, OperationKind::ship)});
  CHECK(votes[0].reason == "ILLEGAL_STATE");
  CHECK(votes[1].reason == "ILLEGAL_STATE");
  rig.release(gid);
}

TEST_CASE("shipping: a decided shipment that is not applied yet is judged later, not refused",
          "[shipping][I9]") {
  ShippingRig rig;
  const auto placed = place();
  const auto first = rig.next_gid(), second = rig.next_gid();
  rig.vote(first, {placed});
  REQUIRE(await(rig.io, rig.parts.participant->prepare(first, {true})).ok());
  // Prepared rows are invisible, and do not even block.
  CHECK(rig.vote(second, {on(placed->order_id, OperationKind::cancel)})[0].answer == Answer::retry);
  rig.release(second);
  REQUIRE(await(rig.io, rig.parts.participant->commit_prepared(first)).ok());
  rig.apply({on(placed->order_id, OperationKind::cancel)});
  CHECK(rig.status(placed->order_id) == "CANCELLED");
}

TEST_CASE("shipping: an order has one shipment, whoever asks twice", "[shipping][I5]") {
  ShippingRig rig;
  const auto placed = place();
  rig.apply({placed});
  const auto again = place();
  again->order_id = placed->order_id;
  const auto gid = rig.next_gid();
  rig.vote(gid, {again});
  const auto prepared = await(rig.io, rig.parts.participant->prepare(gid, {true}));
  REQUIRE_FALSE(prepared.ok());
  CHECK(prepared.failure().kind == FailureKind::poison);
}

TEST_CASE("shipping: no foreign key can make apply wait for a lock that the vote did not take",
          "[shipping]") {
  ShippingRig rig;
  CHECK(rig.database.value("SELECT count(*) FROM pg_constraint WHERE contype = 'f'") == "0");
}

}  // namespace
}  // namespace txcoord
