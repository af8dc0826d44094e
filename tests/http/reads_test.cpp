// Reads: what each service shows, what is decided and not applied laid over it, and a service away.
#include <catch2/catch_test_macros.hpp>

#include "tests/http/contract.hpp"
#include "tests/http/test_server.hpp"
#include "txcoord/base/ids.hpp"

using namespace txcoord;
using namespace txcoord::testing;

namespace {

Response place(Client& client, std::string_view key, const std::string& body = order_body()) {
  return client.request("POST", "/v1/orders", body, key_header(key));
}

std::string text_at(const json::value& value, const char* name) {
  return value.at(name).as_string().c_str();
}

void check_order(const Response& response, const char* status, bool applied) {
  INFO(response.body);
  REQUIRE(response.status == 200);
  check_contract("GET", "/v1/orders/{order_id}", response);
  CHECK(text_at(response.parsed(), "status") == status);
  CHECK(response.parsed().at("applied").as_bool() == applied);
}

}  // namespace

TEST_CASE("an order is one view of all four services, with its timeline") {
  TestServer server;
  Client client = server.connect();
  const Response placed = place(client, "k1");
  const Response seen = client.request("GET", placed.header("location"));
  check_order(seen, "CONFIRMED", true);
  const json::value order = seen.parsed();
  CHECK(order.at("payment") == placed.parsed().at("payment"));
  CHECK(text_at(order.at("shipment"), "tracking_number") == "TRK-1");
  CHECK(text_at(order.at("items").at(0), "reservation_status") == "RESERVED");
  CHECK(order.at("timeline").as_array().size() == 4);
  CHECK(order.at("waiting_for").as_array().empty());
}

TEST_CASE(
    "I9: decided and not applied is CONFIRMED, applied false, with its payment and shipment") {
  TestServer server;
  server.on_io([&] { server.engine.apply = false; });
  Client client = server.connect();
  const Response placed = place(client, "k1");
  CHECK(placed.status == 201);
  CHECK_FALSE(placed.parsed().at("applied").as_bool());
  const std::string order_id = text_at(placed.parsed(), "order_id");
  const Response seen = client.request("GET", placed.header("location"));
  check_order(seen, "CONFIRMED", false);
  CHECK(seen.parsed().at("payment") == placed.parsed().at("payment"));
  CHECK(seen.parsed().at("waiting_for").as_array().size() == 4);
  CHECK(text_at(seen.parsed(), "transaction_id") == test_gid);

  const auto list = [&](const std::string& path, const char* name) {
    return client.request("GET", path + "?order_id=" + order_id).parsed().at(name).as_array();
  };
  CHECK(list("/v1/payments", "payments").size() == 1);
  CHECK(list("/v1/shipments", "shipments").size() == 1);
  CHECK(list("/v1/reservations", "reservations").size() == 2);
  const json::value order = placed.parsed();
  const auto get = [&](const std::string& path, const std::string& id) {
    return client.request("GET", path + id);
  };
  const Response payment = get("/v1/payments/", text_at(order.at("payment"), "payment_id"));
  check_contract("GET", "/v1/payments/{payment_id}", payment);
  const Response shipment = get("/v1/shipments/", text_at(order.at("shipment"), "shipment_id"));
  check_contract("GET", "/v1/shipments/{shipment_id}", shipment);
  const Response reservation =
      get("/v1/reservations/", text_at(order.at("items").at(0), "reservation_id"));
  check_contract("GET", "/v1/reservations/{reservation_id}", reservation);
  const Response listed = client.request("GET", "/v1/orders");
  check_contract("GET", "/v1/orders", listed);
  CHECK(listed.parsed().at("orders").as_array().size() == 1);
}

TEST_CASE("a service that is away does not hide an order that waits for it") {
  TestServer server;
  server.on_io([&] {
    server.engine.apply = false;
    server.world.away = {"payment", "shipping"};
  });
  Client client = server.connect();
  const Response placed = place(client, "k1");
  check_order(client.request("GET", placed.header("location")), "CONFIRMED", false);
}

