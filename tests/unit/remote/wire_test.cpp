// The participant protocol's bodies: what is written is read again, what is private is sent to whom
// it concerns, and what is no protocol is refused by its place.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "participants/operation_json.hpp"
#include "participants/remote/branch_json.hpp"
#include "participants/remote/http_link.hpp"
#include "participants/remote/remote_participant.hpp"
#include "participants/remote/view_json.hpp"
#include "tests/unit/future_members.hpp"

using namespace txcoord;
using namespace txcoord::remote;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::MessageMatches;

namespace {

template <class Write>
std::string written(Write write) {
  JsonWriter out;
  out.begin_object();
  write(out);
  return out.end_object().take();
}

// What `read` makes of the text.
template <class Read>
auto read_text(const std::string& text, Read read) {
  const auto parsed = parse_our_json("a test", text);
  return read(JsonReader("a test", parsed));
}

auto votes_for(std::vector<std::string> order_ids) {
  return [order_ids = std::move(order_ids)](const JsonReader& reader) {
    return read_votes(reader, order_ids);
  };
}

auto replies_for(std::vector<std::string> saga_ids) {
  return [saga_ids = std::move(saga_ids)](const JsonReader& reader) {
    return read_replies(reader, saga_ids);
  };
}

Failure failure_of(int status, const std::string& body) {
  return read_text(body, [&](const JsonReader& reader) { return read_failure(status, reader); });
}

Operation full_operation() {
  Operation operation;
  operation.kind = OperationKind::place;
  operation.order_id = "0190a1b2-0000-7000-8000-000000000001";
  operation.scope = "scope";
  operation.idempotency_key = "key";
  operation.correlation_id = "corr-1";
  operation.created_at = UtcTime(std::chrono::microseconds(1234567));
  operation.answer = "{}";
  operation.mode = "saga";
  operation.transaction_id = "0190a1b2-0000-7000-8000-000000000002";
  operation.accepted = true;
  operation.reserve_until = UtcTime(std::chrono::microseconds(99));
  operation.place.customer_id = "customer-001";
  operation.place.items = {{"book-123", 2, 3500, "r1"}, {"本-789", 1, 9'000'000'000'000, "r2"}};
  operation.place.total_amount = 9'000'000'007'000;
  operation.place.address = {"田中太郎", "100-0001", "東京都", "千代田区", "1-1", {}, "03"};
  operation.place.payment_method = PaymentMethod::card;
  operation.place.payment_token = "tok_ok";
  operation.place.payment_id = "p1";
  operation.place.shipment_id = "s1";
  return operation;
}

std::string sent_to(const char* participant, const Operation& operation) {
  JsonWriter out;
  write_operation(out, operation, participant);
  return out.take();
}

protocol::Gid gid_number(std::uint64_t seq) {
  const auto gid = protocol::parse_gid("txc_0123abcd_c1_1_89abcdef_" + std::to_string(seq));
  REQUIRE(gid);
  return *gid;
}

}  // namespace

TEST_CASE("an operation that was sent is the operation, without what nobody there needs") {
  const Operation sent = full_operation();
  const Operation read = read_text(sent_to("shipping", sent), read_operation);
  CHECK(read.kind == sent.kind);
  CHECK(read.order_id == sent.order_id);
  CHECK(read.correlation_id == sent.correlation_id);
  CHECK(read.created_at == sent.created_at);
  CHECK(read.mode == sent.mode);
  CHECK(read.transaction_id == sent.transaction_id);
  CHECK(read.accepted == sent.accepted);
  CHECK(read.reserve_until == sent.reserve_until);
  CHECK(read.place.total_amount == sent.place.total_amount);
  REQUIRE(read.place.items.size() == 2);
  CHECK(read.place.items[1].sku == "本-789");
  CHECK(read.place.items[1].unit_price == 9'000'000'000'000);
  CHECK(read.place.items[1].reservation_id == "r2");
  CHECK(read.place.address.name == "田中太郎");
  CHECK_FALSE(read.place.address.line2.has_value());
  CHECK(read.place.address.phone == "03");
  CHECK(read.place.payment_method == PaymentMethod::card);
  CHECK(read.idempotency_key.empty());
  CHECK(read.scope.empty());
  CHECK(read.answer.empty());
}

