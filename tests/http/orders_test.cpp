// POST /v1/orders, cancel and ship: every outcome of the engine as the client sees it.
#include <boost/json/parse.hpp>
#include <catch2/catch_test_macros.hpp>

#include "tests/http/contract.hpp"
#include "tests/http/test_server.hpp"

using namespace txcoord;
using namespace txcoord::testing;
using engine::SubmitResult;
using engine::SubmitStatus;

namespace {

Response place(Client& client, std::string_view key, const std::string& body = order_body(),
               std::string_view more = {}) {
  return client.request("POST", "/v1/orders", body, key_header(key) + std::string(more));
}

SubmitResult answer(SubmitStatus status, std::string reason = {}, std::string detail = {}) {
  SubmitResult result;
  result.status = status;
  result.reason = std::move(reason);
  result.detail = std::move(detail);
  return result;
}

std::string order_id_of(const Response& response) {
  return std::string(response.parsed().at("order_id").as_string().c_str());
}

}  // namespace

TEST_CASE("a confirmed order is 201 with its location, transaction and whether it is applied") {
  TestServer server;
  Client client = server.connect();
  const Response response = place(client, "k1");
  CHECK(response.status == 201);
  check_contract("POST", "/v1/orders", response);
  const json::value order = response.parsed();
  CHECK(order.at("status").as_string() == "CONFIRMED");
  CHECK(order.at("total_amount").as_int64() == 2 * 3500 + 2800);
  CHECK(order.at("currency").as_string() == "JPY");
  CHECK(order.at("transaction_id").as_string() == test_gid);
  CHECK(order.at("applied").as_bool());
  CHECK(order.at("payment").at("status").as_string() == "CAPTURED");
  CHECK(response.header("location") == "/v1/orders/" + order_id_of(response));
  CHECK_FALSE(response.has("idempotency-replayed"));
  CHECK(response.body.find("千代田") ==
        std::string::npos);  // the answer goes to the log: no personal data in it
}

TEST_CASE("the operation carries everything the engine needs") {
  TestServer server;
  Client client = server.connect();
  place(client, "\"quoted\"", order_body({{"payment_method", R"("card")"}}),
        "X-Correlation-ID: trace-7\r\n");
  const auto operation = server.on_io([&] { return server.engine.submitted.at(0); });
  CHECK(operation->idempotency_key == "quoted");
  CHECK(operation->scope == "- POST /v1/orders");
  CHECK(operation->correlation_id == "trace-7");
  CHECK(operation->place.payment_token == "tok_ok");
  CHECK(operation->place.payment_method == PaymentMethod::card);
  CHECK(operation->place.items.at(1).reservation_id.size() == 36);
  CHECK(operation->place.payment_id.size() == 36);
  CHECK(operation->place.shipment_id.size() == 36);
  CHECK(operation->place.address.name == "田中太郎");
}

TEST_CASE("a replay has the same status and body, and says that it is one") {
  TestServer server;
  Client client = server.connect();
  const Response first = place(client, "k1");
  const Response again = place(client, "\"k1\"");
  CHECK(again.status == 201);
  CHECK(again.body == first.body);
  CHECK(again.header("location") == first.header("location"));
  CHECK(again.header("idempotency-replayed") == "true");
}

TEST_CASE("a replay of a request that spells its defaults out is still the same request") {
  TestServer server;
  Client client = server.connect();
  place(client, "k1", order_body({{"payment_method", R"("card")"}}));
  const Response again =
      place(client, "k1",
            order_body({{"payment_method", R"("card")"}, {"payment_token", R"("tok_ok")"}}));
  CHECK(again.header("idempotency-replayed") == "true");
}

// The server's default_mode may change while a client still repeats its request.
TEST_CASE("the mode counts as the client named it, not as the server's default made it") {
  TestServer server;
  Client client = server.connect();
  place(client, "k1", order_body({{"mode", R"("2pc")"}}));
  CHECK(place(client, "k1", order_body({{"mode", R"("2pc")"}})).has("idempotency-replayed"));
  CHECK(place(client, "k1", order_body({{"mode", R"("saga")"}})).status == 422);
}

TEST_CASE("the same key with another body is 422 KEY_REUSED") {
  TestServer server;
  Client client = server.connect();
  place(client, "k1");
  const Response other = place(client, "k1", order_body({{"customer_id", R"("customer-002")"}}));
  CHECK(other.status == 422);
  check_problem(other, "KEY_REUSED", false);
}

