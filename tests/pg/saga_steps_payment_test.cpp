// Payment's steps on a real server: wallets are conserved, cards are authorised before the step
// and captured or let go after it, whatever dies in between.
#include <boost/asio/io_context.hpp>
#include <catch2/catch_get_random_seed.hpp>
#include <catch2/catch_test_macros.hpp>
#include <random>
#include <string>
#include <vector>

#include "participants/payment/payment.hpp"
#include "tests/pg/gate.hpp"
#include "tests/pg/saga_steps_rig.hpp"
#include "tests/pg/shapes.hpp"

namespace txcoord {
namespace {

using test::await;
using test::Gate;
using test::TestSaga;

struct Rig {
  test::ServiceDatabase database{"payment"};
  boost::asio::io_context io;
  PaymentParts parts =
      test::in_shape(io, test::without_intent_age(make_payment(
                             io.get_executor(), test::settings_of(database), nullptr)));
  test::StepDriver steps{io, *parts.participant};

  Rig() { REQUIRE(await(io, parts.service->put_wallet("alice", 1000)).ok()); }
  static TestSaga wallet(Money total) {
    return test::saga_of(*test::place_order({{"a", 1, total, ""}}, "alice"));
  }
  static TestSaga card(Money total, const std::string& token = "tok_ok") {
    const auto operation = test::place_order({{"a", 1, total, ""}}, "alice");
    operation->place.payment_method = PaymentMethod::card;
    operation->place.payment_token = token;
    return test::saga_of(*operation);
  }
  StepReply charge(const TestSaga& saga) {
    return steps.run_one("charge", saga.call(OperationKind::place));
  }
  StepReply refund(const TestSaga& saga) {
    return steps.undo_one("refund", "charge", saga.call(OperationKind::cancel));
  }
  Money balance() { return await(io, parts.service->wallet("alice")).value().value().balance; }
  // All runs so far have ended, one way or the other.
  CardSettlementReport settle() {
    GlobalStates ended =
        [](std::vector<protocol::Gid> gids) -> asio::awaitable<Result<std::vector<GlobalState>>> {
      co_return std::vector<GlobalState>(gids.size(), GlobalState::aborted);
    };
    const auto report = await(io, parts.settlement->settle_cards(ended));
    if (!report) FAIL(report.failure().message);
    return report.value();
  }
  std::string status(const TestSaga& saga) {
    return database.value("SELECT status FROM payments WHERE order_id = '" +
                          saga.operation->order_id + "'");
  }
  // The processor's own books.
  std::string processor() {
    return database.value(
        "SELECT string_agg(amount || ' ' || state, ', ' ORDER BY amount, state) "
        "FROM card_processor_authorizations");
  }
  // I6, from outside of the code under test.
  void check_conserved() {
    CHECK(database.value("SELECT count(*) FROM wallets w WHERE balance <> "
                         "(SELECT coalesce(sum(delta), 0) FROM wallet_ledger l "
                         "WHERE l.customer_id = w.customer_id) - "
                         "(SELECT coalesce(sum(amount), 0) FROM payments p "
                         "WHERE p.customer_id = w.customer_id "
                         "AND payment_method = 'wallet' AND status = 'CAPTURED')") == "0");
  }
};

TEST_CASE("payment steps: a wallet is charged once and refunded once",
          "[saga_steps][payment][I6]") {
  Rig rig;
  const TestSaga saga = rig.wallet(600);
  for (int i = 0; i < 2; ++i) CHECK(rig.charge(saga).status == StepStatus::done);
  CHECK(rig.balance() == 400);
  rig.check_conserved();
  for (int i = 0; i < 2; ++i) CHECK(rig.refund(saga).status == StepStatus::done);
  CHECK(rig.balance() == 1000);
  CHECK(rig.status(saga) == "REFUNDED");
  rig.check_conserved();
}

TEST_CASE(
    "payment steps: too little money is refused for good, and an early refund bars the charge",
    "[saga_steps][payment][I6][I10]") {
  Rig rig;
  const TestSaga poor = rig.wallet(1001), early = rig.wallet(1);
  CHECK(rig.charge(poor).reason == "INSUFFICIENT_FUNDS");
  REQUIRE(await(rig.io, rig.parts.service->put_wallet("alice", 5000)).ok());
  CHECK(rig.charge(poor).reason == "INSUFFICIENT_FUNDS");
  CHECK(rig.refund(early).status == StepStatus::done);
  CHECK(rig.charge(early).status == StepStatus::barred);
  CHECK(rig.balance() == 5000);
  rig.check_conserved();
}

TEST_CASE("payment steps: a card is authorised, captured after the step, and refunded",
          "[saga_steps][payment][card]") {
  Rig rig;
  const TestSaga saga = rig.card(400);
  CHECK(rig.charge(saga).status == StepStatus::done);
  CHECK(rig.status(saga) == "AUTHORIZED");
  CHECK(rig.settle().captured == 1);
  CHECK(rig.status(saga) == "CAPTURED");
  CHECK(rig.refund(saga).status == StepStatus::done);
  CHECK(rig.settle().reversed == 1);
  CHECK(rig.status(saga) == "REFUNDED");
  CHECK(rig.processor() == "400 REFUNDED");
  CHECK(rig.balance() == 1000);
}

TEST_CASE("payment steps: a charge that is repeated lets its second authorisation go",
          "[saga_steps][payment][card]") {
  Rig rig;
  const TestSaga saga = rig.card(400);
  for (int i = 0; i < 2; ++i) CHECK(rig.charge(saga).status == StepStatus::done);
  const auto report = rig.settle();
  CHECK(report.captured == 1);
  CHECK(report.voided == 1);
  CHECK(rig.processor() == "400 CAPTURED, 400 VOIDED");
  CHECK(rig.database.value("SELECT count(*) FROM payments") == "1");
}

TEST_CASE("payment steps: a charge that dies before COMMIT takes nothing, its authorisation goes",
          "[saga_steps][payment][card]") {
  Rig rig;
  const TestSaga saga = rig.card(400);
  Gate gate(rig.database, "payments", Gate::At::work);
  const auto running =
      rig.steps.start({.step = "charge", .calls = {saga.call(OperationKind::place)}});
  rig.database.server().terminate(gate.reached(rig.io));
  const auto replies = test::finish(rig.io, running);
  REQUIRE_FALSE(replies.ok());
  CHECK_FALSE(replies.failure().outcome_unknown);
  CHECK(rig.processor() == "400 AUTHORIZED");
  gate.open();
  CHECK(rig.settle().voided == 1);
  CHECK(rig.processor() == "400 VOIDED");
  CHECK(rig.status(saga).empty());
  CHECK(rig.refund(saga).status == StepStatus::done);  // and the saga gives up
  CHECK(rig.charge(saga).status == StepStatus::barred);
  rig.settle();
  CHECK(rig.processor() == "400 VOIDED, 400 VOIDED");
}

TEST_CASE("payment steps: a declined card is refused for good, an unanswered one is asked again",
          "[saga_steps][payment][card][I10]") {
  Rig rig;
  const TestSaga declined = rig.card(10, "tok_declined"), silent = rig.card(20, "tok_timeout");
  const auto replies = rig.steps.run(
      {.step = "charge",
       .calls = {declined.call(OperationKind::place), silent.call(OperationKind::place)}});
  CHECK(replies[0].reason == "CARD_DECLINED");
  CHECK(replies[1].status == StepStatus::retry);
  CHECK(rig.charge(declined).reason == "CARD_DECLINED");
  CHECK(test::barrier(rig.database, silent, "charge").empty());
  CHECK(rig.database.value("SELECT count(*) FROM payments") == "0");
  rig.settle();
  CHECK(rig.database.value("SELECT count(*) FROM card_processor_authorizations "
                           "WHERE state = 'AUTHORIZED'") == "0");
}

TEST_CASE("payment steps: a batch spends a wallet in order, wallets and cards together",
          "[saga_steps][payment][I6]") {
  Rig rig;
  StepRequest request{.step = "charge"};
  const std::vector<TestSaga> sagas{rig.wallet(700), rig.card(50), rig.wallet(400),
                                    rig.wallet(300)};
  for (const TestSaga& saga : sagas) request.calls.push_back(saga.call(OperationKind::place));
  const auto replies = rig.steps.run(request);
  CHECK(replies[2].reason == "INSUFFICIENT_FUNDS");
  for (const std::size_t i : {0u, 1u, 3u}) CHECK(replies[i].status == StepStatus::done);
  CHECK(rig.balance() == 0);
  request = {.step = "refund", .undoes = "charge"};
  for (const TestSaga& saga : sagas) request.calls.push_back(saga.call(OperationKind::cancel));
  for (const StepReply& reply : rig.steps.run(request)) CHECK(reply.status == StepStatus::done);
  CHECK(rig.balance() == 1000);
  rig.check_conserved();
}

TEST_CASE("payment steps: random charges and refunds, repeated at will, conserve the wallet",
          "[saga_steps][payment][I6]") {
  Rig rig;
  const auto seed = Catch::getSeed();
  CAPTURE(seed);
  std::mt19937 random(seed);
  const auto upto = [&](std::size_t most) {
    return std::uniform_int_distribution<std::size_t>(0, most)(random);
  };
  std::vector<TestSaga> sagas;
  sagas.reserve(20);
  for (int i = 0; i < 20; ++i) sagas.push_back(rig.wallet(static_cast<Money>(upto(300))));
  for (int round = 0; round < 40; ++round) {
    const bool undo = upto(2) == 0;
    StepRequest request{.step = undo ? "refund" : "charge", .undoes = undo ? "charge" : ""};
    for (const TestSaga& saga : sagas) {
      if (upto(5) == 0)
        request.calls.push_back(saga.call(undo ? OperationKind::cancel : OperationKind::place));
    }
    rig.steps.run(request);
    rig.check_conserved();
  }
}

}  // namespace
}  // namespace txcoord
