// The order of the checks, and the command.
#include "txcoord/audit/audit.hpp"

#include <exception>
#include <ostream>
#include <utility>

#include "txcoord/audit/branches_check.hpp"
#include "txcoord/audit/ledgers_check.hpp"
#include "txcoord/audit/lost_sagas_check.hpp"
#include "txcoord/audit/orders_check.hpp"
#include "txcoord/audit/sagas_check.hpp"
#include "txcoord/base/settings.hpp"

namespace txcoord::audit {

AuditReport audit(const AuditTargets& targets) {
  AuditReport result;
  const Report report = [&result, &targets](Violation violation) {
    ++result.violations_total;
    if (result.violations.size() < targets.violations_max)
      result.violations.push_back(std::move(violation));
  };
  Suspects suspects;
  {
    Look look(targets);
    // What has an age comes first: the snapshots grow old while the orders are read.
    check_branches(look, targets, result, report);
    check_ledgers(look, report);
    check_log(look, targets, report);
    const std::vector<UnknownSaga> unknown = check_sagas(look, targets, result, report);
    check_lost_sagas(look, unknown, targets, result, report);
    suspects = check_orders(look, targets, result, report);
  }
  settle_suspects(std::move(suspects), targets, result, report);
  return result;
}

int run_audit(const Settings& settings, bool json, std::ostream& out) {
  AuditTargets targets;
  targets.log = settings.log.dsn;
  targets.trimming = settings.engine.trim;
  targets.barriers_keep = std::chrono::seconds(settings.saga.barriers_keep_s);
  for (const auto& [name, dsn] : {std::pair{"order", &targets.order},
                                  {"inventory", &targets.inventory},
                                  {"payment", &targets.payment},
                                  {"shipping", &targets.shipping}}) {
    const auto database = settings.participants.find(name);
    if (database == settings.participants.end()) {
      out << "audit: the configuration names no database for participants." << name << '\n';
      return 2;
    }
    *dsn = database->second.dsn;
  }
  AuditReport report;
  try {
    report = audit(targets);
  } catch (const std::exception& error) {
    out << "audit: " << error.what() << '\n';
    return 2;
  }
  out << (json ? to_json(report) : to_text(report));
  if (!report.clean()) return 1;
  return report.unsettled == 0 ? 0 : 2;
}

}  // namespace txcoord::audit