TEST_CASE("an address is sent to shipping alone, and a token to payment alone") {
  for (const char* participant : {"order", "inventory", "payment", "shipping"}) {
    const std::string text = sent_to(participant, full_operation());
    CAPTURE(participant);
    CHECK((text.find("田中") != std::string::npos) ==
          (std::string_view(participant) == "shipping"));
    CHECK((text.find("tok_") != std::string::npos) == (std::string_view(participant) == "payment"));
  }
}

TEST_CASE("an order to place without its place, and a number with a fraction, are refused") {
  const auto refused = [](const std::string& text, const char* where) {
    CHECK_THROWS_MATCHES(read_text(text, read_operation), JsonReadError,
                         MessageMatches(ContainsSubstring(where)));
  };
  Operation bare = full_operation();
  bare.kind = OperationKind::cancel;
  bare.place = {};
  std::string placeless = sent_to("order", bare);
  placeless.replace(placeless.find("cancel"), 6, "place");
  refused(placeless, "place is missing");
  std::string fraction = sent_to("order", full_operation());
  const std::string number = R"("quantity":2)";
  fraction.replace(fraction.find(number), number.size(), R"("quantity":2.5)");
  refused(fraction, "place.items[0].quantity is no 64-bit integer");
}

TEST_CASE("votes, steps and their replies, gauges and log points are read as they were written") {
  const protocol::Votes votes = {{},
                                 {protocol::Answer::no, false, "OUT_OF_STOCK", "2 left"},
                                 {protocol::Answer::retry, true, "", "rows are missing"}};
  const std::vector<std::string> orders = {"o1", "o2", "o3"};
  CHECK(read_text(written([&](JsonWriter& out) { write_votes(out, votes, orders); }),
                  votes_for(orders)) == votes);

  StepRequest request;
  request.step = "release";
  request.undoes = "reserve";
  request.must_succeed = true;
  request.calls = {{"saga-1", std::make_shared<const Operation>(full_operation()), "OUT_OF_STOCK"}};
  const StepRequest read = read_text(
      written([&](JsonWriter& out) { write_steps(out, request, "inventory"); }), read_steps);
  CHECK(read.step == "release");
  CHECK(read.undoes == "reserve");
  CHECK(read.must_succeed);
  REQUIRE(read.calls.size() == 1);
  CHECK(read.calls[0].saga_id == "saga-1");
  CHECK(read.calls[0].refuse_as == "OUT_OF_STOCK");

  const std::vector<StepReply> replies = {
      {}, {StepStatus::barred, "", ""}, {StepStatus::refused, "CARD_DECLINED", "by the bank"}};
  const std::vector<std::string> sagas = {"s1", "s2", "s3"};
  const auto heard = read_text(
      written([&](JsonWriter& out) { write_replies(out, replies, sagas); }), replies_for(sagas));
  REQUIRE(heard.size() == 3);
  CHECK(heard[1].status == StepStatus::barred);
  CHECK(heard[2].reason == "CARD_DECLINED");

  ParticipantGauges gauges{3, 1.25, 32, 4, -7, 1};
  const auto shown =
      read_text(written([&](JsonWriter& out) { write_gauges(out, gauges); }), read_gauges);
  CHECK(shown.in_doubt_branches == 3);
  CHECK(shown.in_doubt_oldest_seconds == 1.25);
  CHECK(shown.xmin_age_transactions == -7);

  const protocol::LogPoint point{"7301", 2, 0x7fff'ffff'ffffULL};
  const auto seen =
      read_text(written([&](JsonWriter& out) { write_log_point(out, point); }), read_log_point);
  CHECK(seen.system_identifier == "7301");
  CHECK(seen.lsn == point.lsn);
}

TEST_CASE("gids are read one by one; text that is none is refused") {
  const std::vector<protocol::Gid> gids = {gid_number(1), gid_number(2)};
  CHECK(read_text(written([&](JsonWriter& out) { write_gids(out, gids); }), read_gids) == gids);
  CHECK_THROWS_AS(read_text(R"({"gids":["txc_; DROP TABLE"]})", read_gids), JsonReadError);
  CHECK_THROWS_AS(read_text(R"({"gid":"other_1"})", read_gid), JsonReadError);
}

