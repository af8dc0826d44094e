// What is wrong with a request is named, field by field, and nothing wrong reaches the engine.
#include <catch2/catch_test_macros.hpp>

#include "tests/http/contract.hpp"
#include "tests/http/test_server.hpp"

using namespace txcoord;
using namespace txcoord::testing;

namespace {

Response place(Client& client, const std::string& body) {
  return client.request("POST", "/v1/orders", body, key_header("k"));
}

std::string items(const std::string& sku, const std::string& quantity, const std::string& price) {
  return R"([{"sku":)" + sku + R"(,"quantity":)" + quantity + R"(,"unit_price":)" + price + "}]";
}

std::string first_field(const Response& response) {
  const json::value problem = response.parsed();
  const auto* errors = problem.as_object().if_contains("errors");
  return errors == nullptr ? "" : std::string(errors->at(0).at("field").as_string().c_str());
}

struct Wrong {
  const char* name;
  std::string body;
  int status;
  std::string field;
};

std::vector<Wrong> wrong_orders() {
  const std::string ok_items = items(R"("a")", "1", "1");
  std::string many = "[";
  for (int i = 0; i <= 100; ++i) {
    many += std::string(i == 0 ? "" : ",") + R"({"sku":"s)" + std::to_string(i) +
            R"(","quantity":1,"unit_price":1})";
  }
  many += "]";
  const auto address = [](const std::string& name) {
    return R"({"name":)" + name + R"(,"postal_code":"1","prefecture":"p","city":"c","line1":"l"})";
  };
  return {
      {"not JSON", "{", 400, ""},
      {"nothing after the body", order_body() + "x", 400, ""},
      {"two bodies", order_body() + order_body(), 400, ""},
      {"an array", "[]", 422, ""},
      {"a member given twice", R"({"customer_id":"a","customer_id":"b"})", 400, "customer_id"},
      {"a nested member given twice",
       order_body(
           {{"items",
             R"([{"sku":"a","quantity":1,"unit_price":1},{"sku":"b","quantity":1,"sku":"c"}])"}}),
       400, "items[1].sku"},
      {"a member given twice in two spellings", R"({"customer_id":"a","customer\u005fid":"b"})",
       400, "customer_id"},
      {"nested too deep", std::string(40, '[') + std::string(40, ']'), 400, std::string()},
      {"a comment", "/* */" + order_body(), 400, ""},
      {"a trailing comma", R"({"customer_id":"a",})", 400, ""},
      {"bytes that are not UTF-8", order_body({{"customer_id", "\"\xff\xfe\""}}), 400,
       "customer_id"},
      {"a lone surrogate", order_body({{"customer_id", R"("\ud800")"}}), 400, "customer_id"},
      {"an unknown field", order_body({{"colour", "1"}}), 422, "colour"},
      {"an unknown field inside",
       order_body({{"items", R"([{"sku":"a","quantity":1,"unit_price":1,"x":1}])"}}), 422,
       "items[0].x"},
      {"a missing field", order_body({{"customer_id", ""}}), 422, "customer_id"},
      {"a missing field inside", order_body({{"items", R"([{"sku":"a","quantity":1}])"}}), 422,
       "items[0].unit_price"},
      {"null for a field", order_body({{"customer_id", "null"}}), 422, "customer_id"},
      {"no items", order_body({{"items", "[]"}}), 422, "items"},
      {"101 items", order_body({{"items", many}}), 422, "items"},
      {"a SKU twice",
       order_body(
           {{"items",
             R"([{"sku":"a","quantity":1,"unit_price":1},{"sku":"a","quantity":2,"unit_price":1}])"}}),
       422, "items[1].sku"},
      {"an empty SKU", order_body({{"items", items(R"("")", "1", "1")}}), 422, "items[0].sku"},
      {"a SKU of 65", order_body({{"items", items('"' + std::string(65, 'a') + '"', "1", "1")}}),
       422, "items[0].sku"},
      {"a SKU with a space", order_body({{"items", items(R"("a b")", "1", "1")}}), 422,
       "items[0].sku"},
      {"a SKU with a NUL", order_body({{"items", items(R"("a\u0000b")", "1", "1")}}), 422,
       "items[0].sku"},
      {"quantity 0", order_body({{"items", items(R"("a")", "0", "1")}}), 422, "items[0].quantity"},
      {"a negative quantity", order_body({{"items", items(R"("a")", "-1", "1")}}), 422,
       "items[0].quantity"},
      {"quantity above a million", order_body({{"items", items(R"("a")", "1000001", "1")}}), 422,
       "items[0].quantity"},
      {"quantity 1.0", order_body({{"items", items(R"("a")", "1.0", "1")}}), 422,
       "items[0].quantity"},
      {"quantity 1e3", order_body({{"items", items(R"("a")", "1e3", "1")}}), 422,
       "items[0].quantity"},
      {"quantity in quotes", order_body({{"items", items(R"("a")", R"("1")", "1")}}), 422,
       "items[0].quantity"},
      {"quantity true", order_body({{"items", items(R"("a")", "true", "1")}}), 422,
       "items[0].quantity"},
      {"a price of 2^63", order_body({{"items", items(R"("a")", "1", "9223372036854775808")}}), 422,
       "items[0].unit_price"},
      {"a price of 2^64", order_body({{"items", items(R"("a")", "1", "18446744073709551616")}}),
       422, "items[0].unit_price"},
      {"a price of 1e400", order_body({{"items", items(R"("a")", "1", "1e400")}}), 422,
       "items[0].unit_price"},
      {"a price above 10^12", order_body({{"items", items(R"("a")", "1", "1000000000001")}}), 422,
       "items[0].unit_price"},
      {"a negative price", order_body({{"items", items(R"("a")", "1", "-1")}}), 422,
       "items[0].unit_price"},
      {"a name of 201 characters",
       order_body({{"shipping_address", address('"' + std::string(201, 'n') + '"')}}), 422,
       "shipping_address.name"},
      {"an empty name", order_body({{"shipping_address", address(R"("")")}}), 422,
       "shipping_address.name"},
      {"a name with a control character", order_body({{"shipping_address", address(R"("a\nb")")}}),
       422, "shipping_address.name"},
      {"a name with a C1 control", order_body({{"shipping_address", address(R"("a\u0085b")")}}),
       422, "shipping_address.name"},
      {"an address that is text", order_body({{"shipping_address", R"("home")"}}), 422,
       "shipping_address"},
      {"a payment method that is not one", order_body({{"payment_method", R"("cash")"}}), 422,
       "payment_method"},
      {"a token that is not one",
       order_body({{"payment_method", R"("card")"}, {"payment_token", R"("tok")"}}), 422,
       "payment_token"},
      {"a token for a wallet", order_body({{"payment_token", R"("tok_ok")"}}), 422,
       "payment_token"},
      {"a mode that is not one", order_body({{"mode", R"("3pc")"}}), 422, "mode"},
      {"a currency, which is never asked", order_body({{"currency", R"("JPY")"}}), 422, "currency"},
  };
}

}  // namespace

