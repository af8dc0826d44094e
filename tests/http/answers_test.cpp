// What answers say, and what becomes of everything that a request says: parameters are used or
// refused, errors are bounded, messages tell what happened.
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

std::string text_at(const json::value& value, const char* name) {
  return value.at(name).as_string().c_str();
}

Response refused_as(std::string reason, std::string detail) {
  TestServer server;
  server.on_io([&] {
    SubmitResult refused{.status = SubmitStatus::refused};
    refused.reason = std::move(reason);
    refused.detail = std::move(detail);
    server.engine.scripted.push_back(refused);
  });
  Client client = server.connect();
  Response response = place(client, "k1");
  CHECK(place(client, "k1").body == response.body);  // I10
  return response;
}

}  // namespace

TEST_CASE("filters_limit_and_cursor_go_with_a_correlation_id") {
  TestServer server;
  Client client = server.connect();
  std::vector<std::string> ids;
  for (int i = 0; i < 4; ++i) {
    const std::string customer = i % 2 == 0 ? R"("even")" : R"("odd")";
    ids.push_back(
        text_at(place(client, "k" + std::to_string(i), order_body({{"customer_id", customer}}),
                      "X-Correlation-ID: trip-7\r\n")
                    .parsed(),
                "order_id"));
  }
  server.on_io([&] { server.engine.apply = false; });
  ids.push_back(text_at(place(client, "k4", order_body(), "X-Correlation-ID: trip-7\r\n").parsed(),
                        "order_id"));
  const auto found = [&](const std::string& query) {
    const Response response = client.request("GET", "/v1/orders?correlation_id=trip-7" + query);
    check_contract("GET", "/v1/orders", response);
    std::vector<std::string> orders;
    const json::value body = response.parsed();
    for (const auto& order : body.at("orders").as_array())
      orders.push_back(text_at(order, "order_id"));
    return orders;
  };
  CHECK(found("") == std::vector<std::string>(ids.rbegin(), ids.rend()));
  CHECK(found("&customer_id=even") == std::vector{ids[2], ids[0]});
  CHECK(found("&customer_id=other").empty());
  CHECK(found("&status=CANCELLED").empty());
  CHECK(found("&limit=2") == std::vector{ids[4], ids[3]});
  const Response first =
      client.request("GET", "/v1/orders?limit=2&correlation_id=trip-7&customer_id=odd");
  CHECK_FALSE(first.parsed().as_object().contains("next_cursor"));
  const Response page = client.request("GET", "/v1/orders?limit=2&correlation_id=trip-7");
  CHECK(found("&limit=2&cursor=" + text_at(page.parsed(), "next_cursor")) ==
        std::vector{ids[2], ids[1]});
  CHECK(client.request("GET", "/v1/orders?correlation_id=a%20b").status == 400);
  CHECK(client.request("GET", "/v1/orders?correlation_id=" + std::string(129, 'a')).status == 400);
}

TEST_CASE("limit_and_cursor_go_with_the_payments_of_an_order") {
  TestServer server;
  Client client = server.connect();
  const json::value order = place(client, "k1").parsed();
  const std::string id = text_at(order, "order_id");
  const std::string path = "/v1/payments?order_id=" + id;
  const json::value page = client.request("GET", path + "&limit=1").parsed();
  CHECK(page.at("payments").as_array().size() == 1);
  const Response rest =
      client.request("GET", path + "&limit=1&cursor=" + text_at(page, "next_cursor"));
  CHECK(rest.parsed().at("payments").as_array().empty());
}

TEST_CASE("verbose=0 and verbose=false are not verbose, and verbose=maybe is refused") {
  TestServer server;
  Client client = server.connect();
  for (const char* query : {"verbose=0", "verbose=false"})
    CHECK(client.request("GET", std::string("/readyz?") + query).body == R"({"status":"ready"})");
  CHECK(client.request("GET", "/readyz?verbose=maybe").status == 400);
}

TEST_CASE("uuids in capital letters are the same uuids") {
  TestServer server;
  Client client = server.connect();
  std::string id = text_at(place(client, "k1").parsed(), "order_id");
  for (char& c : id) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  const Response seen = client.request("GET", "/v1/orders/" + id);
  CHECK(seen.status == 200);
  check_contract("GET", "/v1/orders/{order_id}", seen);
  CHECK(client.request("GET", "/v1/payments?order_id=" + id)
            .parsed()
            .at("payments")
            .as_array()
            .size() == 1);
  CHECK(client.request("POST", "/v1/orders/" + id + "/cancel", {}, key_header("c1")).status == 200);
}

TEST_CASE("no answer holds more than twenty errors, wherever they were found") {
  TestServer server;
  Client client = server.connect();
  std::string lines = "[";
  for (int i = 0; i < 60; ++i)
    lines += std::string(i == 0 ? "" : ",") + R"({"sku":"same","quantity":1,"unit_price":1})";
  const Response response = place(client, "k1", order_body({{"items", lines + "]"}}));
  CHECK(response.status == 422);
  check_problem(response, "VALIDATION_FAILED", false);
  CHECK(response.parsed().at("errors").as_array().size() == 20);
}

