// The report for people and for programs.
#include <algorithm>
#include <boost/json.hpp>
#include <string>
#include <tuple>

#include "txcoord/audit/audit.hpp"

namespace txcoord::audit {
namespace {

constexpr std::size_t named_max = 20;  // the JSON names more

}  // namespace

std::string to_json(const AuditReport& report) {
  namespace json = boost::json;
  const auto names = [](const std::vector<std::string>& ids) {
    return json::array(ids.begin(), ids.end());
  };
  json::array lost;
  for (const LostSagaSeen& saga : report.sagas_lost)
    lost.push_back(json::object{
        {"saga_id", saga.saga_id}, {"order_id", saga.order_id}, {"at_risk", saga.at_risk}});
  json::array violations;
  for (const Violation& violation : report.violations) {
    violations.push_back(json::object{{"invariant", violation.invariant},
                                      {"check", violation.check},
                                      {"subject", violation.subject},
                                      {"found", violation.found},
                                      {"next", next_step(violation.check)}});
  }
  const json::object object{{"clean", report.clean()},
                            {"violations_total", report.violations_total},
                            {"violations", std::move(violations)},
                            {"orders", report.orders},
                            {"operations", report.operations},
                            {"gids", report.gids},
                            {"prepared", report.prepared},
                            {"heuristics", report.heuristics},
                            {"heuristics_open", report.heuristics_open},
                            {"looked_again", report.looked_again},
                            {"unsettled", report.unsettled},
                            {"unsettled_orders", names(report.unsettled_orders)},
                            {"sagas", report.sagas},
                            {"sagas_running_total", report.sagas_running_total},
                            {"sagas_running", names(report.sagas_running)},
                            {"sagas_stuck_total", report.sagas_stuck_total},
                            {"sagas_stuck", names(report.sagas_stuck)},
                            {"sagas_lost_total", report.sagas_lost_total},
                            {"sagas_lost", std::move(lost)}};
  return json::serialize(object) + "\n";
}

std::string to_text(const AuditReport& report) {
  std::string text = "audit: " + std::to_string(report.orders) + " orders, " +
                     std::to_string(report.operations) + " operations, " +
                     std::to_string(report.gids) + " global transactions, " +
                     std::to_string(report.sagas) + " sagas, " + std::to_string(report.prepared) +
                     " branches prepared at the moment\n";
  for (const Violation& violation : report.violations) {
    text += violation.invariant + " " + violation.check + ": " + violation.subject + ": " +
            violation.found + "\n  next: " + std::string(next_step(violation.check)) + "\n";
  }
  if (report.violations_total > report.violations.size()) {
    text +=
        "… and " + std::to_string(report.violations_total - report.violations.size()) + " more\n";
  }
  if (report.heuristics > 0) {
    text += "audit: " + std::to_string(report.heuristics) + " heuristic outcomes are recorded, " +
            std::to_string(report.heuristics_open) +
            " of them open (GET /v1/transactions?state=heuristic_open; "
            "docs/operating.md#a-heuristic-outcome)\n";
  }
  for (const auto& [what, total, ids] :
       {std::tuple{"running", report.sagas_running_total, &report.sagas_running},
        {"stuck, and need a person", report.sagas_stuck_total, &report.sagas_stuck}}) {
    if (total == 0) continue;
    text += "audit: " + std::to_string(total) + " sagas are " + what + ":";
    for (std::size_t i = 0; i < ids->size() && i < named_max; ++i) text += " " + (*ids)[i];
    text += total > named_max ? " …\n" : "\n";
  }
  if (report.sagas_lost_total > 0) {
    text += "audit: " + std::to_string(report.sagas_lost_total) +
            " sagas are lost with the log, and need a person "
            "(docs/operating.md#sagas-that-the-log-has-lost):\n";
    for (std::size_t i = 0; i < report.sagas_lost.size() && i < named_max; ++i) {
      const LostSagaSeen& saga = report.sagas_lost[i];
      text += "  " + saga.saga_id + ": order " + saga.order_id + ": " + saga.at_risk + "\n";
    }
    if (report.sagas_lost_total > named_max) text += "  …\n";
  }
  if (report.unsettled > 0) {
    text += "audit: " + std::to_string(report.unsettled) +
            " orders did not come to rest and were not judged; run it again when these rest:";
    for (std::size_t i = 0; i < report.unsettled_orders.size() && i < named_max; ++i)
      text += " " + report.unsettled_orders[i];
    const std::uint64_t named = std::min<std::uint64_t>(report.unsettled_orders.size(), named_max);
    text += report.unsettled > named
                ? " and " + std::to_string(report.unsettled - named) + " more\n"
                : "\n";
  }
  text += report.clean() ? "audit: no violation of I1-I11\n"
                         : "audit: " + std::to_string(report.violations_total) + " violations\n";
  return text;
}

}  // namespace txcoord::audit
