// A participant's own REST: what it serves and what it does not, and that for one thing a client
// finds one document, at the coordinator and at the participant.
#include <catch2/catch_test_macros.hpp>
#include <map>
#include <set>

#include "tests/http/contract.hpp"
#include "tests/http/participant_server.hpp"

using namespace txcoord;
using namespace txcoord::testing;

namespace {

using Names = std::set<std::string>;

// Written out, and not taken from the route table: a route that is lost or won shows here.
const Names every_process = {"GET /metrics", "GET /livez", "GET /readyz", "GET /openapi.json"};
const std::map<std::string, Names> own_routes = {
    {"order", {"GET /v1/order-rows", "GET /v1/order-rows/{order_id}"}},
    {"inventory",
     {"GET /v1/inventory", "GET /v1/inventory/{sku}", "PUT /v1/inventory/{sku}",
      "POST /v1/inventory/{sku}/restock", "GET /v1/reservations",
      "GET /v1/reservations/{reservation_id}"}},
    {"payment",
     {"GET /v1/wallets/{customer_id}", "PUT /v1/wallets/{customer_id}", "GET /v1/payments",
      "GET /v1/payments/{payment_id}"}},
    {"shipping", {"GET /v1/shipments", "GET /v1/shipments/{shipment_id}"}}};

Names served_by(const Names& participants) {
  Names served = every_process;
  for (const std::string& name : participants)
    served.insert(own_routes.at(name).begin(), own_routes.at(name).end());
  return served;
}

std::string text_at(const json::value& value, const char* name) {
  return value.at(name).as_string().c_str();
}

bool says(const Response& response, std::string_view part) {
  return response.body.find(part) != std::string::npos;
}

Names in_openapi(Client& client) {
  Names found;
  const Response response = client.request("GET", "/openapi.json");
  REQUIRE(response.status == 200);
  const json::value document = response.parsed();
  for (const auto& path : document.at("paths").as_object()) {
    for (const auto& operation : path.value().as_object()) {
      std::string method(operation.key());
      for (char& c : method) c = static_cast<char>(c & ~0x20);
      found.insert(method + " " + std::string(path.key()));
    }
  }
  return found;
}

// A path of the route, for something that is not there.
std::string sample_of(const http::Route& route) {
  std::string path(route.path);
  const std::size_t open = path.find('{');
  if (open == std::string::npos) return path;
  return path.replace(open, path.find('}') - open + 1, unknown_uuid);
}

// An order in all four services, and what a client knows of it.
struct Placed {
  std::string order_id, payment_id, shipment_id, reservation_id, customer_id;
};
Placed place(Client& coordinator) {
  const Response response =
      coordinator.request("POST", "/v1/orders", order_body(), key_header("an-order"));
  REQUIRE(response.status == 201);
  const json::value order = response.parsed();
  return {text_at(order, "order_id"), text_at(order.at("payment"), "payment_id"),
          text_at(order.at("shipment"), "shipment_id"),
          text_at(order.at("items").at(0), "reservation_id"), text_at(order, "customer_id")};
}

// A TestServer does not start with products.
void stock(TestServer& server) {
  server.on_io([&] {
    for (int i = 0; i < 60; ++i) {
      const std::string sku = "book-" + std::to_string(100 + i);
      server.world.stock[sku] = {sku, "title", "books", 3500, 5, 1, 0, 2};
    }
    server.world.wallets["customer-001"] = {"customer-001", 10'000};
  });
}

}  // namespace

TEST_CASE("each participant serves its part of the routes, and its openapi.json says just that") {
  TestServer coordinator;
  for (const Names& names : {Names{"order"}, Names{"inventory"}, Names{"payment"},
                             Names{"shipping"}, Names{"payment", "shipping"}}) {
    const auto server = ParticipantServer::beside(coordinator, names);
    Client client = server->connect();
    const Names expected = served_by(names);
    CHECK(in_openapi(client) == expected);
    for (const http::Route& route : http::routes()) {
      const std::string what = std::string(route.method) + " " + std::string(route.path);
      const Response answer = client.request(route.method, sample_of(route));
      INFO(*names.begin() << ": " << what << " answered " << answer.status << ' ' << answer.body);
      CHECK(answer.has("x-correlation-id"));
      CHECK(answer.has("traceparent"));
      const bool here = answer.status != 405 && !says(answer, "there is nothing at this path");
      CHECK(here == expected.contains(what));
      if (!here) CHECK((answer.status == 404 || answer.status == 405));
    }
  }
}

TEST_CASE("what is not a participant's to do is refused, and says who does it") {
  TestServer coordinator;
  Client shipping = ParticipantServer::beside(coordinator, {"shipping"})->connect();
  const Response patched = shipping.request("PATCH", std::string("/v1/shipments/") + unknown_uuid,
                                            R"({"status":"SHIPPED"})", key_header("k"));
  CHECK(patched.status == 405);
  check_problem(patched, "VALIDATION_FAILED", false);
  CHECK(patched.header("allow") == "GET, HEAD, OPTIONS");
  CHECK(says(patched, "there is no PATCH here: ask the coordinator"));
  const Response order = shipping.request("GET", std::string("/v1/orders/") + unknown_uuid);
  check_problem(order, "NOT_FOUND", false);
  CHECK(says(order, "there is nothing at this path here: ask the coordinator"));
  CHECK_FALSE(says(shipping.request("GET", "/v1/nothing"), "ask"));
  Client whole = coordinator.connect();
  const Response rows = whole.request("GET", "/v1/order-rows");
  check_problem(rows, "NOT_FOUND", false);
  CHECK(says(rows, "ask the order participant"));
}

TEST_CASE("for one thing there is one document, at the coordinator and at the participant") {
  TestServer server;
  stock(server);
  Client coordinator = server.connect();
  const Placed placed = place(coordinator);
  const std::string of_order = "?order_id=" + placed.order_id;
  const std::map<std::string, std::vector<std::string>> paths = {
      {"inventory",
       {"/v1/inventory", "/v1/inventory?limit=3", "/v1/inventory/book-101", "/v1/inventory/none",
        "/v1/reservations" + of_order, "/v1/reservations/" + placed.reservation_id}},
      {"payment",
       {"/v1/wallets/customer-001", "/v1/wallets/nobody", "/v1/payments" + of_order,
        "/v1/payments?customer_id=" + placed.customer_id, "/v1/payments/" + placed.payment_id}},
      {"shipping", {"/v1/shipments" + of_order, "/v1/shipments/" + placed.shipment_id}}};
  for (const auto& [name, asked] : paths) {
    Client participant = ParticipantServer::beside(server, {name})->connect();
    for (const std::string& path : asked) {
      const Response whole = coordinator.request("GET", path);
      const Response alone = participant.request("GET", path);
      INFO(path << ": " << whole.body);
      CHECK(whole.body.size() > 30);  // two empty answers are no proof
      CHECK(alone.status == whole.status);
      CHECK(alone.body == whole.body);
      CHECK(alone.header("content-type") == whole.header("content-type"));
    }
  }
  // A cursor of the one is a cursor of the other.
  Client inventory = ParticipantServer::beside(server, {"inventory"})->connect();
  const std::string cursor =
      text_at(coordinator.request("GET", "/v1/inventory?limit=3").parsed(), "next_cursor");
  const Response next = inventory.request("GET", "/v1/inventory?limit=3&cursor=" + cursor);
  CHECK(text_at(next.parsed().at("inventory").at(0), "sku") == "book-103");
}

TEST_CASE("a change at the participant is the coordinator's too; one key has one effect at both") {
  TestServer server;
  stock(server);
  Client coordinator = server.connect();
  const auto inventory = ParticipantServer::beside(server, {"inventory"});
  Client client = inventory->connect();
  const Response put = client.request("PUT", "/v1/inventory/book-900", R"({"available":7})");
  check_contract("PUT", "/v1/inventory/{sku}", put, inventory->routes());
  CHECK(coordinator.request("GET", "/v1/inventory/book-900").body == put.body);
  const auto restock = [](Client& at, const char* body) {
    return at.request("POST", "/v1/inventory/book-900/restock", body, key_header("r1"));
  };
  const Response added = restock(client, R"({"quantity":3})");
  CHECK(added.parsed().at("available") == 10);
  const Response replayed = restock(coordinator, R"({"quantity":3})");
  CHECK(replayed.header("idempotency-replayed") == "true");
  CHECK(replayed.body == added.body);
  CHECK(restock(client, R"({"quantity":3})").header("idempotency-replayed") == "true");
  check_problem(restock(client, R"({"quantity":4})"), "KEY_REUSED", false);
  CHECK(client.request("GET", "/v1/inventory/book-900").parsed().at("available") == 10);
  Client payment = ParticipantServer::beside(server, {"payment"})->connect();
  const Response wallet = payment.request("PUT", "/v1/wallets/c9", R"({"balance":12})");
  CHECK(wallet.body == R"({"customer_id":"c9","balance":12,"currency":"JPY"})");
  CHECK(coordinator.request("GET", "/v1/wallets/c9").body == wallet.body);
}

TEST_CASE("a participant is as strict as the coordinator, and says it in the same words") {
  TestServer server;
  stock(server);
  Client coordinator = server.connect();
  Client participant = ParticipantServer::beside(server, {"inventory", "payment"})->connect();
  struct Bad {
    int status;
    const char *method, *path, *body, *headers;
  };
  const std::string long_body = R"({"title":")" + std::string(70'000, 'x') + "\"}";
  const Bad bad[] = {{422, "PUT", "/v1/inventory/b", R"({"avaliable":7})", ""},
                     {422, "PUT", "/v1/inventory/b", R"({"available":-1})", ""},
                     {422, "PUT", "/v1/wallets/c", R"({"balance":1.0})", ""},
                     {400, "PUT", "/v1/wallets/c", R"({"balance":1,"balance":2})", ""},
                     {400, "PUT", "/v1/wallets/c", R"({"balance":)", ""},
                     {400, "POST", "/v1/inventory/book-100/restock", R"({"quantity":3})", ""},
                     {422, "POST", "/v1/inventory/book-100/restock", R"({"quantity":0})",
                      "Idempotency-Key: k\r\n"},
                     {400, "POST", "/v1/inventory/book-100/restock", R"({"quantity":1})",
                      "Idempotency-Key: k\r\nIdempotency-Key: l\r\n"},
                     {400, "GET", "/v1/inventory?limit=201", "", ""},
                     {400, "GET", "/v1/inventory?cursor=c1zz", "", ""},
                     {400, "GET", "/v1/inventory?colour=red", "", ""},
                     {400, "GET", "/v1/payments", "", ""},
                     {400, "GET", "/v1/reservations?order_id=1", "", ""},
                     {404, "GET", "/v1/payments/1", "", ""},
                     {405, "DELETE", "/v1/wallets/c", "", ""},
                     {413, "PUT", "/v1/inventory/b", long_body.c_str(), ""}};
  for (const Bad& one : bad) {
    const auto send = [&](Client& at) {
      return at.request(one.method, one.path, one.body, one.headers);
    };
    const Response alone = send(participant);
    INFO(one.method << ' ' << one.path << ' ' << alone.body);
    CHECK(alone.status == one.status);
    CHECK(alone.header("content-type") == "application/problem+json");
    Client fresh = server.connect();  // the coordinator closes after a 413
    CHECK(alone.body == send(fresh).body);
  }
  Client text = ParticipantServer::beside(server, {"payment"})->connect();
  text.send(
      "PUT /v1/wallets/c HTTP/1.1\r\nHost: test\r\nContent-Type: text/plain\r\n"
      "Content-Length: 13\r\n\r\n{\"balance\":1}");
  CHECK(text.receive().status == 415);
  CHECK(coordinator.request("GET", "/v1/wallets/c").status == 404);
}

