// Degraded modes, as an operator switches and sees them.
#include <catch2/catch_test_macros.hpp>

#include "tests/http/contract.hpp"
#include "tests/http/test_server.hpp"

using namespace txcoord;
using namespace txcoord::testing;

TEST_CASE("C8: an operator switches a participant's mode, sees it, and switches it back") {
  TestServer server;
  server.on_io([&] {
    for (const char* name : {"order", "payment", "shipping"})
      server.engine.health_map[name] = {.reachable = true, .recovered = true};
  });
  Client admin = server.connect_admin();
  const Response before = admin.request("GET", "/admin/v1/modes");
  REQUIRE(before.status == 200);
  check_contract("GET", "/admin/v1/modes", before);
  CHECK(before.body == R"({"modes":[{"participant":"payment","mode":"normal"},)"
                       R"({"participant":"shipping","mode":"normal"}]})");

  const Response set = admin.request("PUT", "/admin/v1/modes/payment", R"({"mode":"pay_later"})");
  REQUIRE(set.status == 200);
  check_contract("PUT", "/admin/v1/modes/{participant}", set);
  CHECK(set.body == R"({"participant":"payment","mode":"pay_later"})");
  CHECK(server.on_io([&] { return server.engine.modes; }) ==
        engine::DegradedModes{.pay_later = true});
  REQUIRE(admin.request("PUT", "/admin/v1/modes/shipping", R"({"mode":"ship_by_hand"})").status ==
          200);
  CHECK(admin.request("GET", "/admin/v1/modes").body ==
        R"({"modes":[{"participant":"payment","mode":"pay_later"},)"
        R"({"participant":"shipping","mode":"ship_by_hand"}]})");

  const Response normal = admin.request("PUT", "/admin/v1/modes/payment", R"({"mode":"normal"})");
  CHECK(normal.body == R"({"participant":"payment","mode":"normal"})");
  const Response cleared = admin.request("DELETE", "/admin/v1/modes/shipping");
  CHECK(cleared.status == 204);
  CHECK(cleared.body.empty());
  CHECK_FALSE(server.on_io([&] { return server.engine.modes.any(); }));
}

TEST_CASE("readyz tells the mode of each participant that is switched, and of no other") {
  TestServer server;
  server.on_io([&] {
    for (const char* name : {"order", "payment", "shipping"})
      server.engine.health_map[name] = {.reachable = true, .recovered = true};
    server.engine.modes.ship_by_hand = true;
  });
  Client client = server.connect();
  const Response ready = client.request("GET", "/readyz?verbose");
  check_contract("GET", "/readyz", ready);
  const json::value told = ready.parsed();
  for (const auto& participant : told.at("participants").as_array()) {
    const auto* mode = participant.as_object().if_contains("mode");
    const bool shipping = participant.at("name").as_string() == "shipping";
    CHECK((mode != nullptr) == shipping);
    if (mode != nullptr) CHECK(mode->as_string() == "ship_by_hand");
  }
  CHECK(told.at("participants").as_array().size() == 3);
}

TEST_CASE(
    "a mode that a participant has not is refused with the field named, and changes nothing") {
  TestServer server;
  Client admin = server.connect_admin();
  for (const auto& [participant, body] :
       {std::pair("payment", R"({"mode":"ship_by_hand"})"),
        std::pair("shipping", R"({"mode":"pay_later"})"), std::pair("payment", R"({"mode":"off"})"),
        std::pair("payment", R"({"mode":true})"), std::pair("payment", R"({})")}) {
    INFO(participant << " " << body);
    const std::string path = std::string("/admin/v1/modes/") + participant;
    const Response refused = admin.request("PUT", path, body);
    CHECK(refused.status == 422);
    check_problem(refused, "VALIDATION_FAILED", false);
    CHECK(refused.parsed().at("errors").as_array().at(0).at("field").as_string() == "mode");
  }
  for (const char* name : {"order", "inventory", "log", "moon"}) {
    INFO(name);
    const std::string path = std::string("/admin/v1/modes/") + name;
    CHECK(admin.request("PUT", path, R"({"mode":"pay_later"})").status == 404);
    CHECK(admin.request("DELETE", path).status == 404);
  }
  CHECK_FALSE(server.on_io([&] { return server.engine.modes.any(); }));
  CHECK(server.connect().request("GET", "/admin/v1/modes").status == 404);
}

TEST_CASE("log_away_answers_503_and_the_mode_stays_as_it_was") {
  TestServer server;
  server.on_io([&] {
    server.engine.modes.pay_later = true;
    server.engine.log_away = true;
  });
  Client admin = server.connect_admin();
  const Response set =
      admin.request("PUT", "/admin/v1/modes/shipping", R"({"mode":"ship_by_hand"})");
  CHECK(set.status == 503);
  check_problem(set, "PARTICIPANT_UNAVAILABLE", true);
  CHECK(set.has("retry-after"));
  CHECK(admin.request("DELETE", "/admin/v1/modes/payment").status == 503);
  CHECK(server.on_io([&] { return server.engine.modes; }) ==
        engine::DegradedModes{.pay_later = true});
}