TEST_CASE("each failure comes out as it went in, with its own status") {
  const auto kind = GENERATE(FailureKind::unavailable, FailureKind::timeout, FailureKind::deadlock,
                             FailureKind::lock_timeout, FailureKind::poison, FailureKind::not_found,
                             FailureKind::busy, FailureKind::fenced, FailureKind::error);
  const bool unknown = GENERATE(true, false);
  const Failure read =
      failure_of(failure_status(kind), failure_body({kind, unknown, "40P01", "words \"x\""}));
  CHECK(read.kind == kind);
  CHECK(read.outcome_unknown == unknown);
  CHECK(read.sqlstate == "40P01");
  CHECK(read.message == "words \"x\"");
}

TEST_CASE("members that a newer version added are passed over, in requests and in answers") {
  using txcoord::testing::with_future_members;
  const std::string sent = sent_to("shipping", full_operation());
  const Operation operation = read_text(with_future_members(sent), read_operation);
  CHECK(operation.place.items.size() == 2);
  CHECK(operation.place.address.phone == "03");

  StepRequest request{.step = "release", .undoes = "reserve", .calls = {}, .must_succeed = true};
  request.calls = {{"saga-1", std::make_shared<const Operation>(full_operation()), ""}};
  const StepRequest step = read_text(with_future_members(written([&](JsonWriter& out) {
                                       write_steps(out, request, "inventory");
                                     })),
                                     read_steps);
  CHECK(step.undoes == "reserve");
  REQUIRE(step.calls.size() == 1);
  CHECK(step.calls[0].saga_id == "saga-1");

  const protocol::Votes votes = {{}, {protocol::Answer::no, true, "OUT_OF_STOCK", "2 left"}};
  const std::vector<std::string> orders = {"o1", "o2"};
  CHECK(read_text(
            with_future_members(written([&](JsonWriter& out) { write_votes(out, votes, orders); })),
            votes_for(orders)) == votes);
  const std::vector<StepReply> replies = {{StepStatus::refused, "CARD_DECLINED", "by the bank"}};
  const std::string heard =
      written([&](JsonWriter& out) { write_replies(out, replies, {"saga-1"}); });
  CHECK(read_text(with_future_members(heard), replies_for({"saga-1"})).at(0).reason ==
        "CARD_DECLINED");
  const auto busy =
      failure_of(409, with_future_members(failure_body({FailureKind::busy, false, "", ""})));
  CHECK(busy.kind == FailureKind::busy);
}

TEST_CASE("a word that this version does not know is no answer: nobody acts on a guess") {
  CHECK_THROWS_MATCHES(read_text(R"({"votes":[{"order_id":"o","answer":"perhaps","final":true}]})",
                                 votes_for({"o"})),
                       JsonReadError, MessageMatches(ContainsSubstring("answer")));
  CHECK_THROWS_AS(
      read_text(R"({"replies":[{"saga_id":"s","status":"later"}]})", replies_for({"s"})),
      JsonReadError);
  CHECK_THROWS_AS(failure_of(409, R"({"failure":"quota","outcome_unknown":false})"), JsonReadError);
}

TEST_CASE("a batch of another question is no answer: reordered, foreign, short, long, or unnamed") {
  const protocol::Votes votes = {{}, {protocol::Answer::no, true, "OUT_OF_STOCK", ""}};
  const std::string heard = written([&](JsonWriter& out) {
    write_votes(out, votes, {"o1", "o2"});
  });
  CHECK(read_text(heard, votes_for({"o1", "o2"})).size() == 2);
  for (const std::vector<std::string>& asked :
       {std::vector<std::string>{"o2", "o1"}, {"o1", "o3"}, {"o1"}, {"o1", "o2", "o3"}, {}})
    CHECK_THROWS_AS(read_text(heard, votes_for(asked)), JsonReadError);
  CHECK_THROWS_AS(read_text(R"({"votes":[{"answer":"yes","final":true}]})", votes_for({"o1"})),
                  JsonReadError);

  const std::vector<StepReply> replies = {{}, {StepStatus::barred, "", ""}};
  const std::string done = written([&](JsonWriter& out) {
    write_replies(out, replies, {"s1", "s2"});
  });
  CHECK(read_text(done, replies_for({"s1", "s2"})).size() == 2);
  for (const std::vector<std::string>& asked :
       {std::vector<std::string>{"s2", "s1"}, {"s1"}, {"s1", "s2", "s3"}})
    CHECK_THROWS_AS(read_text(done, replies_for(asked)), JsonReadError);
}

