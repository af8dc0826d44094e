// The shipping service's judge: addresses and carriers, tracking numbers, legal moves.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <memory>
#include <set>

#include "participants/shipping/address_json.hpp"
#include "participants/shipping/carrier.hpp"
#include "participants/shipping/shipping_judge.hpp"

namespace txcoord {
namespace {

using protocol::Answer;
using protocol::Vote;
using protocol::Votes;

const std::string an_order = "01900000-0000-7000-8000-000000000001";

std::shared_ptr<Operation> on(const std::string& order_id, OperationKind kind) {
  auto operation = std::make_shared<Operation>();
  operation->kind = kind;
  operation->order_id = order_id;
  operation->place.address = {"田中太郎", "100-0001", "東京都", "千代田区", "千代田1-1", {}, {}};
  return operation;
}

Vote place_to(const std::string& postal_code, const std::string& prefecture) {
  auto operation = on(an_order, OperationKind::place);
  operation->place.address.postal_code = postal_code;
  operation->place.address.prefecture = prefecture;
  return LockedShipments().judge({operation}, {true}).at(0);
}

TEST_CASE("shipping judge: postal codes", "[shipping]") {
  CHECK(valid_postal_code("100-0001"));
  CHECK(valid_postal_code("1000001"));
  for (const char* bad : {"", "100-001", "100-00011", "1000-001", "10a-0001", "100 0001",
                          "１００-０００１", "100-0001 "}) {
    CAPTURE(bad);
    CHECK_FALSE(valid_postal_code(bad));
  }
}

TEST_CASE("shipping judge: a prefecture by its name, in romaji, with and without suffix",
          "[shipping]") {
  for (const char* tokyo : {"東京都", "Tokyo", "tokyo", "TOKYO", "Tokyo-to", "tokyo-TO"}) {
    CAPTURE(tokyo);
    const auto found = find_prefecture(tokyo);
    REQUIRE(found);
    CHECK(found->name == "東京都");
  }
  CHECK(find_prefecture("北海道")->romaji == "Hokkaido");
  CHECK(find_prefecture("Osaka-fu")->name == "大阪府");
  CHECK(find_prefecture("Aomori-ken")->name == "青森県");
  for (const char* nowhere :
       {"", "東京", "Tokyo-ken", "Tokyoto", "Tokyo-", "Edo", "California", "Hokkaido-to"}) {
    CAPTURE(nowhere);
    CHECK_FALSE(find_prefecture(nowhere));
  }
}

TEST_CASE("shipping judge: an address that no carrier serves is refused for good", "[shipping]") {
  CHECK(place_to("100-0001", "東京都").answer == Answer::yes);
  for (const auto& [postal_code, prefecture] :
       {std::pair{"99999", "東京都"}, std::pair{"100-0001", "California"}}) {
    const Vote vote = place_to(postal_code, prefecture);
    CHECK(vote.answer == Answer::no);
    CHECK(vote.reason == "ADDRESS_REFUSED");
    CHECK(vote.final);
    // Personal data is not repeated in what is logged and answered.
    CHECK(vote.detail.find(postal_code) == std::string::npos);
    CHECK(vote.detail.find(prefecture) == std::string::npos);
  }
}

TEST_CASE("shipping judge: a shipment that is not here yet is judged later", "[shipping][I9]") {
  const LockedShipments nothing;
  const auto kind = GENERATE(OperationKind::cancel, OperationKind::ship, OperationKind::deliver);
  CHECK(nothing.judge({on(an_order, kind)}, {true}).at(0).answer == Answer::retry);
}

TEST_CASE("shipping judge: every status and move", "[shipping]") {
  using S = ShipmentStatus;
  const auto status = GENERATE(S::arranged, S::shipped, S::delivered, S::cancelled);
  const auto kind = GENERATE(OperationKind::cancel, OperationKind::ship, OperationKind::deliver);
  const bool legal = (status == S::arranged && kind != OperationKind::deliver) ||
                     (status == S::shipped && kind == OperationKind::deliver);
  const LockedShipments shipments({{an_order, status}});
  const Vote vote = shipments.judge({on(an_order, kind)}, {true}).at(0);
  CHECK(vote.answer == (legal ? Answer::yes : Answer::no));
  if (!legal) CHECK(vote.final);
  CHECK(parse_shipment_status(to_string(status)) == status);
}

TEST_CASE("shipping judge: a refused place opens nothing for a later operation of the group",
          "[shipping]") {
  auto refused = on(an_order, OperationKind::place);
  refused->place.address.prefecture = "nowhere";
  const Votes votes =
      LockedShipments().judge({refused, on(an_order, OperationKind::cancel)}, {true, true});
  CHECK(votes[0].answer == Answer::no);
  CHECK(votes[1].answer == Answer::retry);
}

TEST_CASE("carrier: a tracking number is the carrier's prefix and all of the shipment id",
          "[shipping]") {
  CHECK(tracking_number("MS", "00000000-0000-0000-0000-000000000000") ==
        "MS" + std::string(26, '0'));
  CHECK(tracking_number("MS", "00000000-0000-0000-0000-00000000001f") ==
        "MS" + std::string(25, '0') + "Z");
  CHECK(tracking_number("MS", "ffffffff-ffff-ffff-ffff-ffffffffffff") ==
        "MS7" + std::string(25, 'Z'));
  // One bit of the id is always a different number, and a later id a greater one.
  std::set<std::string> numbers;
  std::string last;
  for (std::size_t digit = 36; digit-- > 0;) {
    std::string id = "00000000-0000-0000-0000-000000000000";
    if (id[digit] == '-') continue;
    for (const char value : {'1', '2', '4', '8'}) {
      id[digit] = value;
      const std::string number = tracking_number("KZ", id);
      CHECK(number.size() == 28);
      CHECK(number > last);
      numbers.insert(number);
      last = number;
    }
  }
  CHECK(numbers.size() == 128);
}

TEST_CASE("shipping address: what is stored is read back, and nothing else is accepted",
          "[shipping]") {
  ShippingAddress address{"佐藤 \"花子\"", "5300001", "Osaka-fu", "大阪市",
                          "梅田1\\2",      "ビル5F",  {}};
  const ShippingAddress back = address_from_json(address_to_json(address));
  CHECK(back.name == address.name);
  CHECK(back.line1 == address.line1);
  CHECK(back.line2 == address.line2);
  CHECK_FALSE(back.phone);
  for (const char* bad : {"", "[]", "{}", R"({"name":1})", R"({"name":"x")"}) {
    CAPTURE(bad);
    CHECK_THROWS_AS(address_from_json(bad), std::runtime_error);
  }
}

TEST_CASE("shipping judge: a shipment that is cancelled already needs no cancel", "[shipping]") {
  const auto status = GENERATE(ShipmentStatus::arranged, ShipmentStatus::shipped,
                               ShipmentStatus::delivered, ShipmentStatus::cancelled);
  const LockedShipments rows({{an_order, status}});
  CHECK(rows.undone_already(*on(an_order, OperationKind::cancel)) ==
        (status == ShipmentStatus::cancelled));
  CHECK_FALSE(rows.undone_already(*on(an_order, OperationKind::ship)));
  CHECK_FALSE(LockedShipments().undone_already(*on(an_order, OperationKind::cancel)));
}

}  // namespace
}  // namespace txcoord