// As an accepted order is seen by the process that runs its saga, stopped at payment.
TEST_CASE("payment_is_away_and_an_undecided_order_promises_no_part_that_no_service_shows") {
  TestServer server;
  Client client = server.connect();
  const Response placed = place(client, "k1");
  const std::string order_id = text_at(placed.parsed(), "order_id");
  const auto undecided = [&] {
    engine::PendingOrder pending;
    pending.operation = server.engine.submitted.back();
    pending.waiting_for = {"payment"};
    server.engine.pending_orders[order_id] = pending;
  };
  const auto no_part_anywhere = [&] {
    server.world.reservations.clear();
    server.world.payments.clear();
    server.world.shipments.clear();
  };
  const auto check_nothing_promised = [&](const json::value& order) {
    CHECK_FALSE(order.as_object().contains("payment"));
    CHECK_FALSE(order.as_object().contains("shipment"));
    CHECK(order.at("waiting_for") == json::value({"payment"}));
  };
  const auto check_bare = [&] {
    const Response seen = client.request("GET", placed.header("location"));
    check_order(seen, "PENDING", false);
    check_nothing_promised(seen.parsed());
    CHECK_FALSE(seen.parsed().at("items").at(0).as_object().contains("reservation_status"));
  };
  SECTION("its row and its reservations stand, and nothing else") {
    server.on_io([&] {
      undecided();
      server.world.orders[order_id].status = "PENDING";
      server.world.payments.clear();
      server.world.shipments.clear();
      server.world.away = {"payment"};
    });
    const Response seen = client.request("GET", placed.header("location"));
    check_order(seen, "PENDING", false);
    check_nothing_promised(seen.parsed());
    CHECK(text_at(seen.parsed().at("items").at(0), "reservation_status") == "RESERVED");
  }
  SECTION("its row alone stands") {
    server.on_io([&] {
      undecided();
      server.world.orders[order_id].status = "PENDING";
      no_part_anywhere();
    });
    check_bare();
  }
  SECTION("it stands in the log alone") {
    server.on_io([&] {
      undecided();
      server.world.orders.clear();
      no_part_anywhere();
    });
    check_bare();
  }
  for (const char* list : {"reservations", "payments", "shipments"}) {
    server.on_io([&] {
      undecided();
      no_part_anywhere();
      server.world.away.clear();
    });
    const Response seen =
        client.request("GET", "/v1/" + std::string(list) + "?order_id=" + order_id);
    CHECK(seen.parsed().at(list).as_array().empty());
  }
}

TEST_CASE("between two COMMIT PREPAREDs the view is whole and names who is behind") {
  TestServer server;
  server.on_io([&] { server.engine.apply = false; });
  Client client = server.connect();
  const Response placed = place(client, "k1");
  server.on_io([&] {
    server.engine.apply_now(*server.engine.submitted.back());
    server.world.payments.clear();
  });
  const Response seen = client.request("GET", placed.header("location"));
  check_order(seen, "CONFIRMED", false);
  CHECK(seen.parsed().at("waiting_for") == json::value({"payment"}));
  CHECK(seen.parsed().at("payment") == placed.parsed().at("payment"));
}

TEST_CASE("after a restart the log's answer stands in for the services") {
  TestServer server;
  server.on_io([&] { server.engine.apply = false; });
  Client client = server.connect();
  const Response placed = place(client, "k1");
  const std::string order_id = text_at(placed.parsed(), "order_id");
  server.on_io([&] {
    server.engine.pending_orders.clear();
    server.engine.active_transactions.clear();
    server.world.unapplied.push_back(server.world.outcomes.begin()->second);
  });
  const Response seen = client.request("GET", placed.header("location"));
  check_order(seen, "CONFIRMED", false);
  CHECK(seen.parsed().at("payment") == placed.parsed().at("payment"));
  const Response shipments = client.request("GET", "/v1/shipments?order_id=" + order_id);
  check_contract("GET", "/v1/shipments", shipments);
  CHECK(shipments.parsed().at("shipments").as_array().size() == 1);
  const Response again = place(client, "k1");  // the replay knows that it is not applied yet
  CHECK(again.body == placed.body);
}

