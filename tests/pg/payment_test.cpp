// Payment on a real server: wallets, cards from authorisation to settlement, reads.
#include "participants/payment/payment.hpp"

#include <catch2/catch_get_random_seed.hpp>
#include <catch2/catch_test_macros.hpp>
#include <fstream>
#include <random>
#include <sstream>

#include "tests/pg/branch_rig.hpp"
#include "tests/pg/shapes.hpp"

namespace txcoord {
namespace {

using test::Answer;
using test::await;
using test::operation_on;

std::shared_ptr<Operation> pay(Money total, const std::string& customer = "alice") {
  return test::place_order({{"a", 1, total, ""}}, customer);
}

std::shared_ptr<Operation> pay_by_card(Money total, const std::string& token = "tok_ok") {
  auto operation = pay(total);
  operation->place.payment_method = PaymentMethod::card;
  operation->place.payment_token = token;
  return operation;
}

std::shared_ptr<Operation> cancel(const Operation& placed) {
  return operation_on(placed.order_id, OperationKind::cancel);
}

struct PaymentRig {
  test::ServiceDatabase database{"payment"};
  boost::asio::io_context io;
  PaymentParts parts =
      test::in_shape(io, test::without_intent_age(make_payment(
                             io.get_executor(), test::settings_of(database), nullptr)));
  test::BranchDriver branch{io, *parts.participant};
  PaymentService& service = *parts.service;

