// A row that somebody else holds, at each service: who needs it is told to come again, everybody
// else goes on, and nobody is told that it does not exist.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "participants/order/order.hpp"
#include "participants/payment/payment.hpp"
#include "participants/shipping/shipping.hpp"
#include "tests/pg/branch_rig.hpp"
#include "tests/pg/shapes.hpp"

namespace txcoord {
namespace {

using test::Answer;
using test::await;
using test::operation_on;
using test::place_order;

template <class Parts>
struct HeldRig {
  HeldRig(std::string_view name, Parts (*make)(asio::any_io_executor, const DatabaseSettings&))
      : database(name), parts(make(io.get_executor(), test::settings_of(database))) {}
  ~HeldRig() { database.run("ROLLBACK"); }
  void hold(const std::string& sql) {
    database.run("BEGIN");
    database.run(sql);
  }
  // Who holds it, as a vote names it.
  std::string holder() { return database.value("SELECT pg_current_xact_id()::xid::text"); }

  test::ServiceDatabase database;
  boost::asio::io_context io;
  Parts parts;
  test::BranchDriver branch{io, *parts.participant};
};

PaymentParts payment(asio::any_io_executor io, const DatabaseSettings& settings) {
  return make_payment(io, settings, nullptr);
}
OrderParts order(asio::any_io_executor io, const DatabaseSettings& settings) {
  return make_order(io, settings, nullptr);
}
ShippingParts shipping(asio::any_io_executor io, const DatabaseSettings& settings) {
  return make_shipping(io, settings, nullptr);
}

std::shared_ptr<Operation> paid_by(const std::string& customer) {
  return place_order({{"a", 1, 100, ""}}, customer);
}

}  // namespace

TEST_CASE("payment: a held wallet is no unknown customer, and others pay", "[payment][I10]") {
  HeldRig<PaymentParts> rig("payment", &payment);
  for (const char* customer : {"held", "free"})
    REQUIRE(await(rig.io, rig.parts.service->put_wallet(customer, 1000)).ok());
  rig.hold("SELECT FROM wallets WHERE customer_id = 'held' FOR UPDATE");
  const LockMode mode = GENERATE(LockMode::skip, LockMode::wait);
  const auto votes = rig.branch.vote(rig.branch.next_gid(),
                                     {paid_by("held"), paid_by("free"), paid_by("nobody")}, mode);
  CHECK(votes[0].answer == Answer::retry);
  CHECK(votes[0].busy == "payment/held");
  CHECK(votes[0].holder == rig.holder());
  CHECK(votes[1].answer == Answer::yes);
  CHECK(votes[2].reason == "UNKNOWN_CUSTOMER");
}

TEST_CASE("payment: a held payment holds up its own cancel alone", "[payment]") {
  HeldRig<PaymentParts> rig("payment", &payment);
  REQUIRE(await(rig.io, rig.parts.service->put_wallet("one", 1000)).ok());
  const auto first = paid_by("one"), second = paid_by("one");
  rig.branch.committed({first, second});
  rig.hold("SELECT FROM payments WHERE order_id = '" + first->order_id + "' FOR UPDATE");
  const auto votes = rig.branch.vote(rig.branch.next_gid(),
                                     {operation_on(first->order_id, OperationKind::cancel),
                                      operation_on(second->order_id, OperationKind::cancel)});
  CHECK(votes[0].busy == "payment/" + first->order_id);
  CHECK(votes[0].holder == rig.holder());
  CHECK(votes[1].answer == Answer::yes);
}

TEST_CASE("order and shipping: a held row is neither missing nor waited for", "[order][shipping]") {
  HeldRig<OrderParts> orders("order", &order);
  const auto first = place_order({{"a", 1, 100, ""}}), second = place_order({{"a", 1, 100, ""}});
  orders.branch.committed({first, second});
  orders.hold("SELECT FROM orders WHERE order_id = '" + first->order_id + "' FOR UPDATE");
  const Operations cancels{operation_on(first->order_id, OperationKind::cancel),
                           operation_on(second->order_id, OperationKind::cancel)};
  const auto votes = orders.branch.vote(orders.branch.next_gid(), cancels);
  CHECK(votes[0].answer == Answer::retry);
  CHECK(votes[0].busy == "order/" + first->order_id);
  CHECK(votes[0].holder == orders.holder());
  CHECK(votes[1].answer == Answer::yes);

  HeldRig<ShippingParts> shipments("shipping", &shipping);
  for (const auto& placed : {first, second}) {
    placed->place.address = {"田中 太郎", "100-0001", "東京都",      "千代田区",
                             "1-1",       "3F",       "03-0000-0000"};
    placed->place.shipment_id = uuid_v7();
  }
  shipments.branch.committed({first, second});
  shipments.hold("SELECT FROM shipments WHERE order_id = '" + first->order_id + "' FOR UPDATE");
  const auto shipped = shipments.branch.vote(shipments.branch.next_gid(), cancels);
  CHECK(shipped[0].busy == "shipping/" + first->order_id);
  CHECK(shipped[0].holder == shipments.holder());
  CHECK(shipped[1].answer == Answer::yes);
}

TEST_CASE("a step whose row is held gives its claim back, and the rest of its batch is done",
          "[payment][saga]") {
  HeldRig<PaymentParts> rig("payment", &payment);
  for (const char* customer : {"held", "free"})
    REQUIRE(await(rig.io, rig.parts.service->put_wallet(customer, 1000)).ok());
  rig.hold("SELECT FROM wallets WHERE customer_id = 'held' FOR UPDATE");
  StepRequest request;
  request.step = "charge";
  for (const char* customer : {"held", "free"})
    request.calls.push_back({uuid_v7(), paid_by(customer)});
  const auto replies =
      await(rig.io, rig.parts.participant->run_step(rig.branch.next_gid(), request)).value();
  CHECK(replies[0].status == StepStatus::retry);
  CHECK(replies[1].status == StepStatus::done);
  CHECK(rig.database.value("SELECT count(*) FROM txc_saga_steps") == "1");
  rig.database.run("ROLLBACK");
  const auto again =
      await(rig.io, rig.parts.participant->run_step(rig.branch.next_gid(), request)).value();
  CHECK(again[0].status == StepStatus::done);
  CHECK(again[1].status == StepStatus::done);
  CHECK(rig.database.value("SELECT sum(balance) FROM wallets") == "1800");
}

TEST_CASE("a batch of steps does not wait long for a claim that somebody else holds",
          "[payment][saga]") {
  HeldRig<PaymentParts> rig("payment", &payment);
  REQUIRE(await(rig.io, rig.parts.service->put_wallet("free", 1000)).ok());
  const std::string saga = uuid_v7();
  rig.hold("INSERT INTO txc_saga_steps (saga_id, step, outcome) VALUES ('" + saga +
           "', 'charge', 'done')");
  StepRequest request;
  request.step = "charge";
  request.calls.push_back({saga, paid_by("free")});
  const auto replies =
      await(rig.io, rig.parts.participant->run_step(rig.branch.next_gid(), request));
  REQUIRE_FALSE(replies.ok());
  CHECK(replies.failure().kind == FailureKind::lock_timeout);
  CHECK_FALSE(replies.failure().outcome_unknown);
}

}  // namespace txcoord
