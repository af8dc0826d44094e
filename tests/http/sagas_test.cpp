// Saga mode, accepted orders and faults, as a client and an operator see them.
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_future.hpp>
#include <catch2/catch_test_macros.hpp>

#include "tests/http/contract.hpp"
#include "tests/http/test_server.hpp"

using namespace txcoord;
using namespace txcoord::testing;

namespace {

Response place(Client& client, const std::string& key, const std::string& body,
               const std::string& headers = {}) {
  return client.request("POST", "/v1/orders", body, key_header(key) + headers);
}

const std::string saga_body = order_body({{"mode", R"("saga")"}});
const std::string respond_async = "Prefer: respond-async\r\n";

// The only saga of the world, on the I/O thread.
FakeSagaLog::Row& only_row(TestServer& server) {
  return server.world.saga_log.rows.at(test_saga_id);
}

}  // namespace

TEST_CASE("mode chooses the protocol, and the server's default where it is not given") {
  TestServer server([](Settings& settings) { settings.default_mode = "saga"; });
  Client client = server.connect();
  const Response by_default = place(client, "k1", order_body());
  CHECK(by_default.status == 201);
  CHECK(by_default.parsed().at("mode").as_string() == "saga");
  CHECK(place(client, "k2", order_body({{"mode", R"("2pc")"}})).status == 201);
  CHECK(place(client, "k3", order_body({{"mode", R"("3pc")"}})).status == 422);
  const auto seen = server.on_io([&] { return server.engine.options_seen; });
  REQUIRE(seen.size() == 2);
  CHECK(seen[0].protocol == engine::Protocol::saga);
  CHECK(seen[1].protocol == engine::Protocol::two_phase);
}

TEST_CASE("the same order in another mode is another body under the key") {
  TestServer server;
  Client client = server.connect();
  CHECK(place(client, "k1", order_body()).status == 201);
  CHECK(place(client, "k1", saga_body).status == 422);
}

TEST_CASE("a cancel may name its mode") {
  TestServer server;
  Client client = server.connect();
  const std::string order = place(client, "k1", saga_body).header("location");
  const Response cancelled =
      client.request("POST", order + "/cancel", R"({"mode":"saga"})", key_header("c1"));
  CHECK(cancelled.status == 200);
  check_contract("POST", "/v1/orders/{order_id}/cancel", cancelled);
  const auto seen = server.on_io([&] { return server.engine.options_seen; });
  CHECK(seen.back().protocol == engine::Protocol::saga);
  CHECK(client.request("POST", order + "/cancel", R"({"force":true})", key_header("c2")).status ==
        422);
}

TEST_CASE("a saga that ran out of tries is a 409 under its key: its order has failed") {
  TestServer server;
  server.on_io([&] {
    engine::SubmitResult failed{.status = engine::SubmitStatus::refused};
    failed.reason = "PARTICIPANT_UNAVAILABLE";
    failed.detail = "payment.charge: timeout";
    server.engine.scripted.push_back(failed);
  });
  Client client = server.connect();
  const Response response = place(client, "k1", saga_body);
  CHECK(response.status == 409);
  CHECK(response.parsed().at("reason").as_string() == "PARTICIPANT_UNAVAILABLE");
}

TEST_CASE(
    "D1: Prefer: respond-async is 202, PENDING, Location; GET tells tries and the last error") {
  TestServer server;
  Client client = server.connect();
  for (const auto& body : {saga_body}) {
    const Response response = place(client, "k1", body, respond_async);
    CHECK(response.status == 202);
    check_contract("POST", "/v1/orders", response);
    CHECK(response.header("preference-applied") == "respond-async");
    CHECK(response.parsed().at("status").as_string() == "PENDING");
  }
  server.on_io([&] {
    auto& instance = only_row(server).instance;
    instance.attempts = 4;
    instance.next_retry_at = instance.created_at;
    instance.last_error = "inventory.reserve: timeout";
  });
  const std::string path =
      "/v1/orders/" + server.on_io([&] { return only_row(server).instance.order_id; });
  const Response pending = client.request("GET", path);
  REQUIRE(pending.status == 200);
  check_contract("GET", "/v1/orders/{order_id}", pending);
  const auto order = pending.parsed();
  CHECK(order.at("status").as_string() == "PENDING");
  CHECK(order.at("applied").as_bool() == false);
  CHECK(order.at("attempts").as_int64() == 4);
  CHECK(order.at("last_error").as_string() == "inventory.reserve: timeout");
  CHECK(order.as_object().contains("next_retry_at"));
  CHECK(order.at("timeline").as_array().size() == 1);
}

TEST_CASE("D2: the key of an accepted order gives its 202 again, for the first order") {
  TestServer server;
  Client client = server.connect();
  const Response first = place(client, "k1", saga_body, respond_async);
  const Response again = place(client, "k1", saga_body, respond_async);
  CHECK(again.status == 202);
  check_contract("POST", "/v1/orders", again);
  CHECK(again.header("idempotency-replayed") == "true");
  CHECK(again.header("location") == first.header("location"));
}