TEST_CASE("a wrong order is refused with the field that is wrong") {
  TestServer server;
  Client client = server.connect();
  for (const Wrong& wrong : wrong_orders()) {
    DYNAMIC_SECTION(wrong.name) {
      const Response response = place(client, wrong.body);
      CHECK(response.status == wrong.status);
      check_problem(response, "VALIDATION_FAILED", false);
      if (!wrong.field.empty()) CHECK(first_field(response) == wrong.field);
      CHECK(server.on_io([&] { return server.engine.submitted.empty(); }));
    }
  }
}

TEST_CASE("every wrong field is named, up to a bound") {
  TestServer server;
  Client client = server.connect();
  const Response some =
      place(client, order_body({{"customer_id", "1"}, {"payment_method", "2"}, {"extra", "3"}}));
  CHECK(some.parsed().at("errors").as_array().size() == 3);
  std::map<std::string, std::string> unknown;
  for (int i = 0; i < 40; ++i) unknown["x" + std::to_string(i)] = "1";
  CHECK(place(client, order_body(unknown)).parsed().at("errors").as_array().size() == 20);
}

TEST_CASE("values at their limits are taken") {
  TestServer server;
  Client client = server.connect();
  const std::string sku = '"' + std::string(64, 'a') + '"';
  CHECK(place(client, order_body({{"items", items(sku, "1000000", "1000000000000")}})).status ==
        201);
  std::string kanji;
  for (int i = 0; i < 200; ++i) kanji += "漢";
  const std::string address =
      R"({"name":")" + kanji + R"(","postal_code":"1","prefecture":"p","city":"c","line1":"l"})";
  CHECK(client
            .request("POST", "/v1/orders", order_body({{"shipping_address", address}}),
                     key_header("k2"))
            .status == 201);
  CHECK(client
            .request("POST", "/v1/orders", order_body({{"items", items(R"("a")", "1", "0")}}),
                     key_header("k3"))
            .status == 201);
}

