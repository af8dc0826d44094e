// Degraded modes in the engine: who may be away, what passes the door, and where the modes come
// from.
#include <catch2/catch_test_macros.hpp>

#include "tests/unit/coordinator_rig.hpp"

using namespace txcoord;
using namespace txcoord::engine;
using namespace txcoord::testing;

namespace {

asio::awaitable<void> set_into(Rig& rig, std::string participant, bool on,
                               std::optional<Result<Done>>& done) {
  auto setting = rig.coordinator.set_degraded(std::move(participant), on);
  const auto result = co_await std::move(setting);
  done = result;
}

Result<Done> set(Rig& rig, const std::string& participant, bool on) {
  std::optional<Result<Done>> done;
  asio::co_spawn(rig.context, set_into(rig, participant, on, done), asio::detached);
  REQUIRE(rig.run_until([&] { return done.has_value(); }));
  return *done;
}

// It does not answer its vote, nor any probe afterwards.
void take_away(Rig& rig, FakeParticipant& participant) {
  const std::string name(participant.name());
  participant.away = true;
  rig.script.fail(name + ".vote", unavailable());
  REQUIRE(rig.submit(rig.operation("found-" + name + "-away")).status == SubmitStatus::unavailable);
  REQUIRE_FALSE(rig.coordinator.health().at(name).reachable);
}

std::size_t reads_done(const Rig& rig) {
  return count(rig.script.trace, "log.degraded_modes done");
}

bool shows(const Rig& rig, const std::string& sample) {
  return rig.metrics.serialize().find(sample + "\n") != std::string::npos;
}

}  // namespace

TEST_CASE("a mode spares its participant and nobody else, and only these two have one") {
  DegradedModes modes;
  CHECK_FALSE(modes.any());
  modes.set("payment", true);
  CHECK(modes == DegradedModes{.pay_later = true});
  CHECK(modes.spares("payment"));
  for (const char* name : {"order", "inventory", "shipping", "log"})
    CHECK_FALSE(modes.spares(name));
  modes.set("shipping", true);
  modes.set("payment", false);
  CHECK(modes == DegradedModes{.ship_by_hand = true});
  CHECK(degraded_mode_of("payment") == "pay_later");
  CHECK(degraded_mode_of("shipping") == "ship_by_hand");
  for (const char* name : {"order", "inventory", "log", ""}) CHECK(degraded_mode_of(name).empty());
}

TEST_CASE("health leaves out who is spared, and tells only who is missed") {
  const std::vector<std::string> everybody{"log", "order", "inventory", "payment", "shipping"};
  Health health(everybody);
  for (const char* name : {"log", "order", "inventory"}) health.wrote(name), health.recovered(name);
  const DegradedModes pay_later{.pay_later = true};
  CHECK_FALSE(health.all_usable(pay_later));
  CHECK(health.trouble() == "away: payment, shipping");
  CHECK(health.trouble(pay_later) == "away: shipping");
  health.wrote("shipping");
  CHECK(health.all_usable(pay_later));
  CHECK_FALSE(health.all_usable());
  CHECK_FALSE(health.all_recovered(pay_later));
  health.recovered("shipping");
  CHECK(health.all_recovered(pay_later));
  CHECK_FALSE(health.all_recovered());
}

// As the REST layer makes them while the mode is on.
std::shared_ptr<Operation> to_be_paid_later(Rig& rig, const std::string& key) {
  auto operation = rig.operation(key);
  operation->place.pay_later = true;
  return operation;
}

