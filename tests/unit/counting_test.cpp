// What the coordinator counts: answers at the door, saga turn-backs, recovery without the outage
// before it, and nothing of a database that cannot be seen.
#include <catch2/catch_test_macros.hpp>

#include "tests/unit/coordinator_rig.hpp"

using namespace txcoord;
using namespace txcoord::engine;
using namespace txcoord::testing;

namespace {

const SubmitOptions as_saga{.protocol = Protocol::saga};
const SubmitOptions accept_saga{.protocol = Protocol::saga, .accept_now = true};

// The sample's value; nothing where there is no such series.
std::optional<double> sample(const Metrics& metrics, const std::string& series) {
  const std::string text = "\n" + metrics.serialize();
  const auto line = text.find("\n" + series + " ");
  if (line == std::string::npos) return std::nullopt;
  return std::stod(text.substr(line + series.size() + 2));
}

std::string orders(const std::string& mode, const std::string& outcome, const std::string& reason) {
  return R"(txcoord_orders_total{mode=")" + mode + R"(",outcome=")" + outcome + R"(",reason=")" +
         reason + R"("})";
}

std::string aborts(const std::string& mode, const std::string& cause) {
  return R"(txcoord_aborts_total{cause=")" + cause + R"(",mode=")" + mode + R"("})";
}

std::shared_ptr<Operation> saga_order(Rig& rig, const std::string& key) {
  auto operation = rig.operation(key);
  operation->mode = "saga";
  operation->order_id = "0190a000-0000-7000-8000-00000000000" + key;
  operation->place.customer_id = "customer-001";
  operation->place.items = {{"book-123", 1, 3500, operation->order_id}};
  operation->answer = "{}";
  return operation;
}

}  // namespace

TEST_CASE("an order refused at the door because a database is away counts as failed, and whose") {
  Rig rig;
  rig.payment.away = true;
  REQUIRE(rig.run_until([&] { return !rig.coordinator.ready(); }));
  CHECK(rig.submit(rig.operation("a")).status == SubmitStatus::unavailable);
  CHECK(rig.submit(saga_order(rig, "b"), as_saga).status == SubmitStatus::unavailable);
  CHECK(sample(rig.metrics, orders("2pc", "failed", "PARTICIPANT_UNAVAILABLE")) == 1);
  CHECK(sample(rig.metrics, orders("saga", "failed", "PARTICIPANT_UNAVAILABLE")) == 1);
  const std::string errors = "txcoord_participant_errors_total";
  CHECK(sample(rig.metrics, errors + R"({participant="payment"})") == 2);
  CHECK(sample(rig.metrics, errors + R"({participant="order"})") == 0);
  CHECK(sample(rig.metrics, "txcoord_admission_refused_total") == 0);
}

TEST_CASE("an order refused at the door because too much waits counts as failed, and is nobody's") {
  auto settings = quick_settings();
  settings.saga.running_max = 1;
  Rig rig(settings);
  rig.script.hold("inventory.reserve");
  const auto first = rig.start(saga_order(rig, "a"), as_saga);
  REQUIRE(rig.run_until([&] { return count(rig.script.trace, "inventory.reserve") == 1; }));
  CHECK(rig.submit(saga_order(rig, "b"), as_saga).status == SubmitStatus::overloaded);
  CHECK(sample(rig.metrics, orders("saga", "failed", "OVERLOADED")) == 1);
  CHECK(sample(rig.metrics, "txcoord_admission_refused_total") == 1);
  CHECK(sample(rig.metrics, R"(txcoord_participant_errors_total{participant="log"})") == 0);
  rig.script.let_go("inventory.reserve");
  REQUIRE(rig.run_until([&] { return first->has_value(); }));
}

TEST_CASE(
    "an answer about a key is no order: in flight, replayed and reused keys are not counted") {
  Rig rig;
  rig.script.hold("log.decide");
  const auto first = rig.start(rig.operation("a"));
  REQUIRE(rig.run_until([&] { return count(rig.script.trace, "log.decide") == 1; }));
  CHECK(rig.submit(rig.operation("a")).status == SubmitStatus::in_flight);
  rig.script.let_go("log.decide");
  REQUIRE(rig.run_until([&] { return first->has_value(); }));
  CHECK(rig.submit(rig.operation("a")).status == SubmitStatus::replayed);
  auto other = rig.operation("a");
  other->fingerprint[0] = 1;
  CHECK(rig.submit(other).status == SubmitStatus::key_reused);
  const std::string text = rig.metrics.serialize();
  CHECK(text.find("REQUEST_IN_FLIGHT") == std::string::npos);
  CHECK(text.find("KEY_REUSED") == std::string::npos);
  CHECK(sample(rig.metrics, orders("2pc", "confirmed", "")) == 1);
}

TEST_CASE("a participant that gives no answer to a vote fails each order of the group, once") {
  Rig rig;
  rig.script.fail("payment.vote", unavailable());
  CHECK(rig.submit(rig.operation("a")).status == SubmitStatus::unavailable);
  CHECK(sample(rig.metrics, R"(txcoord_participant_errors_total{participant="payment"})") == 1);
  CHECK(sample(rig.metrics, orders("2pc", "failed", "PARTICIPANT_UNAVAILABLE")) == 1);
}