TEST_CASE("a total that 64 bits cannot hold is refused, never wrapped") {
  TestServer server;
  Client client = server.connect();
  std::string lines = "[";
  for (int i = 0; i < 10; ++i) {
    lines += std::string(i == 0 ? "" : ",") + R"({"sku":"s)" + std::to_string(i) +
             R"(","quantity":1000000,"unit_price":1000000000000})";
  }
  const Response response = place(client, order_body({{"items", lines + "]"}}));
  CHECK(response.status == 422);
  CHECK(first_field(response) == "items[9]");
}

TEST_CASE("Idempotency-Key: required, once, 1 to 255 visible ASCII characters") {
  TestServer server;
  Client client = server.connect();
  const auto with = [&](const std::string& headers) {
    return client.request("POST", "/v1/orders", order_body(), headers);
  };
  check_problem(with(""), "KEY_MISSING", false);
  CHECK(with("").status == 400);
  for (const std::string& key :
       {std::string(""), std::string("\"\""), std::string("\"open"), std::string("a b"),
        std::string("\"a\"b\""), std::string("k\xc3\xa9"), std::string(256, 'k')}) {
    const Response response = with(key_header(key));
    INFO(key);
    CHECK(response.status == 400);
    check_problem(response, "VALIDATION_FAILED", false);
    CHECK(first_field(response) == "Idempotency-Key");
  }
  const Response repeated = with(key_header("a") + key_header("a"));
  CHECK(repeated.status == 400);
  CHECK(first_field(repeated) == "Idempotency-Key");
  CHECK(with(key_header(std::string(255, 'k'))).status == 201);
  CHECK(with("idempotency-key: lower\r\n").status == 201);
}