TEST_CASE("a reason that this version does not know is passed on as it is") {
  const auto votes =
      read_text(R"({"votes":[{"order_id":"o","answer":"no","final":true,"reason":"TOO_HEAVY"}]})",
                votes_for({"o"}));
  CHECK(votes.at(0).reason == "TOO_HEAVY");
}

TEST_CASE("a failure of another program, or under another status, is no failure of the protocol") {
  CHECK_THROWS_AS(failure_of(503, R"({"error":"upstream"})"), JsonReadError);
  CHECK_THROWS_AS(failure_of(404, R"({"failure":"not_found"})"), JsonReadError);
  const std::string busy = failure_body({FailureKind::busy, false, "", ""});
  CHECK(failure_of(409, busy).kind == FailureKind::busy);
  CHECK_THROWS_AS(failure_of(503, busy), JsonReadError);
  const std::string defect = failure_body({FailureKind::error, false, "", ""});
  CHECK(failure_of(401, defect).kind == FailureKind::error);
  CHECK_THROWS_AS(failure_of(302, defect), JsonReadError);
}

TEST_CASE("views are read as they were written, what is absent included") {
  ReservationView reservation{"r", "o", "book", "RESERVED", 2, UtcTime(std::chrono::seconds(5)),
                              {}};
  const auto again =
      read_text(written([&](JsonWriter& out) { write_found<ReservationView>(out, reservation); }),
                read_found<ReservationView>);
  REQUIRE(again);
  CHECK(again->sku == "book");
  CHECK(again->created_at == reservation.created_at);
  CHECK_FALSE(again->expires_at);
  const auto none =
      read_text(written([](JsonWriter& out) { write_found<ReservationView>(out, std::nullopt); }),
                read_found<ReservationView>);
  CHECK_FALSE(none);

  StockChange change;
  change.available = 0;
  change.title = "";
  const auto put =
      read_text(written([&](JsonWriter& out) { write(out, change); }), read_as<StockChange>);
  CHECK(put.available == 0);
  CHECK(put.title == "");
  CHECK_FALSE(put.unit_price);

  RequestKey key{"scope", "key", {}};
  key.fingerprint[0] = 0xab;
  key.fingerprint[31] = 1;
  CHECK(read_text(written([&](JsonWriter& out) { write(out, key); }), read_as<RequestKey>)
            .fingerprint == key.fingerprint);
}

TEST_CASE("a url is a host, a port and a prefix; anything else is refused with what is wrong") {
  const Url url = parse_url("http://inventory.internal:8081/team/a/");
  CHECK(url.host == "inventory.internal");
  CHECK(url.port == "8081");
  CHECK(url.prefix == "/team/a");
  CHECK(parse_url("http://h").port == "80");
  CHECK(parse_url("http://[::1]:9").authority() == "[::1]:9");
  for (const char* wrong : {"", "https://h", "h:80", "http://", "http://h:0", "http://h:65536",
                            "http://h:8x", "http://u@h", "http://h h", "http://[::1", "http://h?x"})
    CHECK_THROWS_AS(parse_url(wrong), std::invalid_argument);
}

TEST_CASE("which kinds have work at which participant is the protocol's table") {
  std::string table;
  for (const auto kind :
       {OperationKind::place, OperationKind::cancel, OperationKind::ship, OperationKind::deliver,
        OperationKind::create, OperationKind::confirm, OperationKind::fail}) {
    table += std::string(kind_word(kind)) + ":";
    for (const char* name : {"order", "inventory", "payment", "shipping"})
      if (has_work_at(name, kind)) table += std::string(" ") + name;
    table += "\n";
  }
  CHECK(table ==
        "place: order inventory payment shipping\n"
        "cancel: order inventory payment shipping\n"
        "ship: order inventory shipping\n"
        "deliver: order shipping\n"
        "create: order\n"
        "confirm: order\n"
        "fail: order\n");
}
