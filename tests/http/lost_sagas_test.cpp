// Sagas that the log has lost, as people see them, and what they may ask for.
#include <catch2/catch_test_macros.hpp>

#include "tests/http/contract.hpp"
#include "tests/http/test_server.hpp"

using namespace txcoord;
using namespace txcoord::testing;

namespace {

constexpr const char* order_id = "0190a000-0000-7000-8000-000000000001";
constexpr const char* older = "0190a000-0000-7000-8000-00000000000a";
constexpr const char* newer = "0190a000-0000-7000-8000-00000000000b";

LostSaga lost_saga(const std::string& saga_id) {
  LostSaga saga;
  saga.saga_id = saga_id;
  saga.type = "place_order";
  saga.order_id = order_id;
  saga.order_status = "PENDING";
  saga.customer_id = "customer-001";
  saga.money_taken = 3500;
  saga.payment_status = "CAPTURED";
  saga.stock_held = "1 book-123";
  saga.may_compensate = true;
  return saga;
}

void lose(TestServer& server, const std::string& saga_id) {
  server.on_io([&] {
    server.world.lost_log.rows[saga_id] = lost_saga(saga_id);
    server.lost_sagas.lost = server.world.lost_log.rows.size();
  });
}

const std::string resolve = std::string("/admin/v1/sagas/") + older + "/resolve";
const std::string compensate = R"({"action":"compensate"})";

}  // namespace

TEST_CASE("lost sagas are listed, a page at a time, and shown with what is at risk") {
  TestServer server;
  lose(server, older);
  lose(server, newer);
  Client client = server.connect();
  const Response first = client.request("GET", "/v1/sagas?state=lost&limit=1");
  check_contract("GET", "/v1/sagas", first);
  REQUIRE(first.parsed().at("sagas").as_array().size() == 1);
  CHECK(first.parsed().at("sagas").at(0).at("saga_id").as_string() == newer);
  const std::string cursor(first.parsed().at("next_cursor").as_string());
  const Response second = client.request("GET", "/v1/sagas?state=lost&limit=1&cursor=" + cursor);
  CHECK(second.parsed().at("sagas").at(0).at("saga_id").as_string() == older);
  CHECK(client.request("GET", "/v1/sagas?state=stuck").parsed().at("sagas").as_array().size() == 2);
  CHECK(client.request("GET", "/v1/sagas").parsed().at("sagas").as_array().size() == 2);
  CHECK(client.request("GET", "/v1/sagas?state=running").parsed().at("sagas").as_array().empty());

  const Response one = client.request("GET", std::string("/v1/sagas/") + older);
  check_contract("GET", "/v1/sagas/{saga_id}", one);
  CHECK(one.parsed().at("status").as_string() == "LOST");
  CHECK(one.parsed().at("at_risk").as_string() ==
        "3500 taken from customer-001 (CAPTURED); 1 book-123 held");
  CHECK(one.parsed().at("resolutions").as_array().size() == 1);
}

TEST_CASE("an order whose saga is lost says so, and what is at risk") {
  TestServer server;
  lose(server, older);
  server.on_io([&] {
    OrderView row;
    row.order_id = order_id;
    row.customer_id = "customer-001";
    row.status = "PENDING";
    row.mode = "saga";
    row.transaction_id = older;
    row.items = {{"book-123", 1, 3500, {}}};
    row.total_amount = 3500;
    server.world.orders[order_id] = row;
  });
  Client client = server.connect();
  const Response order = client.request("GET", std::string("/v1/orders/") + order_id);
  check_contract("GET", "/v1/orders/{order_id}", order);
  CHECK(order.parsed().at("saga_id").as_string() == older);
  CHECK(order.parsed().at("at_risk").as_string() ==
        "3500 taken from customer-001 (CAPTURED); 1 book-123 held");
}

TEST_CASE("resolving a lost saga needs a key and an action, on the admin port") {
  TestServer server;
  lose(server, older);
  Client admin = server.connect_admin();
  CHECK(admin.request("POST", resolve, compensate).status == 400);
  CHECK(admin.request("POST", resolve, R"({"action":"forget"})", key_header("k1")).status == 422);
  CHECK(server.connect().request("POST", resolve, compensate, key_header("k1")).status == 404);
  server.on_io([&] {
    server.lost_sagas.answer = {engine::LostResolve::begun, {}, lost_saga(older), {}};
  });
  const Response begun = admin.request("POST", resolve, compensate, key_header("k1"));
  CHECK(begun.status == 202);
  check_contract("POST", "/admin/v1/sagas/{saga_id}/resolve", begun);
  CHECK(begun.header("location") == std::string("/v1/sagas/") + older);
  CHECK(begun.parsed().at("resolution").as_string() == "compensate");
  CHECK(server.on_io([&] { return server.lost_sagas.asked; }) ==
        std::vector<std::string>{std::string(older) + " compensate k1"});
}

TEST_CASE("why a lost saga is not resolved is a problem of its own") {
  TestServer server;
  Client admin = server.connect_admin();
  const auto ask = [&](engine::LostResolve outcome) {
    server.on_io([&] {
      server.lost_sagas.answer = {outcome, "as told", std::nullopt, std::nullopt};
      if (outcome == engine::LostResolve::failed)
        server.lost_sagas.answer.failure = Failure{FailureKind::unavailable, true, "", "log: away"};
      if (outcome == engine::LostResolve::replayed)
        server.lost_sagas.answer.saga = lost_saga(older);
    });
    const Response answer = admin.request("POST", resolve, compensate, key_header("k1"));
    if (answer.status == 202) check_contract("POST", "/admin/v1/sagas/{saga_id}/resolve", answer);
    return answer;
  };
  CHECK(ask(engine::LostResolve::not_found).status == 404);
  CHECK(ask(engine::LostResolve::impossible).status == 409);
  CHECK(ask(engine::LostResolve::key_reused).parsed().at("reason").as_string() == "KEY_REUSED");
  const Response away = ask(engine::LostResolve::failed);
  CHECK(away.status == 503);
  CHECK(away.body.find("log") != std::string::npos);
  const Response replayed = ask(engine::LostResolve::replayed);
  CHECK(replayed.status == 202);
  CHECK(replayed.header("idempotency-replayed") == "true");
}

TEST_CASE("somebody may ask for a search at any time") {
  TestServer server;
  Client admin = server.connect_admin();
  const Response begun = admin.request("POST", "/admin/v1/sagas/search");
  CHECK(begun.status == 202);
  check_contract("POST", "/admin/v1/sagas/search", begun);
  CHECK(server.on_io([&] { return server.lost_sagas.searches; }) == 1);
}