TEST_CASE("a business refusal is 409 with its reason, and is replayed to the byte") {
  TestServer server;
  server.on_io([&] {
    server.engine.scripted.push_back(
        answer(SubmitStatus::refused, "OUT_OF_STOCK", "book-123: 1 left"));
  });
  Client client = server.connect();
  const Response refused = place(client, "k1");
  CHECK(refused.status == 409);
  check_problem(refused, "OUT_OF_STOCK", false);
  CHECK(refused.parsed().at("detail").as_string() == "book-123: 1 left");
  const Response again = place(client, "k1");
  CHECK(again.status == 409);
  CHECK(again.body == refused.body);
  CHECK(again.header("idempotency-replayed") == "true");
}

TEST_CASE("a poison operation is 422") {
  TestServer server;
  server.on_io([&] {
    server.engine.scripted.push_back(answer(SubmitStatus::invalid, "VALIDATION_FAILED", "no"));
  });
  Client client = server.connect();
  const Response refused = place(client, "k1");
  CHECK(refused.status == 422);
  check_problem(refused, "VALIDATION_FAILED", false);
}

TEST_CASE("unavailable and overloaded are 503 with Retry-After in whole seconds") {
  TestServer server;
  server.on_io([&] {
    server.engine.scripted.push_back(
        answer(SubmitStatus::unavailable, "PARTICIPANT_UNAVAILABLE", "away: payment"));
    server.engine.scripted.push_back(answer(SubmitStatus::overloaded, "OVERLOADED"));
    server.engine.scripted.back().retry_after = std::chrono::milliseconds(1200);
  });
  Client client = server.connect();
  const Response away = place(client, "k1");
  CHECK(away.status == 503);
  check_problem(away, "PARTICIPANT_UNAVAILABLE", true);
  CHECK(away.header("retry-after") == "1");
  const Response busy = place(client, "k1");
  CHECK(busy.status == 503);
  check_problem(busy, "OVERLOADED", true);
  CHECK(busy.header("retry-after") == "2");
  CHECK(place(client, "k1").status == 201);  // nothing was recorded under the key
}

TEST_CASE("an outcome not known in time is 202 with a location, never a guess") {
  TestServer server;
  server.on_io([&] {
    server.engine.scripted.push_back(answer(SubmitStatus::unknown, "OUTCOME_UNKNOWN"));
    server.engine.scripted.back().transaction_id = test_gid;
  });
  Client client = server.connect();
  const Response response = place(client, "k1");
  CHECK(response.status == 202);
  check_contract("POST", "/v1/orders", response);
  CHECK(response.parsed().at("status").as_string() == "PENDING");
  CHECK(response.parsed().at("reason").as_string() == "OUTCOME_UNKNOWN");
  CHECK_FALSE(response.parsed().at("applied").as_bool());
  CHECK(response.header("location") == "/v1/orders/" + order_id_of(response));
}

TEST_CASE("a key in flight is 409 REQUEST_IN_FLIGHT") {
  TestServer server;
  server.on_io([&] { server.engine.hold = true; });
  Client first = server.connect();
  const std::string body = order_body();
  first.send(
      "POST /v1/orders HTTP/1.1\r\nHost: t\r\nIdempotency-Key: k1\r\nContent-Type: "
      "application/json\r\n"
      "Content-Length: " +
      std::to_string(body.size()) + "\r\n\r\n" + body);
  while (server.on_io([&] { return server.engine.submitted.empty(); })) std::this_thread::yield();
  Client second = server.connect();
  const Response response = place(second, "k1");
  CHECK(response.status == 409);
  check_problem(response, "REQUEST_IN_FLIGHT", true);
  CHECK(response.has("retry-after"));
  server.on_io([&] { server.engine.let_go(); });
  CHECK(first.receive().status == 201);
}

TEST_CASE("Prefer: applied asks the engine to wait, and the answer says that it was") {
  TestServer server;
  Client client = server.connect();
  const Response response = place(client, "k1", order_body(), "Prefer: wait=2, applied\r\n");
  CHECK(response.header("preference-applied") == "applied");
  const auto options = server.on_io([&] { return server.engine.options_seen.at(0); });
  CHECK(options.wait_applied);
  CHECK(options.wait_max == std::chrono::seconds(2));
}

TEST_CASE("a handler that throws is a 500 problem that says to retry under the key") {
  TestServer server;
  server.on_io([&] { server.engine.throws = true; });
  Client client = server.connect();
  const Response response = place(client, "k1");
  CHECK(response.status == 500);
  check_problem(response, "OUTCOME_UNKNOWN", true);
  server.on_io([&] { server.engine.throws = false; });
  CHECK(place(client, "k1").status == 201);  // and the connection goes on
}