TEST_CASE("a body that is not application/json is 415") {
  TestServer server;
  Client client = server.connect();
  const auto send = [&](const std::string& type) {
    const std::string body = order_body();
    client.send("POST /v1/orders HTTP/1.1\r\nHost: t\r\nIdempotency-Key: k\r\n" + type +
                "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
    return client.receive();
  };
  for (const char* type :
       {"", "Content-Type: text/plain\r\n", "Content-Type: application/jsonp\r\n",
        "Content-Type: application/json; charset=latin1\r\n"}) {
    const Response response = send(type);
    INFO(type);
    CHECK(response.status == 415);
    check_problem(response, "VALIDATION_FAILED", false);
  }
  CHECK(send("Content-Type: Application/JSON; charset=\"UTF-8\"\r\n").status == 201);
}

TEST_CASE("queries are strict") {
  TestServer server;
  Client client = server.connect();
  const std::vector<std::pair<const char*, const char*>> wrong = {
      {"/v1/orders?limit=201", "limit"},
      {"/v1/orders?limit=0", "limit"},
      {"/v1/orders?limit=ten", "limit"},
      {"/v1/orders?limit=", "limit"},
      {"/v1/orders?limit=1&limit=2", "limit"},
      {"/v1/orders?status=LOST", "status"},
      {"/v1/orders?colour=1", "colour"},
      {"/v1/orders?cursor=zz", "cursor"},
      {"/v1/orders?customer_id=%zz", "query"},
      {"/v1/orders?customer_id=%00", "customer_id"},
      {"/v1/reservations", "order_id"},
      {"/v1/reservations?order_id=1", "order_id"},
      {"/v1/payments", "order_id"},
      {"/v1/shipments?order_id=x", "order_id"},
      {"/v1/transactions?state=lost", "state"},
      {"/v1/inventory?cursor=c1zz", "cursor"}};
  for (const auto& [path, field] : wrong) {
    const Response response = client.request("GET", path);
    INFO(path);
    CHECK(response.status == 400);
    check_problem(response, "VALIDATION_FAILED", false);
    CHECK(first_field(response) == field);
  }
  CHECK(client.request("GET", "/v1/orders?limit=200").status == 200);
}

TEST_CASE("unknown paths are 404, known ones with another method 405 with Allow") {
  TestServer server;
  Client client = server.connect();
  for (const char* path :
       {"/", "/v1", "/v1/orders/", "/v1/orders//cancel", "/v2/orders", "/admin/v1/transactions",
        "/v1/orders/a/b", "/v1/inventory/%zz", "*", "/V1/orders", "//v1/orders"}) {
    const Response response = client.request("GET", path);
    INFO(path);
    CHECK(response.status == 404);
    check_problem(response, "NOT_FOUND", false);
  }
  const Response wrong = client.request("DELETE", "/v1/orders");
  CHECK(wrong.status == 405);
  check_problem(wrong, "VALIDATION_FAILED", false);
  CHECK(wrong.header("allow") == "POST, GET, HEAD, OPTIONS");
  CHECK(client.request("BREW", "/v1/inventory/a").status == 405);
  const Response options = client.request("OPTIONS", "/v1/wallets/c1");
  CHECK(options.status == 204);
  CHECK(options.header("allow") == "GET, HEAD, PUT, OPTIONS");
  CHECK(client.request("OPTIONS", "*").status == 204);
  CHECK(client.request("OPTIONS", "/nowhere").status == 404);
}

TEST_CASE("ids in the path that a client chooses are told what is wrong with them") {
  TestServer server;
  Client client = server.connect();
  const Response sku = client.request("PUT", "/v1/inventory/" + std::string(65, 'a'), "{}");
  CHECK(sku.status == 400);
  CHECK(first_field(sku) == "sku");
  CHECK(client.request("GET", "/v1/wallets/a%20b").status == 400);
  CHECK(client.request("PUT", "/v1/inventory/a%2Fb", R"({"available":1})")
            .parsed()
            .at("sku")
            .as_string() == "a/b");
}

TEST_CASE("X-Correlation-ID and traceparent are echoed if they are ones, and made if not") {
  TestServer server;
  Client client = server.connect();
  const std::string trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  const Response kept = client.request("GET", "/livez", {},
                                       "X-Correlation-ID: abc-1\r\ntraceparent: " + trace + "\r\n");
  CHECK(kept.header("x-correlation-id") == "abc-1");
  CHECK(kept.header("traceparent") == trace);
  const std::string zeros = "00-00000000000000000000000000000000-b7ad6b7169203331-01";
  const Response made = client.request("GET", "/livez", {},
                                       "X-Correlation-ID: a b\r\ntraceparent: " + zeros + "\r\n");
  CHECK(made.header("x-correlation-id").size() == 36);
  CHECK(made.header("traceparent").size() == 55);
  CHECK(made.header("traceparent") != zeros);
  const std::string too_long = "X-Correlation-ID: " + std::string(129, 'a') + "\r\n";
  CHECK(client.request("GET", "/livez", {}, too_long).header("x-correlation-id").size() == 36);
}