TEST_CASE("a cancel that is decided and not applied is CANCELLED everywhere in the view") {
  TestServer server;
  Client client = server.connect();
  const std::string path = place(client, "k1").header("location");
  server.on_io([&] { server.engine.apply = false; });
  CHECK(client.request("POST", path + "/cancel", {}, key_header("c1")).status == 200);
  const Response seen = client.request("GET", path);
  check_order(seen, "CANCELLED", false);
  CHECK(text_at(seen.parsed().at("payment"), "status") == "REFUNDED");
  CHECK(text_at(seen.parsed().at("shipment"), "status") == "CANCELLED");
  CHECK(text_at(seen.parsed().at("items").at(0), "reservation_status") == "RELEASED");
  const Response listed = client.request("GET", "/v1/orders?status=CANCELLED");
  CHECK(listed.parsed().at("orders").as_array().size() == 0);  // the row's filter is the database's
  CHECK(text_at(client.request("GET", "/v1/orders").parsed().at("orders").at(0), "status") ==
        "CANCELLED");
}

TEST_CASE("an order can be cancelled or shipped before its place is applied") {
  TestServer server;
  server.on_io([&] { server.engine.apply = false; });
  Client client = server.connect();
  const Response placed = place(client, "k1");
  SECTION("cancelled") {
    CHECK(client.request("POST", placed.header("location") + "/cancel", {}, key_header("c1"))
              .status == 200);
  }
  SECTION("shipped") {
    const std::string path =
        "/v1/shipments/" + text_at(placed.parsed().at("shipment"), "shipment_id");
    CHECK(client.request("PATCH", path, R"({"status":"SHIPPED"})", key_header("s1")).status == 200);
  }
}

TEST_CASE(
    "a page has room for what is decided and not applied, and the next one goes on after it") {
  TestServer server;
  Client client = server.connect();
  std::vector<std::string> ids;
  for (int i = 0; i < 2; ++i)
    ids.push_back(text_at(place(client, "k" + std::to_string(i)).parsed(), "order_id"));
  server.on_io([&] { server.engine.apply = false; });
  ids.push_back(text_at(place(client, "k2").parsed(), "order_id"));
  const json::value first = client.request("GET", "/v1/orders?limit=1").parsed();
  CHECK(text_at(first.at("orders").at(0), "order_id") == ids[2]);
  CHECK_FALSE(first.at("orders").at(0).at("applied").as_bool());
  const json::value rest =
      client.request("GET", "/v1/orders?cursor=" + text_at(first, "next_cursor")).parsed();
  REQUIRE(rest.at("orders").as_array().size() == 2);
  CHECK(text_at(rest.at("orders").at(1), "order_id") == ids[0]);
  CHECK_FALSE(rest.as_object().contains("next_cursor"));
}

TEST_CASE("a service that is away or silent is 503 with Retry-After") {
  TestServer server;
  Client client = server.connect();
  const std::string order = place(client, "k1").header("location");
  const std::vector<std::pair<std::string, std::string>> reads = {
      {"log", order},
      {"order", order},
      {"inventory", order},
      {"payment", order},
      {"shipping", order},
      {"order", "/v1/orders"},
      {"inventory", "/v1/inventory"},
      {"inventory", "/v1/inventory/a"},
      {"payment", "/v1/wallets/a"},
      {"payment", std::string("/v1/payments/") + unknown_uuid},
      {"payment", "/v1/payments?customer_id=a"},
      {"shipping", std::string("/v1/shipments/") + unknown_uuid},
      {"shipping", std::string("/v1/shipments?order_id=") + unknown_uuid},
      {"inventory", std::string("/v1/reservations/") + unknown_uuid},
      {"log", "/v1/transactions"},
      {"log", std::string("/v1/transactions/") + test_gid}};
  for (const auto& [service, path] : reads) {
    for (const bool silent : {false, true}) {
      INFO(service << ' ' << path << (silent ? " silent" : " away"));
      server.on_io([&] { (silent ? server.world.silent : server.world.away) = {service}; });
      const Response response = client.request("GET", path);
      CHECK(response.status == 503);
      check_problem(response, "PARTICIPANT_UNAVAILABLE", true);
      CHECK(response.has("retry-after"));
      server.on_io([&] { server.world.silent.clear(), server.world.away.clear(); });
    }
  }
  CHECK(client.request("GET", order).status == 200);
}