TEST_CASE(
    "what is decided and not applied is the coordinator's to tell; a participant shows rows") {
  TestServer server;
  server.on_io([&] { server.engine.apply = false; });
  Client coordinator = server.connect();
  const Placed placed = place(coordinator);
  Client participant =
      ParticipantServer::beside(server, {"order", "inventory", "payment", "shipping"})->connect();
  const auto seen = [&](Client& at) {
    return Names{at.request("GET", "/v1/payments?order_id=" + placed.order_id).body,
                 at.request("GET", "/v1/shipments?order_id=" + placed.order_id).body,
                 at.request("GET", "/v1/reservations?order_id=" + placed.order_id).body};
  };
  CHECK(seen(participant) ==
        Names{R"({"payments":[]})", R"({"shipments":[]})", R"({"reservations":[]})"});
  CHECK(coordinator.request("GET", "/v1/payments/" + placed.payment_id).status == 200);
  CHECK(participant.request("GET", "/v1/payments/" + placed.payment_id).status == 404);
  CHECK(participant.request("GET", "/v1/shipments/" + placed.shipment_id).status == 404);
  CHECK(participant.request("GET", "/v1/reservations/" + placed.reservation_id).status == 404);
  CHECK(participant.request("GET", "/v1/order-rows/" + placed.order_id).status == 404);
  server.on_io([&] { server.engine.apply_now(*server.engine.submitted.back()); });
  CHECK(seen(participant) == seen(coordinator));
  CHECK(participant.request("GET", "/v1/order-rows/" + placed.order_id).status == 200);
}