TEST_CASE("an accepted order names its saga, and a transaction only where there is one") {
  TestServer server;
  Client client = server.connect();
  const Response first = place(client, "k1", order_body(), "Prefer: respond-async\r\n");
  CHECK(first.status == 202);
  check_contract("POST", "/v1/orders", first);
  CHECK(text_at(first.parsed(), "saga_id") == test_saga_id);
  CHECK_FALSE(first.parsed().as_object().contains("transaction_id"));
  CHECK(first.has("retry-after"));
  const Response again = place(client, "k1", order_body(), "Prefer: respond-async\r\n");
  CHECK(again.has("retry-after"));
  CHECK(text_at(again.parsed(), "saga_id") == test_saga_id);
  const Response seen = client.request("GET", first.header("location"));
  check_contract("GET", "/v1/orders/{order_id}", seen);
  CHECK(text_at(seen.parsed(), "saga_id") == test_saga_id);
  CHECK_FALSE(seen.parsed().as_object().contains("transaction_id"));
}

TEST_CASE("the preferences that an answer was made by are told") {
  TestServer server;
  server.on_io([&] { server.engine.scripted.push_back({.status = SubmitStatus::unknown}); });
  Client client = server.connect();
  const Response late = place(client, "k1", order_body(), "Prefer: wait=0\r\n");
  CHECK(late.status == 202);
  CHECK(late.header("preference-applied") == "wait=0");
  CHECK(late.has("retry-after"));
  const Response both = place(client, "k2", order_body(), "Prefer: applied, wait=1\r\n");
  CHECK(both.header("preference-applied") == "applied");  // it did not have to wait so long
  // Longer than the server waits: it is not kept.
  server.on_io([&] { server.engine.scripted.push_back({.status = SubmitStatus::unknown}); });
  CHECK_FALSE(place(client, "k3", order_body(), "Prefer: wait=3600\r\n").has("preference-applied"));
}

TEST_CASE("a refusal names the product, its price and what is left in members of their own") {
  const Response price = refused_as("PRICE_CHANGED", "book-123: now 3500");
  check_problem(price, "PRICE_CHANGED", false);
  CHECK(text_at(price.parsed(), "sku") == "book-123");
  CHECK(price.parsed().at("unit_price").as_int64() == 3500);
  const Response stock = refused_as("OUT_OF_STOCK", "book-123: 1 left");
  CHECK(text_at(stock.parsed(), "sku") == "book-123");
  CHECK(stock.parsed().at("available").as_int64() == 1);
  CHECK(text_at(refused_as("UNKNOWN_SKU", "book-9").parsed(), "sku") == "book-9");
  const Response words = refused_as("OUT_OF_STOCK", "more than can be stored");
  check_problem(words, "OUT_OF_STOCK", false);
  CHECK_FALSE(words.parsed().as_object().contains("sku"));
}

TEST_CASE("a_participants_own_reason_reaches_the_client") {
  const Response own = refused_as("CREDIT_FROZEN", "the account is frozen");
  CHECK(own.status == 409);
  check_problem(own, "CREDIT_FROZEN", false);
  CHECK(text_at(own.parsed(), "type") == "urn:txcoord:problem:credit-frozen");
  CHECK(text_at(own.parsed(), "detail") == "the account is frozen");
  // What is not written as a reason is not passed on as one.
  for (const char* text : {"credit frozen", "<b>", "9LIVES"})
    check_problem(refused_as(text, "no"), "ILLEGAL_STATE", false);
}

TEST_CASE("messages tell what is wrong and what to do") {
  TestServer server;
  Client client = server.connect();
  const auto detail = [&](const std::string& body) {
    return text_at(place(client, "k1", body).parsed(), "detail");
  };
  CHECK(detail("\xEF\xBB\xBF{}").find("byte order mark") != std::string::npos);
  CHECK(detail("   ").find("empty") != std::string::npos);
  CHECK(detail(order_body({{"payment_method", R"("cash")"}})) ==
        "the body is not valid: payment_method must be one of: wallet, card");
  CHECK(detail("{}").find("and 3 more") != std::string::npos);
}

TEST_CASE("names that are blank, or that people cannot see as they are, are refused") {
  TestServer server;
  Client client = server.connect();
  const auto status = [&](const std::string& name) {
    const std::string address =
        R"({"name":")" + name + R"(","postal_code":"1","prefecture":"p","city":"c","line1":"l"})";
    return place(client, "k1", order_body({{"shipping_address", address}})).status;
  };
  for (const char* name : {" ", "  \\u3000", "\\u00a0", "\\u200d", "a\\u202eb", "a\\u2066b",
                           "a\\u200bb", "\\ufeffa", "a\\u2028b", "a\\u061cb"}) {
    INFO(name);
    const Response refused = client.request(
        "POST", "/v1/orders",
        order_body({{"shipping_address",
                     std::string(R"({"name":")") + name +
                         R"(","postal_code":"1","prefecture":"p","city":"c","line1":"l"})"}}),
        key_header("k"));
    CHECK(refused.status == 422);
    CHECK(text_at(refused.parsed().at("errors").at(0), "field") == "shipping_address.name");
  }
  CHECK(status("a") == 201);
  CHECK(client.request("PUT", "/v1/inventory/a", R"({"title":" ","available":1})").status == 422);
}

TEST_CASE("what a client sent is told back as text that every reader takes") {
  TestServer server;
  Client client = server.connect();
  const Response query = client.request("GET", "/v1/orders?%ff%0a=1");
  CHECK(query.status == 400);
  check_problem(query, "VALIDATION_FAILED", false);
  const Response long_name = client.request("GET", "/v1/orders?" + std::string(5000, 'x') + "=1");
  CHECK(long_name.status == 400);
  check_problem(long_name, "VALIDATION_FAILED", false);
  client.send(
      "PUT /v1/wallets/c HTTP/1.1\r\nHost: t\r\nContent-Type: a\xff\r\nContent-Length: "
      "2\r\n\r\n{}");
  const Response type = client.receive();
  CHECK(type.status == 415);
  check_problem(type, "VALIDATION_FAILED", false);
}