TEST_CASE("orders are listed newest first, filtered and paged") {
  TestServer server;
  Client client = server.connect();
  std::vector<std::string> ids;
  for (int i = 0; i < 5; ++i) {
    const std::string customer = i % 2 == 0 ? R"("even")" : R"("odd")";
    ids.push_back(text_at(
        place(client, "k" + std::to_string(i), order_body({{"customer_id", customer}})).parsed(),
        "order_id"));
  }
  std::vector<std::string> seen;
  std::string path = "/v1/orders?limit=2";
  for (int pages = 0; pages < 4; ++pages) {
    const Response page = client.request("GET", path);
    check_contract("GET", "/v1/orders", page);
    const json::value body = page.parsed();
    for (const auto& order : body.at("orders").as_array())
      seen.push_back(text_at(order, "order_id"));
    if (!body.as_object().contains("next_cursor")) break;
    path = "/v1/orders?limit=2&cursor=" + text_at(body, "next_cursor");
  }
  CHECK(seen == std::vector<std::string>(ids.rbegin(), ids.rend()));
  const Response even = client.request("GET", "/v1/orders?customer_id=even&status=CONFIRMED");
  CHECK(even.parsed().at("orders").as_array().size() == 3);
}

TEST_CASE(
    "stock: PUT sets what it names and makes what is missing, restock adds once for each key") {
  TestServer server;
  Client client = server.connect();
  CHECK(client.request("GET", "/v1/inventory/book-1").status == 404);
  const Response made = client.request("PUT", "/v1/inventory/book-1",
                                       R"({"title":"本","available":5,"unit_price":3500})");
  CHECK(made.status == 201);
  check_contract("PUT", "/v1/inventory/{sku}", made);
  const Response renamed = client.request("PUT", "/v1/inventory/book-1", R"({"title":"書"})");
  CHECK(renamed.status == 200);
  CHECK(renamed.parsed().at("available").as_int64() == 5);
  const Response added =
      client.request("POST", "/v1/inventory/book-1/restock", R"({"quantity":3})", key_header("r1"));
  CHECK(added.parsed().at("available").as_int64() == 8);
  check_contract("POST", "/v1/inventory/{sku}/restock", added);
  const Response again =
      client.request("POST", "/v1/inventory/book-1/restock", R"({"quantity":3})", key_header("r1"));
  CHECK(again.body == added.body);
  CHECK(again.header("idempotency-replayed") == "true");
  check_problem(
      client.request("POST", "/v1/inventory/book-1/restock", R"({"quantity":4})", key_header("r1")),
      "KEY_REUSED", false);
  check_problem(client.request("POST", "/v1/inventory/book-1/restock", R"({"quantity":4})"),
                "KEY_MISSING", false);
  CHECK(client.request("POST", "/v1/inventory/none/restock", R"({"quantity":4})", key_header("r2"))
            .status == 404);
  check_contract("GET", "/v1/inventory/{sku}", client.request("GET", "/v1/inventory/book-1"));
  const Response page = client.request("GET", "/v1/inventory?limit=1");
  check_contract("GET", "/v1/inventory", page);
  const Response rest =
      client.request("GET", "/v1/inventory?cursor=" + text_at(page.parsed(), "next_cursor"));
  CHECK(rest.parsed().at("inventory").as_array().empty());
}

TEST_CASE("a_product_is_not_made_by_a_PUT_that_says_nothing_of_it") {
  TestServer server;
  Client client = server.connect();
  for (const char* body : {"{}", R"({"title":"x"})", R"({"unit_price":5})"}) {
    const Response refused = client.request("PUT", "/v1/inventory/book-9", body);
    CHECK(refused.status == 400);
    check_problem(refused, "VALIDATION_FAILED", false);
    CHECK(text_at(refused.parsed().at("errors").at(0), "field") == "available");
    CHECK(client.request("GET", "/v1/inventory/book-9").status == 404);
  }
  const Response made = client.request("PUT", "/v1/inventory/book-9", R"({"available":0})");
  CHECK(made.status == 201);
  CHECK(text_at(made.parsed(), "title") == "book-9");
  CHECK(client.request("PUT", "/v1/inventory/book-9", "{}").status == 200);
}