TEST_CASE("the order participant shows its rows, which are not the order") {
  TestServer server;
  Client coordinator = server.connect();
  const Placed placed = place(coordinator);
  const auto orders = ParticipantServer::beside(server, {"order"});
  Client client = orders->connect();
  const Response found = client.request("GET", "/v1/order-rows/" + placed.order_id);
  check_contract("GET", "/v1/order-rows/{order_id}", found, orders->routes());
  const json::value row = found.parsed();
  const json::value order = coordinator.request("GET", "/v1/orders/" + placed.order_id).parsed();
  for (const char* member : {"order_id", "customer_id", "status", "total_amount", "created_at"})
    CHECK(row.at(member) == order.at(member));
  CHECK(row.at("items").as_array().size() == order.at("items").as_array().size());
  for (const char* member : {"payment", "shipment", "applied", "timeline"})
    CHECK_FALSE(row.as_object().contains(member));
  const auto page = [&](const std::string& query) {
    const Response response = client.request("GET", "/v1/order-rows" + query);
    check_contract("GET", "/v1/order-rows", response, orders->routes());
    return response.parsed();
  };
  CHECK(page("?customer_id=" + placed.customer_id).at("order_rows").at(0) == row);
  CHECK(page("?status=SHIPPED").at("order_rows").as_array().empty());
  const std::string cursor = text_at(page("?limit=1"), "next_cursor");
  CHECK(page("?limit=1&cursor=" + cursor).at("order_rows").as_array().empty());
  CHECK(client.request("GET", std::string("/v1/order-rows/") + unknown_uuid).status == 404);
  CHECK(client.request("GET", "/v1/order-rows?status=NEW").status == 400);
}