TEST_CASE("an order is cancelled, once, and a replay answers the same") {
  TestServer server;
  Client client = server.connect();
  const std::string path = place(client, "k1").header("location");
  const Response cancelled = client.request("POST", path + "/cancel", {}, key_header("c1"));
  CHECK(cancelled.status == 200);
  check_contract("POST", "/v1/orders/{order_id}/cancel", cancelled);
  CHECK(cancelled.parsed().at("status").as_string() == "CANCELLED");
  const Response again = client.request("POST", path + "/cancel", "{}", key_header("c1"));
  CHECK(again.status == 200);
  CHECK(again.body == cancelled.body);
  CHECK(again.header("idempotency-replayed") == "true");
  const Response seen = client.request("GET", path);
  CHECK(seen.parsed().at("status").as_string() == "CANCELLED");
  CHECK(seen.parsed().at("payment").at("status").as_string() == "REFUNDED");
  CHECK(seen.parsed().at("applied").as_bool());
}

TEST_CASE("one key cannot cancel two orders") {
  TestServer server;
  Client client = server.connect();
  const std::string first = place(client, "k1").header("location");
  const std::string second = place(client, "k2").header("location");
  CHECK(client.request("POST", first + "/cancel", {}, key_header("c1")).status == 200);
  const Response response = client.request("POST", second + "/cancel", {}, key_header("c1"));
  CHECK(response.status == 422);
  check_problem(response, "KEY_REUSED", false);
}

TEST_CASE("an illegal cancel is 409, an unknown order 404") {
  TestServer server;
  Client client = server.connect();
  const std::string path = place(client, "k1").header("location");
  server.on_io([&] {
    server.engine.scripted.push_back(
        answer(SubmitStatus::refused, "ILLEGAL_STATE", "it is SHIPPED"));
  });
  const Response shipped = client.request("POST", path + "/cancel", {}, key_header("c1"));
  CHECK(shipped.status == 409);
  check_problem(shipped, "ILLEGAL_STATE", false);
  const Response unknown = client.request(
      "POST", std::string("/v1/orders/") + unknown_uuid + "/cancel", {}, key_header("c2"));
  CHECK(unknown.status == 404);
  check_problem(unknown, "NOT_FOUND", false);
  CHECK(client.request("POST", "/v1/orders/nonsense/cancel", {}, key_header("c3")).status == 404);
}

TEST_CASE("a cancel whose outcome is not known yet is 202") {
  TestServer server;
  Client client = server.connect();
  const std::string path = place(client, "k1").header("location");
  server.on_io([&] { server.engine.scripted.push_back(answer(SubmitStatus::unknown)); });
  const Response response = client.request("POST", path + "/cancel", {}, key_header("c1"));
  CHECK(response.status == 202);
  check_contract("POST", "/v1/orders/{order_id}/cancel", response);
  CHECK(response.header("location") == path);
}

TEST_CASE("a shipment is shipped and delivered by PATCH") {
  TestServer server;
  Client client = server.connect();
  const Response placed = place(client, "k1");
  const std::string id = placed.parsed().at("shipment").at("shipment_id").as_string().c_str();
  const Response shipped =
      client.request("PATCH", "/v1/shipments/" + id, R"({"status":"SHIPPED"})", key_header("s1"));
  CHECK(shipped.status == 200);
  check_contract("PATCH", "/v1/shipments/{shipment_id}", shipped);
  const auto operation = server.on_io([&] { return server.engine.submitted.back(); });
  CHECK(operation->kind == OperationKind::ship);
  CHECK(operation->order_id == order_id_of(placed));
  const Response reused =
      client.request("PATCH", "/v1/shipments/" + id, R"({"status":"DELIVERED"})", key_header("s1"));
  check_problem(reused, "KEY_REUSED", false);
  CHECK(
      client.request("PATCH", "/v1/shipments/" + id, R"({"status":"DELIVERED"})", key_header("s2"))
          .status == 200);
  CHECK(client.request("GET", "/v1/shipments/" + id).parsed().at("status").as_string() ==
        "DELIVERED");
  const Response lost = client.request("PATCH", std::string("/v1/shipments/") + unknown_uuid,
                                       R"({"status":"SHIPPED"})", key_header("s3"));
  CHECK(lost.status == 404);
  const Response wrong =
      client.request("PATCH", "/v1/shipments/" + id, R"({"status":"LOST"})", key_header("s4"));
  CHECK(wrong.status == 422);
  check_problem(wrong, "VALIDATION_FAILED", false);
}