TEST_CASE("a_restock_of_a_product_that_comes_later_counts_under_the_same_key") {
  TestServer server;
  Client client = server.connect();
  const auto restock = [&] {
    return client.request("POST", "/v1/inventory/book-9/restock", R"({"quantity":5})",
                          key_header("r1"));
  };
  CHECK(restock().status == 404);
  CHECK(client.request("PUT", "/v1/inventory/book-9", R"({"available":1})").status == 201);
  const Response counted = restock();
  CHECK(counted.status == 200);
  CHECK_FALSE(counted.has("idempotency-replayed"));
  CHECK(counted.parsed().at("available").as_int64() == 6);
  CHECK(restock().header("idempotency-replayed") == "true");
}

TEST_CASE("wallets: PUT makes the customer") {
  TestServer server;
  Client client = server.connect();
  CHECK(client.request("GET", "/v1/wallets/c1").status == 404);
  const Response put = client.request("PUT", "/v1/wallets/c1", R"({"balance":0})");
  CHECK(put.status == 201);
  check_contract("PUT", "/v1/wallets/{customer_id}", put);
  CHECK(put.body == R"({"customer_id":"c1","balance":0,"currency":"JPY"})");
  check_contract("GET", "/v1/wallets/{customer_id}", client.request("GET", "/v1/wallets/c1"));
  CHECK(client.request("PUT", "/v1/wallets/c1", R"({"balance":-1})").status == 422);
}

TEST_CASE("histories keep to the contract, by order, by customer and by id") {
  TestServer server;
  Client client = server.connect();
  const json::value order = place(client, "k1").parsed();
  const std::string id = text_at(order, "order_id");
  check_contract("GET", "/v1/reservations",
                 client.request("GET", "/v1/reservations?order_id=" + id));
  check_contract("GET", "/v1/payments", client.request("GET", "/v1/payments?order_id=" + id));
  check_contract("GET", "/v1/shipments", client.request("GET", "/v1/shipments?order_id=" + id));
  const Response history = client.request("GET", "/v1/payments?customer_id=customer-001&limit=1");
  check_contract("GET", "/v1/payments", history);
  CHECK(history.parsed().as_object().contains("next_cursor"));
  CHECK(client.request("GET", "/v1/payments?customer_id=a&order_id=" + id).status == 400);
  for (const char* path :
       {"/v1/payments/", "/v1/shipments/", "/v1/reservations/", "/v1/orders/", "/v1/sagas/"}) {
    const Response unknown = client.request("GET", std::string(path) + unknown_uuid);
    CHECK(unknown.status == 404);
    check_problem(unknown, "NOT_FOUND", false);
  }
}

TEST_CASE("transactions: the engine's, then the log's, each once") {
  TestServer server;
  server.on_io([&] {
    server.engine.apply = false;
    Decision decision;
    decision.gid = *protocol::parse_gid("txc_0a1b2c3d_c1_1_00ff00ff_3");
    decision.participants = {"order", "payment"};
    decision.order_ids = {uuid_v7()};
    decision.complete = true;
    decision.decided_at = now_utc();
    Decision same = decision;
    same.gid = *protocol::parse_gid(test_gid);
    same.complete = false;
    server.world.decisions = {same, decision};
  });
  Client client = server.connect();
  place(client, "k1");
  const Response all = client.request("GET", "/v1/transactions");
  check_contract("GET", "/v1/transactions", all);
  CHECK(all.parsed().at("transactions").as_array().size() == 2);
  const Response done = client.request("GET", "/v1/transactions?state=completed");
  CHECK(done.parsed().at("transactions").as_array().size() == 1);
  CHECK(client.request("GET", "/v1/transactions?state=voting")
            .parsed()
            .at("transactions")
            .as_array()
            .empty());
  const Response active = client.request("GET", std::string("/v1/transactions/") + test_gid);
  check_contract("GET", "/v1/transactions/{transaction_id}", active);
  CHECK(text_at(active.parsed(), "state") == "committing");
  const Response old = client.request("GET", "/v1/transactions/txc_0a1b2c3d_c1_1_00ff00ff_3");
  CHECK(text_at(old.parsed(), "state") == "completed");
  CHECK(client.request("GET", "/v1/transactions/txc_0a1b2c3d_c1_1_00ff00ff_4").status == 404);
  CHECK(client.request("GET", "/v1/transactions/nonsense").status == 404);
}
