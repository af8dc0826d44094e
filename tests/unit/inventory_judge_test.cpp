// Inventory's judge: reasons, what a group may count, and random groups against a serial model.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/generators/catch_generators_range.hpp>
#include <limits>
#include <memory>
#include <random>

#include "participants/inventory/stock_judge.hpp"

namespace txcoord {
namespace {

using protocol::Answer;
using protocol::Vote;
using protocol::Votes;

std::shared_ptr<const Operation> place(std::string order_id, std::vector<OrderItem> items) {
  auto operation = std::make_shared<Operation>();
  operation->order_id = std::move(order_id);
  operation->place.items = std::move(items);
  return operation;
}

std::shared_ptr<const Operation> move(OperationKind kind, std::string order_id) {
  auto operation = std::make_shared<Operation>();
  operation->kind = kind;
  operation->order_id = std::move(order_id);
  return operation;
}

OrderItem item(std::string sku, std::int64_t quantity, Money price = 100) {
  return {std::move(sku), quantity, price, ""};
}

Votes judge_all(const LockedStock& rows, const Operations& operations) {
  return rows.judge(operations, OperationMask(operations.size(), true));
}

LockedStock stock_of(std::int64_t a, std::int64_t b) {
  LockedStock rows;
  rows.stock = {{"a", {100, a}}, {"b", {100, b}}};
  return rows;
}

TEST_CASE("inventory judge: an unknown SKU, a changed price and a shortage are final refusals",
          "[inventory]") {
  const LockedStock rows = stock_of(5, 5);
  const auto votes =
      judge_all(rows, {place("1", {item("a", 1), item("nope", 1)}), place("2", {item("a", 1, 99)}),
                       place("3", {item("a", 6)}), place("4", {item("a", 5)})});
  CHECK(votes[0].reason == "UNKNOWN_SKU");
  CHECK(votes[1].reason == "PRICE_CHANGED");
  CHECK(votes[2].reason == "OUT_OF_STOCK");
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(votes[i].answer == Answer::no);
    CHECK(votes[i].final);
  }
  CHECK(votes[3].answer == Answer::yes);
}

TEST_CASE(
    "inventory judge: a shortage that an earlier order caused is undone when that order falls",
    "[inventory]") {
  const LockedStock rows = stock_of(5, 5);
  const Operations group{place("1", {item("a", 4)}), place("2", {item("a", 2)})};
  const auto votes = judge_all(rows, group);
  CHECK(votes[1].answer == Answer::no);
  CHECK(votes[1].reason == "OUT_OF_STOCK");
  CHECK_FALSE(votes[1].final);
  CHECK(rows.judge(group, {false, true})[1].answer == Answer::yes);
}

TEST_CASE("inventory judge: an order that is refused for one item takes none of the others",
          "[inventory]") {
  const LockedStock rows = stock_of(5, 1);
  const auto votes =
      judge_all(rows, {place("1", {item("a", 5), item("b", 2)}), place("2", {item("a", 5)})});
  CHECK(votes[0].answer == Answer::no);
  CHECK(votes[1].answer == Answer::yes);
}

TEST_CASE("inventory judge: quantities near the end of int64 do not overflow", "[inventory]") {
  const auto most = std::numeric_limits<std::int64_t>::max();
  LockedStock rows = stock_of(most, 0);
  const auto votes = judge_all(
      rows, {place("1", {item("a", most), item("a", most)}), place("2", {item("a", most)}),
             place("3", {item("a", 1)}), place("4", {item("b", most)})});
  CHECK(votes[0].reason == "OUT_OF_STOCK");
  CHECK(votes[0].final);
  CHECK(votes[1].answer == Answer::yes);
  CHECK(votes[2].reason == "OUT_OF_STOCK");
  CHECK_FALSE(votes[2].final);
  CHECK(votes[3].final);
}

TEST_CASE("inventory judge: a cancel gives nothing back to a later order of its group",
          "[inventory]") {
  LockedStock rows = stock_of(0, 0);
  rows.reservations["old"] = {{"r", "a", 3, ReservationStatus::reserved}};
  const auto votes =
      judge_all(rows, {move(OperationKind::cancel, "old"), place("1", {item("a", 1)})});
  CHECK(votes[0].answer == Answer::yes);
  CHECK(votes[1].reason == "OUT_OF_STOCK");
}

TEST_CASE("inventory judge: missing reservations are judged later, never refused (I9)",
          "[inventory]") {
  const auto kind = GENERATE(OperationKind::cancel, OperationKind::ship);
  LockedStock rows = stock_of(1, 1);
  CHECK(judge_all(rows, {move(kind, "gone")})[0].answer == Answer::retry);
  // The reservation appeared between the look-up of its SKU and the locks: the row is not locked.
  rows.reservations["new"] = {{"r", "c", 1, ReservationStatus::reserved}};
  CHECK(judge_all(rows, {move(kind, "new")})[0].answer == Answer::retry);
}

TEST_CASE("inventory judge: only reserved stock moves", "[inventory]") {
  const auto kind = GENERATE(OperationKind::cancel, OperationKind::ship);
  const auto status = GENERATE(ReservationStatus::released, ReservationStatus::shipped);
  LockedStock rows = stock_of(1, 1);
  rows.reservations["x"] = {{"r", "a", 1, status}};
  const Vote vote = judge_all(rows, {move(kind, "x")})[0];
  CHECK(vote.answer == Answer::no);
  CHECK(vote.reason == "ILLEGAL_STATE");
  CHECK(vote.final);
}

TEST_CASE("inventory judge: the second change of one order in a group is refused, not for good",
          "[inventory]") {
  LockedStock rows = stock_of(1, 1);
  rows.reservations["x"] = {{"r", "a", 1, ReservationStatus::reserved}};
  const Operations group{move(OperationKind::ship, "x"), move(OperationKind::cancel, "x")};
  const auto votes = judge_all(rows, group);
  CHECK(votes[0].answer == Answer::yes);
  CHECK(votes[1].reason == "ILLEGAL_STATE");
  CHECK_FALSE(votes[1].final);
  CHECK(rows.judge(group, {false, true})[1].answer == Answer::yes);
}

TEST_CASE("inventory judge: delivering touches no stock", "[inventory]") {
  CHECK(judge_all(stock_of(0, 0), {move(OperationKind::deliver, "x")})[0].answer == Answer::yes);
}

// --- random groups against a naive model: one order after the other on a table of numbers --------

struct RandomGroup {
  LockedStock rows;
  Operations operations;
};

RandomGroup random_group(std::mt19937& random) {
  const auto upto = [&](int most) { return std::uniform_int_distribution<int>(0, most)(random); };
  RandomGroup group;
  const std::vector<std::string> skus{"a", "b", "c"};
  for (const auto& sku : skus) group.rows.stock[sku] = {100, upto(12)};
  for (int i = 0; i < 12; ++i) {
    const std::string id = std::to_string(i);
    if (upto(4) == 0) {
      group.operations.push_back(
          move(upto(1) == 0 ? OperationKind::cancel : OperationKind::ship, id));
      if (upto(3) > 0) {
        group.rows.reservations[id] = {
            {"r" + id, "a", 1 + upto(3), static_cast<ReservationStatus>(upto(2))}};
      }
      continue;
    }
    std::vector<OrderItem> items;
    for (const auto& sku : skus) {
      if (upto(1) == 0) items.push_back(item(sku, 1 + upto(5), upto(15) == 0 ? 99 : 100));
    }
    if (items.empty() || upto(15) == 0) items.push_back(item("unknown", 1));
    group.operations.push_back(place(id, items));
  }
  return group;
}

// Stock only goes down in this model: that is the rule that a group never counts what comes back.
bool serial_yes(std::map<std::string, std::int64_t>& left, const RandomGroup& group,
                const Operation& operation) {
  if (operation.kind != OperationKind::place) {
    const auto found = group.rows.reservations.find(operation.order_id);
    return found != group.rows.reservations.end() &&
           found->second[0].status == ReservationStatus::reserved;
  }
  for (const auto& wanted : operation.place.items) {
    if (!left.contains(wanted.sku) || wanted.unit_price != 100 ||
        wanted.quantity > left[wanted.sku])
      return false;
  }
  for (const auto& wanted : operation.place.items) left[wanted.sku] -= wanted.quantity;
  return true;
}

TEST_CASE("inventory judge: random groups are judged as a serial model judges them",
          "[inventory]") {
  const auto seed = GENERATE(range(1U, 301U));
  CAPTURE(seed);
  std::mt19937 random(seed);
  const RandomGroup group = random_group(random);
  OperationMask candidates(group.operations.size());
  for (std::size_t i = 0; i < candidates.size(); ++i) candidates[i] = random() % 4 != 0;

  const Votes votes = group.rows.judge(group.operations, candidates);
  const Votes alone_first = group.rows.judge(group.operations, candidates);
  CHECK(votes == alone_first);  // pure

  std::map<std::string, std::int64_t> left;
  for (const auto& [sku, row] : group.rows.stock) left[sku] = row.available;
  for (std::size_t i = 0; i < votes.size(); ++i) {
    CAPTURE(i);
    if (!candidates[i]) {
      CHECK(votes[i] == Vote{});
      continue;
    }
    CHECK((votes[i].answer == Answer::yes) == serial_yes(left, group, *group.operations[i]));
    // final means: refused alone too. Not final means: alone it would get yes.
    OperationMask alone(votes.size(), false);
    alone[i] = true;
    const Vote by_itself = group.rows.judge(group.operations, alone)[i];
    if (votes[i].answer == Answer::no) CHECK((by_itself.answer == Answer::yes) == !votes[i].final);
    if (votes[i].answer != Answer::no) CHECK(by_itself.answer == votes[i].answer);
  }
  for (const auto& [sku, quantity] : left) CHECK(quantity >= 0);
}

TEST_CASE("inventory judge: stock that is released already needs no release", "[inventory]") {
  LockedStock rows = stock_of(5, 5);
  rows.reservations["freed"] = {{"1", "a", 1, ReservationStatus::released},
                                {"2", "b", 1, ReservationStatus::released}};
  rows.reservations["half"] = {{"3", "a", 1, ReservationStatus::released},
                               {"4", "b", 1, ReservationStatus::shipped}};
  rows.reservations["held"] = {{"5", "a", 1, ReservationStatus::reserved}};
  CHECK(rows.undone_already(*move(OperationKind::cancel, "freed")));
  CHECK_FALSE(rows.undone_already(*move(OperationKind::ship, "freed")));
  for (const char* order : {"half", "held", "unknown"})
    CHECK_FALSE(rows.undone_already(*move(OperationKind::cancel, order)));
}

}  // namespace
}  // namespace txcoord