TEST_CASE("a conflict that a retry mends is no participant's error") {
  Rig rig;
  rig.script.fail("payment.vote", of_kind(FailureKind::deadlock));
  CHECK(rig.submit(rig.operation("a")).status == SubmitStatus::confirmed);
  CHECK(sample(rig.metrics, R"(txcoord_participant_errors_total{participant="payment"})") == 0);
}

TEST_CASE("a saga that turns back is an abort by its cause, counted once") {
  Rig rig;
  rig.payment.answer_step = [](const auto&, const auto& request) {
    return request.step == "charge" ? StepReply{StepStatus::refused, "CARD_DECLINED", ""}
                                    : StepReply{};
  };
  CHECK(rig.submit(saga_order(rig, "a"), as_saga).reason == "CARD_DECLINED");
  CHECK(sample(rig.metrics, aborts("saga", "refused")) == 1);
  for (int i = 0; i < 3; ++i) rig.script.fail("shipping.arrange", of_kind(FailureKind::error));
  rig.payment.answer_step = [](const auto&, const auto&) { return StepReply{}; };
  CHECK(rig.submit(saga_order(rig, "b"), as_saga).reason == "PARTICIPANT_UNAVAILABLE");
  CHECK(sample(rig.metrics, aborts("saga", "error")) == 1);
  CHECK(sample(rig.metrics, aborts("saga", "refused")) == 1);
  CHECK(sample(rig.metrics, orders("saga", "failed", "PARTICIPANT_UNAVAILABLE")) == 1);
  CHECK(sample(rig.metrics, R"(txcoord_participant_errors_total{participant="shipping"})") == 1);
  CHECK(sample(rig.metrics, aborts("2pc", "refused")) == 0);
}

TEST_CASE("a saga that completes is no abort") {
  Rig rig;
  CHECK(rig.submit(saga_order(rig, "a"), as_saga).status == SubmitStatus::confirmed);
  for (const char* cause : {"refused", "timeout", "error", "unavailable"})
    CHECK(sample(rig.metrics, aborts("saga", cause)) == 0);
}

TEST_CASE("an accepted order lasts until its 202 for its client, and counts when it has ended") {
  Rig rig;
  rig.script.hold("inventory.reserve");
  CHECK(rig.submit(saga_order(rig, "a"), accept_saga).status == SubmitStatus::accepted);
  const std::string durations = "txcoord_order_duration_seconds_count";
  CHECK(sample(rig.metrics, durations + R"({mode="saga",outcome="unknown"})") == 1);
  CHECK_FALSE(sample(rig.metrics, orders("saga", "confirmed", "")));
  rig.script.let_go("inventory.reserve");
  REQUIRE(rig.run_until(
      [&] { return sample(rig.metrics, orders("saga", "confirmed", "")).has_value(); }));
  CHECK_FALSE(sample(rig.metrics, durations + R"({mode="saga",outcome="confirmed"})"));
}

TEST_CASE("the gauges of a database that is away vanish, and are back with it") {
  Rig rig;
  const std::string slots = R"(txcoord_prepared_slots_used{participant="payment"})";
  const std::string in_doubt = R"(txcoord_in_doubt_oldest_seconds{participant="payment"})";
  const std::string up = R"(txcoord_database_up{database="payment"})";
  REQUIRE(rig.run_until([&] { return sample(rig.metrics, slots).has_value(); }));
  CHECK(sample(rig.metrics, up) == 1);
  rig.payment.away = true;
  REQUIRE(rig.run_until([&] { return !rig.coordinator.ready(); }));
  CHECK(sample(rig.metrics, up) == 0);
  CHECK_FALSE(sample(rig.metrics, slots));
  CHECK_FALSE(sample(rig.metrics, in_doubt));
  CHECK(sample(rig.metrics, R"(txcoord_prepared_slots_used{participant="order"})"));
  rig.payment.away = false;
  REQUIRE(rig.run_until([&] { return sample(rig.metrics, in_doubt).has_value(); }));
  CHECK(sample(rig.metrics, up) == 1);
}

TEST_CASE("how long recovery took does not hold the outage before it") {
  constexpr milliseconds outage{300};
  Rig rig;
  const std::string passes = "txcoord_recovery_duration_seconds_count";
  const std::string seconds = "txcoord_recovery_duration_seconds_sum";
  const auto before = sample(rig.metrics, seconds);
  const auto counted = sample(rig.metrics, passes);
  for (bool* away : {&rig.payment.away, &rig.log.away}) {
    *away = true;
    REQUIRE(rig.run_until([&] { return !rig.coordinator.ready(); }));
    const auto until = std::chrono::steady_clock::now() + outage;
    REQUIRE(rig.run_until([&] { return std::chrono::steady_clock::now() > until; }));
    *away = false;
    REQUIRE(rig.run_until([&] { return rig.coordinator.ready(); }));
  }
  REQUIRE(rig.run_until([&] { return sample(rig.metrics, passes) >= *counted + 2; }));
  const double spent = *sample(rig.metrics, seconds) - *before;
  CHECK(spent < std::chrono::duration<double>(outage).count());
}