TEST_CASE("with a token, data is for those who bear it; how the process is, for everybody") {
  TestServer server;
  stock(server);
  const auto guarded = ParticipantServer::beside(server, {"inventory"}, "s3cret");
  Client client = guarded->connect();
  for (const char* header : {"", "Authorization: Bearer other!\r\n", "Authorization: s3cret\r\n",
                             "Authorization: Basic s3cret\r\n"}) {
    for (const char* method : {"GET", "PUT", "HEAD"}) {
      const char* body = *method == 'P' ? R"({"available":99})" : "";
      const Response refused = client.request(method, "/v1/inventory/book-100", body, header);
      INFO(method << ' ' << header);
      CHECK(refused.status == 401);
      CHECK(refused.header("www-authenticate") == "Bearer");
    }
  }
  check_problem(client.request("GET", "/v1/inventory"), "UNAUTHENTICATED", false);
  const char* bearer = "Authorization: Bearer s3cret\r\n";
  const Response seen = client.request("GET", "/v1/inventory/book-100", "", bearer);
  CHECK(seen.parsed().at("available") == 5);  // none of the PUTs came through
  CHECK(client.request("PUT", "/v1/inventory/book-100", R"({"available":6})", bearer).status ==
        200);
  for (const char* path : {"/livez", "/readyz", "/metrics", "/openapi.json"})
    CHECK(client.request("GET", path).status == 200);
  const json::value document = client.request("GET", "/openapi.json").parsed();
  const json::value& get = document.at("paths").at("/v1/inventory").at("get");
  CHECK(get.at("security").at(0).as_object().contains("internal_token"));
  CHECK(get.at("responses").as_object().contains("401"));
  CHECK(document.at("components").at("securitySchemes").at("internal_token").at("scheme") ==
        "bearer");
  CHECK_FALSE(document.at("paths").at("/livez").at("get").as_object().contains("security"));
}

