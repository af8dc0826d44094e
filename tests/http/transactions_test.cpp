// Global transactions as people see them: whom they wait for, and what of them needs a person.
#include <catch2/catch_test_macros.hpp>

#include "tests/http/contract.hpp"
#include "tests/http/test_server.hpp"

using namespace txcoord;
using namespace txcoord::testing;

namespace {

constexpr const char* gid_text = "txc_0a1b2c3d_c1_3_00ff00ff_7";
const std::string transaction = std::string("/v1/transactions/") + gid_text;
constexpr const char* key = "Idempotency-Key: resolve-1\r\n";
const std::string resolve = std::string("/admin/v1/transactions/") + gid_text + "/resolve";
const std::string of_payment = R"({"participant":"payment","note":"written again"})";

// Decided by a process that is gone, and committed everywhere but in payment.
Decision decided(DecisionOutcome outcome, bool heuristic) {
  Decision decision;
  decision.gid = *protocol::parse_gid(gid_text);
  decision.outcome = outcome;
  decision.participants = {"order", "inventory", "payment", "shipping"};
  decision.order_ids = {"0190a000-0000-7000-8000-000000000001"};
  decision.heuristic = heuristic;
  decision.complete = outcome == DecisionOutcome::abort;
  return decision;
}

void keep(TestServer& server, const Decision& decision) {
  server.on_io([&] {
    server.world.decisions = {decision};
    for (const char* name : {"order", "inventory", "shipping"})
      server.participant(name).witnesses.insert(decision.gid);
    if (!decision.heuristic) return;
    HeuristicOutcome outcome;
    outcome.gid = decision.gid;
    outcome.participant = "payment";
    outcome.detail = "found by recovery";
    server.world.heuristics = {outcome};
  });
}

json::value only(const json::value& heuristics) {
  REQUIRE(heuristics.as_array().size() == 1);
  return heuristics.at(0);
}

}  // namespace

TEST_CASE("a transaction of a dead process waits for those without its witness, and no others") {
  TestServer server;
  keep(server, decided(DecisionOutcome::commit, false));
  Client client = server.connect();
  const Response one = client.request("GET", transaction);
  check_contract("GET", "/v1/transactions/{transaction_id}", one);
  CHECK(one.parsed().at("waiting_for") == json::value({"payment"}));
  CHECK_FALSE(one.parsed().as_object().contains("unknown_at"));
  const Response listed = client.request("GET", "/v1/transactions?state=committing");
  CHECK(listed.parsed().at("transactions").at(0).at("waiting_for") == json::value({"payment"}));

  server.on_io([&] { server.participant("payment").witnesses = {*protocol::parse_gid(gid_text)}; });
  CHECK(client.request("GET", transaction).parsed().at("waiting_for").as_array().empty());
}

TEST_CASE("a participant that cannot be asked is waited for, and called unknown") {
  TestServer server;
  keep(server, decided(DecisionOutcome::commit, false));
  server.on_io([&] {
    server.fault("payment").set(ParticipantFaults{1.0, {}, FaultMode::down});
    server.fault("shipping").set(ParticipantFaults{1.0, {}, FaultMode::down});
  });
  Client client = server.connect();
  for (const std::string& path : {transaction, std::string("/v1/transactions")}) {
    const Response seen = client.request("GET", path);
    const json::value document =
        path == transaction ? seen.parsed() : seen.parsed().at("transactions").at(0);
    CHECK(document.at("waiting_for") == json::value({"payment", "shipping"}));
    CHECK(document.at("unknown_at") == json::value({"payment", "shipping"}));
  }
}

TEST_CASE("a heuristic outcome names its participant, and is open until its witness is there") {
  TestServer server;
  keep(server, decided(DecisionOutcome::commit, true));
  Client client = server.connect();
  Client admin = server.connect_admin();
  const Response lost = client.request("GET", transaction);
  check_contract("GET", "/v1/transactions/{transaction_id}", lost);
  CHECK(lost.parsed().at("state").as_string() == "heuristic");
  CHECK(lost.parsed().at("waiting_for") == json::value({"payment"}));
  const json::value open = only(lost.parsed().at("heuristics"));
  CHECK(open.at("participant").as_string() == "payment");
  CHECK(open.at("open").as_bool());

  const Response early = admin.request("POST", resolve, of_payment, key);
  CHECK(early.status == 409);
  CHECK(early.parsed().at("reason").as_string() == "ILLEGAL_STATE");
  CHECK(early.parsed().at("detail").as_string().find("still missing") != json::string::npos);
  server.on_io([&] { CHECK_FALSE(server.world.heuristics.at(0).resolved_at); });

  server.on_io(
      [&] { server.participant("payment").witnesses.insert(*protocol::parse_gid(gid_text)); });
  const Response done = admin.request("POST", resolve, of_payment, key);
  check_contract("POST", "/admin/v1/transactions/{transaction_id}/resolve", done);
  REQUIRE(done.status == 200);
  const json::value closed = only(done.parsed().at("heuristics"));
  CHECK_FALSE(closed.at("open").as_bool());
  CHECK(closed.at("resolved_by").as_string() == "person");
  CHECK(closed.at("note").as_string() == "written again");

  const Response again = admin.request("POST", resolve, R"({"note":"said twice"})", key);
  REQUIRE(again.status == 200);
  CHECK(only(again.parsed().at("heuristics")).at("note").as_string() == "written again");
}

TEST_CASE("what contradicts a tombstone is resolved on a person's word") {
  TestServer server;
  keep(server, decided(DecisionOutcome::abort, true));
  Client admin = server.connect_admin();
  const Response done = admin.request("POST", resolve, R"({"note":"the order was undone"})", key);
  REQUIRE(done.status == 200);
  CHECK_FALSE(only(done.parsed().at("heuristics")).at("open").as_bool());
}

TEST_CASE("resolving is refused where nothing was lost, and while the service cannot be asked") {
  TestServer server;
  Client admin = server.connect_admin();
  CHECK(admin.request("POST", resolve, of_payment, key).status == 404);
  CHECK(admin.request("POST", resolve, R"({"participant":"payment"})", key).status == 422);

  keep(server, decided(DecisionOutcome::commit, false));
  const Response nothing = admin.request("POST", resolve, of_payment, key);
  CHECK(nothing.status == 409);
  CHECK(nothing.parsed().at("detail").as_string().find("it is committing") != json::string::npos);

  keep(server, decided(DecisionOutcome::commit, true));
  const Response other =
      admin.request("POST", resolve, R"({"participant":"shipping","note":"as agreed"})", key);
  CHECK(other.status == 409);
  CHECK(other.parsed().at("detail").as_string().find("payment") != json::string::npos);

  server.on_io([&] { server.fault("payment").set(ParticipantFaults{1.0, {}, FaultMode::down}); });
  const Response away = admin.request("POST", resolve, of_payment, key);
  CHECK(away.status == 503);
  CHECK(away.has("retry-after"));
}
