// The golden list of metrics: dashboards and alerts are written on these names.
#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <fstream>
#include <sstream>

#include "txcoord/metrics/metrics.hpp"

using namespace txcoord;

namespace {

std::string_view type_name(MetricType type) {
  switch (type) {
    case MetricType::counter: return "counter";
    case MetricType::gauge: return "gauge";
    case MetricType::histogram: return "histogram";
  }
  return "";
}

void touch_everything(Metrics& metrics) {
  metrics.order("2pc", "confirmed", "");
  metrics.order_duration("2pc", "confirmed", 0.01);
  metrics.phase("2pc", "vote", 0.01);
  metrics.branch("order", "vote", 0.01);
  metrics.group(3);
  metrics.queue(1);
  metrics.abort("2pc", "timeout");
  metrics.retry("deadlock");
  metrics.admission_refused();
  metrics.deadlock();
  metrics.database("order", {});
  metrics.database_up("order", true);
  metrics.participant_errors("order", 2);
  metrics.fence_refusal("payment");
  metrics.ready(true);
  metrics.recovery_action("commit");
  metrics.recovery_duration(0.1);
  metrics.heuristic_outcome();
  metrics.heuristics_open({{"payment", 1}});
  metrics.decisions_retained(5);
  metrics.saga_step("order.create", 0.01);
  metrics.saga_compensation("payment.refund");
  metrics.sagas_stuck(0);
  metrics.sagas_lost(0);
  metrics.reservations_expired(1);
  metrics.fault_active("payment", true);
  metrics.breaker("payment", 2);
  metrics.degraded_mode("payment", true);
  metrics.orders_due("payment", 3);
  metrics.quarantined_keys("payment", 1);
  metrics.outbox_lag(0);
  metrics.card_errands_refused(0);
  metrics.http("/v1/orders", "POST", 201, 0.01);
  metrics.pool_wait("order", 0.001);
}

bool shows(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

// A rename is a change of the public interface: change tests/unit/metrics_golden.txt, the
// dashboards, the alerts and the changelog together.
TEST_CASE("the declared metrics are those of the golden list") {
  std::string declared;
  for (const MetricDeclaration& metric : metric_declarations()) {
    declared.append(type_name(metric.type)).append(" ").append(metric.name);
    declared.append("{").append(metric.labels).append("}\n");
  }
  std::ifstream file("tests/unit/metrics_golden.txt");  // tests run in the source folder
  REQUIRE(file);
  std::stringstream golden;
  golden << file.rdbuf();
  CHECK(declared == golden.str());
}

TEST_CASE("every declared metric is exposed under its name and type once it is used") {
  Metrics metrics;
  touch_everything(metrics);
  const std::string text = metrics.serialize();
  for (const MetricDeclaration& metric : metric_declarations()) {
    const std::string name(metric.name);
    INFO(name);
    CHECK(shows(text, "# TYPE " + name + " " + std::string(type_name(metric.type)) + "\n"));
    CHECK(shows(text, "# HELP " + name + " "));
  }
}

TEST_CASE("names keep to the prefix and to base units") {
  for (const MetricDeclaration& metric : metric_declarations()) {
    INFO(metric.name);
    // process_: what every program calls them, so that one dashboard serves all.
    CHECK((metric.name.starts_with("txcoord_") || metric.name.starts_with("process_")));
    CHECK((metric.type == MetricType::counter) == metric.name.ends_with("_total"));
    CHECK_FALSE(metric.name.ends_with("_ms"));
  }
}

TEST_CASE("what alerts are written on exists from the start, at zero") {
  const std::string text = Metrics().serialize();
  CHECK(shows(text, "txcoord_heuristic_outcomes_total 0"));
  CHECK(shows(text, R"(txcoord_recovery_actions_total{action="takeover"} 0)"));
  CHECK(shows(text, R"(txcoord_aborts_total{cause="refused",mode="saga"} 0)"));
  CHECK(shows(text, R"(txcoord_participant_errors_total{participant="payment"} 0)"));
  CHECK(shows(
      text,
      R"(txcoord_orders_total{mode="2pc",outcome="failed",reason="PARTICIPANT_UNAVAILABLE"} 0)"));
  CHECK(shows(text, R"(txcoord_aborts_total{cause="fenced",mode="2pc"} 0)"));
  CHECK(shows(text, "txcoord_build_info{"));
}

TEST_CASE("a label value that nobody knows counts as other") {
  Metrics metrics;
  metrics.order("2pc", "refused", "customer-4711");
  metrics.abort("2pc", "gid_7");
  metrics.branch("moon", "vote", 0.01);
  metrics.http("/v1/orders", "BREW", 405, 0.01);
  const std::string text = metrics.serialize();
  CHECK_FALSE(shows(text, "4711"));
  CHECK_FALSE(shows(text, "gid_7"));
  CHECK_FALSE(shows(text, "moon"));
  CHECK(shows(text, R"(reason="other")"));
  CHECK(shows(text, R"(method="other")"));
}

TEST_CASE("routes and codes are bounded by number") {
  Metrics metrics;
  for (int i = 0; i < 1000; ++i) metrics.http("/r" + std::to_string(i), "GET", i, 0.01);
  const std::string text = metrics.serialize();
  CHECK(shows(text, R"(route="other")"));
  CHECK_FALSE(shows(text, "/r500\""));
}

TEST_CASE("buckets go from half a millisecond to ten seconds") {
  Metrics metrics;
  metrics.phase("2pc", "vote", 0.01);
  const std::string text = metrics.serialize();
  CHECK(shows(text,
              R"(txcoord_phase_duration_seconds_bucket{mode="2pc",phase="vote",le="0.0005"} 0)"));
  CHECK(shows(text, R"(txcoord_phase_duration_seconds_bucket{mode="2pc",phase="vote",le="10"} 1)"));
}

TEST_CASE("what was not looked at has no value, and what cannot be seen any more loses it") {
  Metrics metrics;
  CHECK_FALSE(shows(metrics.serialize(), "txcoord_in_doubt_branches{"));
  CHECK_FALSE(shows(metrics.serialize(), "txcoord_ready "));
  metrics.database_up("payment", true);
  metrics.database("payment", {.in_doubt_branches = 2, .in_doubt_oldest_seconds = 7});
  metrics.database("order", {});
  metrics.outbox_lag(3);
  CHECK(shows(metrics.serialize(), R"(txcoord_in_doubt_oldest_seconds{participant="payment"} 7)"));
  metrics.database_up("payment", false);
  const std::string text = metrics.serialize();
  CHECK(shows(text, R"(txcoord_database_up{database="payment"} 0)"));
  CHECK_FALSE(shows(text, R"({participant="payment"} 2)"));
  CHECK_FALSE(shows(text, R"(txcoord_in_doubt_oldest_seconds{participant="payment"})"));
  CHECK_FALSE(shows(text, "txcoord_outbox_lag_seconds "));
  CHECK(shows(text, R"(txcoord_in_doubt_branches{participant="order"} 0)"));
}

TEST_CASE("the process says when it started, what it used and what it holds") {
  const auto value = [](const std::string& text, const std::string& name) {
    return std::stod(text.substr(text.find("\n" + name + " ") + name.size() + 2));
  };
  const double now =
      std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  const std::string text = Metrics().serialize();
  const double started = value(text, "process_start_time_seconds");
  CHECK(started < now + 1);
  CHECK(started > now - 3600);
  CHECK(value(text, "process_cpu_seconds_total") >= 0);
  CHECK(value(text, "process_resident_memory_bytes") > 1e6);
}