  PaymentRig() { wallet("alice", 1000); }
  void wallet(const std::string& customer, Money balance) {
    REQUIRE(await(io, service.put_wallet(customer, balance)).ok());
  }
  Money balance(const std::string& customer) {
    return await(io, service.wallet(customer)).value().value().balance;
  }
  CardSettlementReport settle(GlobalState all) {
    const auto report = await(io, parts.settlement->settle_cards(states_of(all)));
    if (!report) FAIL(report.failure().message);
    return report.value();
  }
  static GlobalStates states_of(GlobalState all) {
    return
        [all](
            std::vector<protocol::Gid> gids) -> asio::awaitable<Result<std::vector<GlobalState>>> {
          co_return std::vector<GlobalState>(gids.size(), all);
        };
  }
  std::string status(const Operation& placed) {
    return database.value("SELECT status FROM payments WHERE order_id = '" + placed.order_id + "'");
  }
  // The processor's own books: how many authorisations stand in this state.
  std::string processor(const std::string& state) {
    return database.value("SELECT count(*) FROM card_processor_authorizations WHERE state = '" +
                          state + "'");
  }
  std::string count(const std::string& table) {
    return database.value("SELECT count(*) FROM " + table);
  }
  // I6, from outside of the code under test.
  void check_conserved() {
    CHECK(
        database.value(
            "SELECT count(*) FROM wallets w WHERE balance <> "
            "(SELECT coalesce(sum(delta), 0) FROM wallet_ledger l WHERE l.customer_id = "
            "w.customer_id) - "
            "(SELECT coalesce(sum(amount), 0) FROM payments p WHERE p.customer_id = w.customer_id "
            "AND payment_method = 'wallet' AND status = 'CAPTURED')") == "0");
  }
};

TEST_CASE("payment: a group spends its sum from a wallet, invisible until committed",
          "[payment][I1][I6]") {
  PaymentRig rig;
  const Operations group{pay(600), pay(300), pay(200), pay(100)};  // the third is refused
  const auto gid = rig.branch.prepared(group);
  CHECK(rig.balance("alice") == 1000);
  REQUIRE(rig.branch.commit(gid).ok());
  CHECK(rig.balance("alice") == 0);
  CHECK(rig.count("payments WHERE status = 'CAPTURED'") == "3");
  CHECK(rig.status(*group[2]).empty());
  CHECK(rig.branch.has_witness(gid));
  rig.check_conserved();
}

TEST_CASE("payment: a cancelled order's wallet payment is refunded, once", "[payment][I6]") {
  PaymentRig rig;
  const auto order = pay(700);
  rig.branch.committed({order});
  rig.branch.committed({cancel(*order), pay(300)});
  CHECK(rig.balance("alice") == 700);
  CHECK(rig.status(*order) == "REFUNDED");
  rig.check_conserved();
  const auto gid = rig.branch.next_gid();
  CHECK(rig.branch.vote(gid, {cancel(*order)})[0].reason == "ILLEGAL_STATE");
  rig.branch.release(gid);
}

TEST_CASE("payment: a branch that is rolled back leaves nothing", "[payment][I1]") {
  PaymentRig rig;
  const auto gid = rig.branch.prepared({pay(600)});
  REQUIRE(rig.branch.roll_back(gid).ok());
  CHECK(rig.balance("alice") == 1000);
  CHECK(rig.count("payments") == "0");
  CHECK(rig.count("events") == "0");
}

TEST_CASE("payment: random groups of orders and cancels conserve the wallets", "[payment][I6]") {
  PaymentRig rig;
  const auto seed = Catch::getSeed();
  CAPTURE(seed);
  std::mt19937 random(seed);
  const auto upto = [&](std::size_t most) {
    return std::uniform_int_distribution<std::size_t>(0, most)(random);
  };
  rig.wallet("bob", 500);
  std::vector<std::shared_ptr<Operation>> placed;
  for (int round = 0; round < 20; ++round) {
    Operations group;
    std::vector<std::shared_ptr<Operation>> places;
    for (std::size_t i = 0; i <= upto(8); ++i) {
      if (!placed.empty() && upto(2) == 0) {
        group.push_back(cancel(*placed[upto(placed.size() - 1)]));
      } else {
        places.push_back(pay(static_cast<Money>(upto(200)), upto(1) == 0 ? "alice" : "bob"));
        group.push_back(places.back());
      }
    }
    const auto gid = rig.branch.prepared(group);
    const bool commit = upto(3) > 0;
    REQUIRE((commit ? rig.branch.commit(gid) : rig.branch.roll_back(gid)).ok());
    if (commit) placed.insert(placed.end(), places.begin(), places.end());
    rig.check_conserved();
  }
}

TEST_CASE("payment: a card is authorised at the vote and captured after the commit",
          "[payment][card]") {
  PaymentRig rig;
  const auto order = pay_by_card(400);
  const auto gid = rig.branch.prepared({order, pay(100)});
  CHECK(rig.processor("AUTHORIZED") == "1");
  CHECK(rig.count("card_outbox") == "0");  // nothing to capture before the branch commits
  CHECK(rig.settle(GlobalState::committed).captured == 0);
  REQUIRE(rig.branch.commit(gid).ok());
  CHECK(rig.status(*order) == "AUTHORIZED");

  const auto report = rig.settle(GlobalState::committed);
  CHECK(report.captured == 1);
  CHECK(report.voided == 0);
  CHECK(report.lag_seconds == 0);
  CHECK(rig.status(*order) == "CAPTURED");
  CHECK(rig.processor("CAPTURED") == "1");
  CHECK(rig.count("card_outbox") == "0");
  CHECK(rig.count("card_authorizations") == "0");
  CHECK(rig.balance("alice") == 900);  // a card takes nothing from the wallet
  const auto events = await(rig.io, rig.service.payment_events(order->order_id)).value();
  REQUIRE(events.size() == 2);
  CHECK(events[0].type == "PaymentAuthorized");
  CHECK(events[1].type == "PaymentCaptured");
  CHECK(rig.settle(GlobalState::committed).captured == 0);
}

TEST_CASE("payment: an aborted group's authorisation is voided, however often it is asked",
          "[payment][card]") {
  PaymentRig rig;
  const auto gid = rig.branch.prepared({pay_by_card(400)});
  REQUIRE(rig.branch.roll_back(gid).ok());
  CHECK(rig.settle(GlobalState::active).voided == 0);  // nobody says that it has ended
  CHECK(rig.processor("AUTHORIZED") == "1");
  CHECK(rig.settle(GlobalState::aborted).voided == 1);
  CHECK(rig.processor("VOIDED") == "1");
  CHECK(rig.count("card_authorizations") == "0");
  CHECK(rig.settle(GlobalState::aborted).voided == 0);
}

TEST_CASE("payment: a prepared branch's authorisation is never voided, whatever the caller says",
          "[payment][card][I2]") {
  PaymentRig rig;
  const auto order = pay_by_card(400);
  const auto gid = rig.branch.prepared({order});
  CHECK(rig.settle(GlobalState::aborted).voided == 0);
  CHECK(rig.settle(GlobalState::committed).voided == 0);
  CHECK(rig.processor("AUTHORIZED") == "1");
  REQUIRE(rig.branch.commit(gid).ok());
  CHECK(rig.settle(GlobalState::committed).captured == 1);
  CHECK(rig.processor("CAPTURED") == "1");
}

TEST_CASE("payment: a branch whose authorisation is being voided cannot prepare",
          "[payment][card]") {
  PaymentRig rig;
  const auto gid = rig.branch.next_gid();
  CHECK(rig.branch.vote(gid, {pay_by_card(400)})[0].answer == Answer::yes);
  CHECK(rig.settle(GlobalState::aborted).voided == 1);  // somebody was wrong about this gid
  const auto done = rig.branch.prepare(gid, {true});
  REQUIRE_FALSE(done.ok());
  CHECK_FALSE(done.failure().outcome_unknown);
  CHECK(rig.database.prepared() == "0");
  CHECK(rig.processor("VOIDED") == "1");
}

TEST_CASE("payment: of a committed group only the fallen order's authorisation is voided",
          "[payment][card]") {
  PaymentRig rig;
  const Operations group{pay_by_card(400), pay_by_card(500)};
  const auto gid = rig.branch.next_gid();
  rig.branch.vote(gid, group);
  REQUIRE(rig.branch.prepare(gid, {true, false}).ok());
  REQUIRE(rig.branch.commit(gid).ok());
  const auto report = rig.settle(GlobalState::committed);
  CHECK(report.captured == 1);
  CHECK(report.voided == 1);
  CHECK(rig.database.value("SELECT string_agg(amount || ' ' || state, ', ' ORDER BY amount) "
                           "FROM card_processor_authorizations") == "400 CAPTURED, 500 VOIDED");
}

TEST_CASE("payment: a declined card is refused, an unanswered one is not", "[payment][card]") {
  PaymentRig rig;
  const auto gid = rig.branch.next_gid();
  const auto votes = rig.branch.vote(
      gid,
      {pay_by_card(10, "tok_declined"), pay_by_card(20, "tok_timeout"), pay_by_card(30), pay(40)});
  CHECK(votes[0].reason == "CARD_DECLINED");
  CHECK(votes[1].answer == Answer::retry);
  CHECK(votes[2].answer == Answer::yes);
  CHECK(votes[3].answer == Answer::yes);
  rig.branch.release(gid);
  CHECK(rig.processor("AUTHORIZED") == "2");  // the unanswered one is authorised all the same
  CHECK(rig.settle(GlobalState::aborted).voided == 3);
  CHECK(rig.processor("AUTHORIZED") == "0");
}

TEST_CASE(
    "payment: a silent processor costs the card orders only, and a late answer finds its key used "
    "up",
    "[payment][card]") {
  PaymentRig rig;
  auto blocker = test::connect(rig.database.dsn());
  blocker->exec_simple("BEGIN; LOCK TABLE card_processor_authorizations");
  const auto gid = rig.branch.next_gid();
  const auto votes = rig.branch.vote(gid, {pay_by_card(10), pay(40)});
  CHECK(votes[0].answer == Answer::retry);
  CHECK(votes[0].reason == "PARTICIPANT_UNAVAILABLE");
  CHECK(votes[1].answer == Answer::yes);
  rig.branch.release(gid);
  blocker->exec_simple("ROLLBACK");
  CHECK(rig.settle(GlobalState::aborted).voided == 1);
  const auto key = rig.database.value(
      "SELECT request_key FROM card_processor_authorizations WHERE state = 'VOIDED'");
  CHECK(key.starts_with(format(gid) + "/"));
}

TEST_CASE("payment: cancelling a card order gives the money back at the processor",
          "[payment][card]") {
  PaymentRig rig;
  const auto early = pay_by_card(400);
  const auto late = pay_by_card(500);
  rig.branch.committed({early, late});
  rig.branch.committed({cancel(*early)});  // before its capture
  CHECK(rig.status(*early) == "VOIDED");
  auto report = rig.settle(GlobalState::committed);
  CHECK(report.captured == 1);
  CHECK(report.reversed == 1);
  rig.branch.committed({cancel(*late)});  // after it
  CHECK(rig.status(*late) == "REFUNDED");
  CHECK(rig.settle(GlobalState::committed).reversed == 1);
  CHECK(rig.database.value("SELECT string_agg(amount || ' ' || state, ', ' ORDER BY amount) "
                           "FROM card_processor_authorizations") == "400 VOIDED, 500 REFUNDED");
  CHECK(rig.count("card_outbox") == "0");
  rig.check_conserved();
}

TEST_CASE("payment: settlement leaves an in-doubt wallet for later, without waiting",
          "[payment][card]") {
  PaymentRig rig;
  const auto order = pay_by_card(400);
  rig.branch.committed({order});
  const auto gid = rig.branch.prepared({pay(1)});  // holds alice's wallet row
  const auto started = test::Clock::now();
  CHECK(rig.settle(GlobalState::active).captured == 0);
  CHECK(test::since(started) < std::chrono::milliseconds(500));
  CHECK(rig.settle(GlobalState::active).lag_seconds > 0);
  REQUIRE(rig.branch.commit(gid).ok());
  CHECK(rig.settle(GlobalState::active).captured == 1);
  CHECK(rig.status(*order) == "CAPTURED");
}

TEST_CASE("payment: PUT makes the customer, sets the balance and books the difference",
          "[payment][I6]") {
  PaymentRig rig;
  rig.wallet("alice", 250);
  rig.wallet("new", 7);
  CHECK(rig.balance("alice") == 250);
  CHECK(rig.database.value("SELECT string_agg(customer_id || ' ' || delta, ', ' ORDER BY entry_id) "
                           "FROM wallet_ledger") == "alice 1000, alice -750, new 7");
  CHECK(await(rig.io, rig.service.put_wallet("alice", -1)).failure().kind == FailureKind::poison);
  CHECK_FALSE(await(rig.io, rig.service.wallet("nobody")).value().has_value());
  rig.check_conserved();
}

TEST_CASE("payment: reads by id, by order and by customer, newest first", "[payment]") {
  PaymentRig rig;
  std::vector<std::shared_ptr<Operation>> orders{pay(1), pay(2), pay(3)};
  for (const auto& order : orders) rig.branch.committed({order});
  PageRequest page;
  page.limit = 2;
  const auto first = await(rig.io, rig.service.payments_of_customer("alice", page)).value();
  REQUIRE(first.size() == 2);
  CHECK(first[0].amount == 3);
  page.after = first[1].payment_id;
  const auto second = await(rig.io, rig.service.payments_of_customer("alice", page)).value();
  REQUIRE(second.size() == 1);
  CHECK(second[0].order_id == orders[0]->order_id);
  CHECK(await(rig.io, rig.service.payments_of_order(orders[1]->order_id)).value().at(0).amount ==
        2);
  const auto one = await(rig.io, rig.service.payment(orders[2]->place.payment_id)).value();
  CHECK(one.value().status == "CAPTURED");
  CHECK(one.value().payment_method == "wallet");
  CHECK(one.value().created_at == orders[2]->created_at);
}

TEST_CASE("payment: the CloudMart customers load twice and stay conserved", "[payment][I6]") {
  PaymentRig rig;
  std::ifstream file("schemas/payment/cloudmart.sql");
  REQUIRE(file);
  std::stringstream sql;
  sql << file.rdbuf();
  rig.database.run(sql.str());
  rig.database.run(sql.str());
  CHECK(rig.balance("customer-001") == 1000000);
  CHECK(rig.balance("customer-003") == 1000);
  rig.check_conserved();
}

}  // namespace
}  // namespace txcoord