TEST_CASE("payment_away_and_pay_later_on_takes_new_orders_as_sagas_and_nothing_else") {
  Rig rig;
  take_away(rig, rig.payment);
  CHECK_FALSE(rig.coordinator.ready());
  CHECK(rig.submit(rig.operation("before")).status == SubmitStatus::unavailable);

  REQUIRE(set(rig, "payment", true).ok());
  CHECK(rig.coordinator.ready());
  const auto votes = count(rig.script.trace, "payment.vote");
  const auto placed = rig.start(to_be_paid_later(rig, "after"));
  REQUIRE(rig.run_until([&] { return count(rig.script.trace, "sagas.start done") == 1; }));
  CHECK(count(rig.script.trace, "payment.vote") == votes);

  const auto cancel = rig.submit(rig.operation("cancel", OperationKind::cancel));
  CHECK(cancel.status == SubmitStatus::unavailable);
  CHECK(cancel.detail == "away: payment");
  // Accepted before, as 2PC: its turn in a group comes when everybody is there.
  auto accepted = rig.operation("accepted");
  accepted->accepted = true;
  CHECK(rig.submit(accepted).status == SubmitStatus::unavailable);

  REQUIRE(set(rig, "payment", false).ok());
  CHECK_FALSE(rig.coordinator.ready());
  CHECK(rig.submit(rig.operation("off")).status == SubmitStatus::unavailable);
}

TEST_CASE("shipping_away_is_not_spared_by_pay_later") {
  Rig rig;
  take_away(rig, rig.shipping);
  REQUIRE(set(rig, "payment", true).ok());
  CHECK_FALSE(rig.coordinator.ready());
  const auto refused = rig.submit(to_be_paid_later(rig, "a"));
  CHECK(refused.status == SubmitStatus::unavailable);
  CHECK(refused.detail == "away: shipping");
  REQUIRE(set(rig, "shipping", true).ok());
  CHECK(rig.coordinator.ready());
}

TEST_CASE("a mode that another coordinator set is seen with a renewal of the lease") {
  Rig rig;
  CHECK(shows(rig, R"(txcoord_degraded_mode{participant="shipping"} 0)"));
  rig.log.modes.ship_by_hand = true;
  REQUIRE(rig.run_until([&] { return rig.coordinator.degraded().ship_by_hand; }));
  CHECK(shows(rig, R"(txcoord_degraded_mode{participant="shipping"} 1)"));
  CHECK(shows(rig, R"(txcoord_degraded_mode{participant="payment"} 0)"));
  rig.log.modes = {};
  REQUIRE(rig.run_until([&] { return !rig.coordinator.degraded().any(); }));
  CHECK(shows(rig, R"(txcoord_degraded_mode{participant="shipping"} 0)"));
}

TEST_CASE("log_that_cannot_be_read_leaves_the_last_known_modes") {
  Rig rig;
  REQUIRE(set(rig, "payment", true).ok());
  rig.log.modes = {};
  rig.log.away = true;
  rig.script.fail("log.degraded_modes", unavailable());
  REQUIRE(rig.run_until([&] { return !rig.coordinator.health().at("log").reachable; }));
  CHECK(rig.coordinator.degraded().pay_later);
  rig.log.away = false;
  REQUIRE(rig.run_until([&] { return !rig.coordinator.degraded().pay_later; }));
}

TEST_CASE("log_that_does_not_take_the_mode_leaves_it_as_it_was") {
  Rig rig;
  rig.script.fail("log.set_degraded_mode", unavailable());
  CHECK_FALSE(set(rig, "payment", true).ok());
  CHECK_FALSE(rig.coordinator.degraded().any());
  CHECK_FALSE(rig.log.modes.any());
}

TEST_CASE("read_that_began_before_a_mode_was_set_does_not_take_it_back") {
  Rig rig;
  rig.script.hold("log.degraded_modes");
  const auto begun = count(rig.script.trace, "log.degraded_modes");
  REQUIRE(rig.run_until([&] { return count(rig.script.trace, "log.degraded_modes") > begun; }));
  REQUIRE(set(rig, "payment", true).ok());
  const auto before = reads_done(rig);
  rig.script.let_go("log.degraded_modes");
  bool taken_back = false;
  REQUIRE(rig.run_until([&] {
    taken_back = taken_back || !rig.coordinator.degraded().pay_later;
    return reads_done(rig) >= before + 2;
  }));
  CHECK_FALSE(taken_back);
}
