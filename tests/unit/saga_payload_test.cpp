// What a saga needs after a crash survives the log exactly, or is refused by name.
#include "txcoord/log/saga_payload.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <limits>

#include "tests/unit/future_members.hpp"
#include "txcoord/base/json_reader.hpp"

using namespace txcoord;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::MessageMatches;

namespace {

// Every field different from its default and from every other.
Operation full_operation() {
  Operation operation;
  operation.kind = OperationKind::place;
  operation.order_id = "01890000-0000-7000-8000-000000000001";
  operation.scope = "client POST /v1/orders";
  operation.idempotency_key = "key \"1\" \\ /";
  for (std::size_t i = 0; i < operation.fingerprint.size(); ++i)
    operation.fingerprint[i] = static_cast<std::uint8_t>(i * 8 + 7);
  operation.correlation_id = "trace-1";
  operation.created_at = UtcTime(std::chrono::microseconds(1'790'000'000'123'457));
  operation.answer = R"({"order_id":"x","items":[{"sku":"b"}]})";
  PlaceOrder& place = operation.place;
  place.customer_id = "customer-001";
  place.items = {{"book-123", 2, 3500, "01890000-0000-7000-8000-000000000002"},
                 {"book-789", 1, std::numeric_limits<std::int64_t>::max(), "r2"}};
  place.total_amount = 9'800;
  place.address = {"田中太郎",    "150-0001", "東京都",         "渋谷区",
                   "神宮前1-2-3", "",         "+81-3-0000-0000"};
  place.payment_method = PaymentMethod::card;
  place.payment_token = "tok_ok";
  place.payment_id = "p1";
  place.shipment_id = "s1";
  operation.mode = "saga";
  operation.transaction_id = "01890000-0000-7000-8000-000000000003";
  operation.accepted = true;
  operation.reserve_until = UtcTime(std::chrono::microseconds(-1));
  operation.reason = "RESERVATION_EXPIRED";
  return operation;
}

void check_same(const Operation& a, const Operation& b) {
  CHECK(a.kind == b.kind);
  CHECK(a.order_id == b.order_id);
  CHECK(a.scope == b.scope);
  CHECK(a.idempotency_key == b.idempotency_key);
  CHECK(a.fingerprint == b.fingerprint);
  CHECK(a.correlation_id == b.correlation_id);
  CHECK(a.created_at == b.created_at);
  CHECK(a.answer == b.answer);
  CHECK(a.mode == b.mode);
  CHECK(a.transaction_id == b.transaction_id);
  CHECK(a.accepted == b.accepted);
  CHECK(a.reserve_until == b.reserve_until);
  CHECK(a.reason == b.reason);
  CHECK(a.place.customer_id == b.place.customer_id);
  REQUIRE(a.place.items.size() == b.place.items.size());
  for (std::size_t i = 0; i < a.place.items.size(); ++i) {
    CHECK(a.place.items[i].sku == b.place.items[i].sku);
    CHECK(a.place.items[i].quantity == b.place.items[i].quantity);
    CHECK(a.place.items[i].unit_price == b.place.items[i].unit_price);
    CHECK(a.place.items[i].reservation_id == b.place.items[i].reservation_id);
  }
  CHECK(a.place.total_amount == b.place.total_amount);
  CHECK(a.place.address.name == b.place.address.name);
  CHECK(a.place.address.postal_code == b.place.address.postal_code);
  CHECK(a.place.address.prefecture == b.place.address.prefecture);
  CHECK(a.place.address.city == b.place.address.city);
  CHECK(a.place.address.line1 == b.place.address.line1);
  CHECK(a.place.address.line2 == b.place.address.line2);
  CHECK(a.place.address.phone == b.place.address.phone);
  CHECK(a.place.payment_method == b.place.payment_method);
  CHECK(a.place.payment_token == b.place.payment_token);
  CHECK(a.place.payment_id == b.place.payment_id);
  CHECK(a.place.shipment_id == b.place.shipment_id);
}

std::string replaced(std::string text, const std::string& what, const std::string& with) {
  const std::size_t at = text.find(what);
  REQUIRE(at != std::string::npos);
  return text.replace(at, what.size(), with);
}

}  // namespace

TEST_CASE("operation is read from its payload as it was, every field of it") {
  const Operation full = full_operation();
  check_same(from_payload(to_payload(full)), full);
}

TEST_CASE("what an operation does not have stays absent") {
  Operation bare;
  check_same(from_payload(to_payload(bare)), bare);
  Operation cancel = full_operation();
  cancel.kind = OperationKind::cancel;
  cancel.place = {};
  cancel.reserve_until.reset();
  check_same(from_payload(to_payload(cancel)), cancel);
}

TEST_CASE("every kind and payment method survives") {
  for (const OperationKind kind :
       {OperationKind::place, OperationKind::cancel, OperationKind::ship, OperationKind::deliver,
        OperationKind::create, OperationKind::confirm, OperationKind::fail}) {
    for (const PaymentMethod method : {PaymentMethod::wallet, PaymentMethod::card}) {
      Operation operation = full_operation();
      operation.kind = kind;
      operation.place.payment_method = method;
      check_same(from_payload(to_payload(operation)), operation);
    }
  }
}

// What an unfinished saga holds in the log while a new program starts: these words stay, or the
// version does not.
TEST_CASE("payload of version 1 stays readable") {
  const char* const stored =
      R"({"version":1,"kind":"place","order_id":"o","scope":"s","idempotency_key":"k",)"
      R"("fingerprint":"00000000000000000000000000000000000000000000000000000000000000ff",)"
      R"("correlation_id":"c","created_at":5,"answer":"","place":{"customer_id":"u",)"
      R"("items":[{"sku":"b","quantity":2,"unit_price":3,"reservation_id":"r"}],)"
      R"("total_amount":6,"address":{"name":"n","postal_code":"p","prefecture":"f","city":"t",)"
      R"("line1":"l","phone":"1"},"payment_method":"wallet","payment_token":"",)"
      R"("payment_id":"p1","shipment_id":"s1"},"mode":"saga","transaction_id":"t",)"
      R"("accepted":false,"reserve_until":7,"reason":""})";
  const Operation operation = from_payload(stored);
  CHECK(operation.place.address.phone == "1");
  CHECK_FALSE(operation.place.address.line2.has_value());
  CHECK(operation.reserve_until == UtcTime(std::chrono::microseconds(7)));
  CHECK(to_payload(operation) == stored);
}

TEST_CASE("payload with members that a newer version added is read as if they were not there") {
  const Operation full = full_operation();
  const std::string newer = txcoord::testing::with_future_members(to_payload(full));
  REQUIRE(newer != to_payload(full));
  check_same(from_payload(newer), full);
}

TEST_CASE("payload that cannot be read is refused by the name of its field, never with its value") {
  const std::string good = to_payload(full_operation());
  const auto refused = [](const std::string& payload, const char* field) {
    CHECK_THROWS_MATCHES(from_payload(payload), JsonReadError,
                         MessageMatches(ContainsSubstring(field) && !ContainsSubstring("田中") &&
                                        !ContainsSubstring("tok_")));
  };
  refused("", "JSON");
  refused("[]", "is no object");
  refused(good.substr(0, good.size() - 1), "JSON");
  refused(replaced(good, R"("version":1)", R"("version":2)"), "version");
  refused(replaced(good, R"("kind":"place")", R"("kind":"tok_")"), "kind is not known");
  refused(replaced(good, R"("order_id")", R"("order")"), "order_id is missing");
  refused(replaced(good, R"("fingerprint":"07)", R"("fingerprint":"0G)"), "fingerprint");
  refused(replaced(good, R"("quantity":2)", R"("quantity":2.0)"), "place.items[0].quantity");
  refused(replaced(good, R"("quantity":1)", R"("quantity":9223372036854775808)"),
          "place.items[1].quantity");
  refused(replaced(good, R"("name":"田中太郎")", R"("name":["田中太郎"])"), "place.address.name");
  refused(replaced(good, R"("payment_token":"tok_ok")", R"("payment_token":null)"),
          "place.payment_token");
  refused(replaced(good, R"("accepted":true)", R"("accepted":1)"), "accepted");
}
