// Payment's judge: wallets and cards, what a group may count, and random groups against a serial
// model.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/generators/catch_generators_range.hpp>
#include <limits>
#include <memory>
#include <random>
#include <utility>

#include "participants/payment/payment_judge.hpp"

namespace txcoord {
namespace {

using protocol::Answer;
using protocol::Vote;
using protocol::Votes;

std::shared_ptr<const Operation> place(std::string customer, Money total,
                                       PaymentMethod method = PaymentMethod::wallet,
                                       std::string payment_id = "p") {
  auto operation = std::make_shared<Operation>();
  operation->place.customer_id = std::move(customer);
  operation->place.total_amount = total;
  operation->place.payment_method = method;
  operation->place.payment_id = std::move(payment_id);
  return operation;
}

std::shared_ptr<const Operation> cancel(std::string order_id) {
  auto operation = std::make_shared<Operation>();
  operation->kind = OperationKind::cancel;
  operation->order_id = std::move(order_id);
  return operation;
}

PaymentRow payment_of(std::string customer, Money amount, PaymentStatus status) {
  PaymentRow row;
  row.customer_id = std::move(customer);
  row.amount = amount;
  row.status = status;
  return row;
}

LockedWallets wallets(Money alice) {
  LockedWallets rows;
  rows.balances = {{"alice", alice}};
  return rows;
}

Votes judge_all(const LockedWallets& rows, const Operations& operations) {
  return rows.judge(operations, OperationMask(operations.size(), true));
}

TEST_CASE("payment judge: an unknown customer and a wallet too small are final refusals",
          "[payment]") {
  const auto votes =
      judge_all(wallets(10), {place("bob", 1), place("alice", 11), place("alice", 10)});
  CHECK(votes[0].reason == "UNKNOWN_CUSTOMER");
  CHECK(votes[0].final);
  CHECK(votes[1].reason == "INSUFFICIENT_FUNDS");
  CHECK(votes[1].final);
  CHECK(votes[2].answer == Answer::yes);
}

TEST_CASE("payment judge: money that an earlier order takes is missing until that order falls",
          "[payment]") {
  const LockedWallets rows = wallets(10);
  const Operations group{place("alice", 6), place("alice", 5)};
  const Vote second = judge_all(rows, group)[1];
  CHECK(second.reason == "INSUFFICIENT_FUNDS");
  CHECK_FALSE(second.final);
  CHECK(rows.judge(group, {false, true})[1].answer == Answer::yes);
}

TEST_CASE("payment judge: a refund is not spent by a later order of its group", "[payment]") {
  LockedWallets rows = wallets(0);
  rows.payments["old"] = payment_of("alice", 100, PaymentStatus::captured);
  const auto votes = judge_all(rows, {cancel("old"), place("alice", 1)});
  CHECK(votes[0].answer == Answer::yes);
  CHECK(votes[1].reason == "INSUFFICIENT_FUNDS");
}

TEST_CASE("payment judge: amounts near the end of int64 do not overflow", "[payment]") {
  const auto most = std::numeric_limits<Money>::max();
  const auto votes =
      judge_all(wallets(most), {place("alice", most), place("alice", most), place("alice", 0)});
  CHECK(votes[0].answer == Answer::yes);
  CHECK_FALSE(votes[1].final);
  CHECK(votes[2].answer == Answer::yes);
}

TEST_CASE("payment judge: a card order follows its authorisation", "[payment]") {
  LockedWallets rows = wallets(0);
  rows.cards = {{"ok", {CardAnswer::authorized, "sim_1"}},
                {"declined", {CardAnswer::declined, ""}},
                {"silent", {CardAnswer::unanswered, ""}}};
  const auto card = PaymentMethod::card;
  const auto votes =
      judge_all(rows, {place("alice", 5, card, "ok"), place("alice", 5, card, "declined"),
                       place("alice", 5, card, "silent"), place("alice", 5, card, "never asked"),
                       place("bob", 5, card, "ok")});
  CHECK(votes[0].answer == Answer::yes);
  CHECK(votes[1].reason == "CARD_DECLINED");
  CHECK(votes[1].final);
  for (const std::size_t silent : {std::size_t{2}, std::size_t{3}}) {
    CHECK(votes[silent].answer == Answer::retry);  // not a refusal: it may be authorised
    CHECK(votes[silent].reason == "PARTICIPANT_UNAVAILABLE");
  }
  CHECK(votes[4].reason == "UNKNOWN_CUSTOMER");
}

TEST_CASE("payment judge: a cancel needs a payment that still holds the money", "[payment]") {
  LockedWallets rows = wallets(0);
  CHECK(judge_all(rows, {cancel("gone")})[0].answer == Answer::retry);
  rows.payments["x"] = payment_of("bob", 1, PaymentStatus::captured);
  CHECK(judge_all(rows, {cancel("x")})[0].answer == Answer::retry);  // bob's wallet is not locked
  const auto status = GENERATE(PaymentStatus::authorized, PaymentStatus::captured,
                               PaymentStatus::refunded, PaymentStatus::voided);
  rows.payments["x"] = payment_of("alice", 1, status);
  const bool holds = status == PaymentStatus::authorized || status == PaymentStatus::captured;
  const auto votes = judge_all(rows, {cancel("x"), cancel("x")});
  CHECK((votes[0].answer == Answer::yes) == holds);
  CHECK(votes[1].reason == "ILLEGAL_STATE");
  CHECK(votes[1].final == !holds);
}

TEST_CASE("payment judge: a status is written and read the same", "[payment]") {
  const auto status = GENERATE(PaymentStatus::authorized, PaymentStatus::captured,
                               PaymentStatus::refunded, PaymentStatus::voided);
  CHECK(payment_status(to_string(status)) == status);
  CHECK_THROWS(payment_status("LOST"));
}

TEST_CASE("payment judge: random groups are judged as a serial model judges them", "[payment]") {
  const auto seed = GENERATE(range(1U, 301U));
  CAPTURE(seed);
  std::mt19937 random(seed);
  const auto upto = [&](int most) { return std::uniform_int_distribution<int>(0, most)(random); };
  const std::vector<std::string> customers{"alice", "bob", "carol", "nobody"};
  LockedWallets rows;
  for (std::size_t i = 0; i < 3; ++i) rows.balances[customers[i]] = upto(30);
  Operations operations;
  for (int i = 0; i < 14; ++i) {
    const std::string& customer = customers[static_cast<std::size_t>(upto(3))];
    const std::string id = std::to_string(i);
    if (upto(4) == 0) {
      operations.push_back(cancel(id));
      rows.payments[id] = payment_of("alice", 20, PaymentStatus::captured);
    } else if (upto(4) == 0) {
      operations.push_back(place(customer, upto(20), PaymentMethod::card, id));
      rows.cards[id] = {static_cast<CardAnswer>(upto(2)), "sim"};
    } else {
      operations.push_back(place(customer, upto(20)));
    }
  }
  OperationMask candidates(operations.size());
  for (std::size_t i = 0; i < candidates.size(); ++i) candidates[i] = random() % 4 != 0;
  const Votes votes = rows.judge(operations, candidates);

  auto left = rows.balances;  // only goes down: nobody counts what a cancel gives back
  for (std::size_t i = 0; i < votes.size(); ++i) {
    CAPTURE(i);
    const PlaceOrder& order = operations[i]->place;
    if (!candidates[i]) {
      CHECK(votes[i] == Vote{});
    } else if (operations[i]->kind == OperationKind::cancel) {
      CHECK(votes[i].answer == Answer::yes);
    } else if (order.payment_method == PaymentMethod::wallet) {
      const bool can =
          left.contains(order.customer_id) && left[order.customer_id] >= order.total_amount;
      CHECK((votes[i].answer == Answer::yes) == can);
      if (can) left[order.customer_id] -= order.total_amount;
      OperationMask alone(votes.size(), false);
      alone[i] = true;
      const bool alone_yes = rows.judge(operations, alone)[i].answer == Answer::yes;
      if (!can) CHECK(alone_yes == !votes[i].final);
    } else {
      const bool can = rows.balances.contains(order.customer_id) &&
                       rows.cards[order.payment_id].answer == CardAnswer::authorized;
      CHECK((votes[i].answer == Answer::yes) == can);
    }
  }
}

TEST_CASE("payment judge: money that is given back already needs no refund", "[payment]") {
  const auto [status, undone] = GENERATE(
      std::pair{PaymentStatus::authorized, false}, std::pair{PaymentStatus::captured, false},
      std::pair{PaymentStatus::refunded, true}, std::pair{PaymentStatus::voided, true});
  LockedWallets rows = wallets(0);
  rows.payments["order"] = payment_of("alice", 5, status);
  CHECK(rows.undone_already(*cancel("order")) == undone);
  CHECK_FALSE(rows.undone_already(*cancel("unknown")));
  CHECK_FALSE(rows.undone_already(*place("alice", 5)));
}

}  // namespace
}  // namespace txcoord