TEST_CASE("readyz tells which database is away; a read from it is 503; requests are counted") {
  TestServer server;
  const auto both = ParticipantServer::beside(server, {"payment", "shipping"});
  Client client = both->connect();
  check_contract("GET", "/readyz", client.request("GET", "/readyz?verbose"), both->routes());
  server.on_io([&] { server.world.away = {"payment"}; });
  CHECK(client.request("GET", "/livez").body == R"({"status":"live"})");
  CHECK(client.request("GET", "/readyz").body == R"({"status":"not_ready"})");
  const Response verbose = client.request("GET", "/readyz?verbose=true");
  CHECK(verbose.status == 503);
  CHECK(verbose.header("retry-after") == "1");
  check_contract("GET", "/readyz", verbose, both->routes());
  CHECK(verbose.parsed().at("participants") ==
        json::value(
            {{{"name", "payment"}, {"reachable", false}, {"last_error", "connection refused"}},
             {{"name", "shipping"}, {"reachable", true}}}));
  const std::string payment = std::string("/v1/payments/") + unknown_uuid;
  check_problem(client.request("GET", payment), "PARTICIPANT_UNAVAILABLE", true);
  server.on_io([&] {
    server.world.away.clear();
    server.world.silent = {"payment"};
  });
  CHECK(client.request("GET", payment).header("retry-after") == "1");
  const Response metrics = client.request("GET", "/metrics");
  CHECK(says(
      metrics,
      R"(txcoord_http_requests_total{code="503",method="GET",route="/v1/payments/{payment_id}"} 2)"));
  CHECK_FALSE(says(metrics, unknown_uuid));
}

TEST_CASE("the admin port says how the process is, and holds no data") {
  TestServer server;
  Client admin = ParticipantServer::beside(server, {"inventory"})->connect_admin();
  for (const char* path : {"/livez", "/readyz", "/metrics", "/openapi.json"})
    CHECK(admin.request("GET", path).status == 200);
  CHECK(admin.request("GET", "/v1/inventory").status == 404);
}

TEST_CASE("the branch protocol stays beside it, with its own failures and its own bound") {
  TestServer server;
  Client client = ParticipantServer::beside(server, {"inventory"}, "s3cret")->connect();
  const auto call = [&](const std::string& body, const char* header) {
    return client.request("POST", "/participant/v1/inventory/stock", body, header);
  };
  CHECK(call("{}", "").status == 401);
  const char* bearer = "Authorization: Bearer s3cret\r\n";
  CHECK(call("{}", bearer).status == 400);
  for (const char* path : {"/participant/v2/inventory/stock", "/participant/v1/moon/stock"}) {
    const Response unknown = client.request("POST", path, "{}", bearer);
    CHECK(unknown.status == 404);
    CHECK(text_at(unknown.parsed(), "failure") == "error");
  }
  const std::string sku(ParticipantServer::rest_body_bytes_max + 1, 'x');
  CHECK(call(R"({"sku":")" + sku + "\"}", bearer).status == 200);
}