TEST_CASE("an order is not accepted while the log is away") {
  TestServer server;
  server.on_io([&] { server.world.saga_log.away = true; });
  Client client = server.connect();
  const Response response = place(client, "k1", saga_body, respond_async);
  CHECK(response.status == 503);
  check_problem(response, "PARTICIPANT_UNAVAILABLE", true);
  CHECK(response.has("retry-after"));
}

TEST_CASE("A9: orders are found by the correlation id, whether a row is there yet or not") {
  TestServer server;
  Client client = server.connect();
  place(client, "k1", order_body(), "X-Correlation-ID: trip-7\r\n");
  place(client, "k2", saga_body, respond_async + "X-Correlation-ID: trip-7\r\n");
  place(client, "k3", order_body(), "X-Correlation-ID: trip-8\r\n");
  const Response found = client.request("GET", "/v1/orders?correlation_id=trip-7");
  REQUIRE(found.status == 200);
  check_contract("GET", "/v1/orders", found);
  const auto orders = found.parsed().at("orders").as_array();
  REQUIRE(orders.size() == 2);
  CHECK(orders.at(0).at("status").as_string() == "PENDING");
  CHECK(orders.at(1).at("status").as_string() == "CONFIRMED");
}

TEST_CASE("sagas are listed newest first, by state, in pages; one of them with its history") {
  TestServer server;
  Client client = server.connect();
  check_contract("GET", "/v1/sagas", client.request("GET", "/v1/sagas"));
  place(client, "k1", saga_body, respond_async);
  const Response list = client.request("GET", "/v1/sagas?state=running&limit=1");
  check_contract("GET", "/v1/sagas", list);
  REQUIRE(list.parsed().at("sagas").as_array().size() == 1);
  const std::string cursor = list.parsed().at("next_cursor").as_string().c_str();
  const Response next = client.request("GET", "/v1/sagas?limit=1&cursor=" + cursor);
  CHECK(next.parsed().at("sagas").as_array().empty());
  CHECK(client.request("GET", "/v1/sagas?state=asleep").status == 400);
  CHECK(client.request("GET", "/v1/sagas?state=stuck").parsed().at("sagas").as_array().empty());

  const Response one = client.request("GET", std::string("/v1/sagas/") + test_saga_id);
  REQUIRE(one.status == 200);
  check_contract("GET", "/v1/sagas/{saga_id}", one);
  CHECK(one.parsed().at("history").as_array().at(0).at("status").as_string() == "STARTED");
  CHECK(client.request("GET", std::string("/v1/sagas/") + unknown_uuid).status == 404);
  server.on_io([&] { server.world.saga_log.away = true; });
  CHECK(client.request("GET", "/v1/sagas").status == 503);
}

TEST_CASE("D4: a fault is set and cleared while running, seen in /readyz and in the metrics") {
  TestServer server;
  server.on_io([&] {
    for (const char* name : {"payment", "shipping"})
      server.engine.health_map[name] = {.reachable = true, .recovered = true};
  });
  Client admin = server.connect_admin();
  const Response set =
      admin.request("PUT", "/admin/v1/faults/payment",
                    R"({"failure_rate":0.25,"delay_ms":500,"mode":"lost_answer"})");
  REQUIRE(set.status == 200);
  check_contract("PUT", "/admin/v1/faults/{participant}", set);
  CHECK(set.body == R"({"failure_rate":0.25,"delay_ms":500,"mode":"lost_answer"})");
  const auto fault = server.on_io([&] { return server.fault("payment").faults(); });
  REQUIRE(fault);
  CHECK(fault->failure_rate == 0.25);
  CHECK(fault->mode == FaultMode::lost_answer);

  Client client = server.connect();
  const Response ready = client.request("GET", "/readyz?verbose");
  check_contract("GET", "/readyz", ready);
  CHECK(ready.body.find(R"("fault":{"failure_rate":0.25)") != std::string::npos);
  const std::string metrics = client.request("GET", "/metrics").body;
  CHECK(metrics.find(R"(txcoord_faults_active{participant="payment"} 1)") != std::string::npos);

  CHECK(admin.request("DELETE", "/admin/v1/faults/payment").status == 204);
  CHECK_FALSE(server.on_io([&] { return server.fault("payment").faults().has_value(); }));
  CHECK(client.request("GET", "/readyz?verbose").body.find("fault") == std::string::npos);
}

TEST_CASE("a fault that makes no sense is refused with the field at fault") {
  TestServer server;
  Client admin = server.connect_admin();
  for (const char* body : {R"({"failure_rate":1.5})", R"({"failure_rate":"0.5"})",
                           R"({"delay_ms":-1})", R"({"delay_ms":0.5})", R"({"mode":"sleep"})"}) {
    INFO(body);
    CHECK(admin.request("PUT", "/admin/v1/faults/payment", body).status == 422);
  }
  const Response order = admin.request("PUT", "/admin/v1/faults/order", R"({"mode":"refuse"})");
  CHECK(order.status == 422);
  check_problem(order, "VALIDATION_FAILED", false);
}
