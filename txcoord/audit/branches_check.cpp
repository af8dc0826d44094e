// Two passes: gid by gid over decisions and witnesses; then what is prepared or incomplete for too
// long. Prepared transactions are no part of a snapshot: they are read as they are at that moment.
#include "txcoord/audit/branches_check.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace txcoord::audit {
namespace {

constexpr pg::Statement read_installation{"audit_installation",
                                          "SELECT installation FROM txc_installation"};

constexpr pg::Statement decision_rows{"audit_decisions", R"(
  SELECT gid, outcome, completed_at IS NOT NULL, array_to_string(participants, ',')
    FROM decisions
   ORDER BY gid COLLATE "C")"};

// {prefix} becomes our installation's, quoted: another installation's witnesses are its own affair.
constexpr pg::Statement witness_rows{"audit_witnesses", R"(
  SELECT gid FROM txc_branch WHERE starts_with(gid, {prefix}) ORDER BY gid COLLATE "C")"};

// The last column: nobody has repaired it. A commit decision is complete when recovery has found
// every branch.
constexpr pg::Statement heuristic_rows{"audit_heuristics", R"(
  SELECT h.gid, h.participant,
         h.resolved_at IS NULL AND (d.outcome = 'commit' AND d.completed_at IS NOT NULL) IS NOT TRUE
    FROM heuristic_outcomes h LEFT JOIN decisions d ON d.gid = h.gid)"};

// now() is the snapshot's time: what was incomplete then, and for how long it had been.
constexpr pg::Statement incomplete_rows{"audit_incomplete", R"(
  SELECT gid, (extract(epoch FROM now() - decided_at) * 1000)::bigint, array_to_string(participants, ',')
    FROM decisions
   WHERE outcome = 'commit' AND completed_at IS NULL AND NOT heuristic)"};

constexpr pg::Statement up_since{"audit_up_since", R"(
  SELECT (extract(epoch FROM clock_timestamp() - pg_postmaster_start_time()) * 1000)::bigint)"};

constexpr pg::Statement prepared_rows{"audit_prepared", R"(
  SELECT gid, (extract(epoch FROM clock_timestamp() - prepared) * 1000)::bigint
    FROM pg_prepared_xacts
   WHERE database = current_database() AND starts_with(gid, {prefix}))"};

using Heuristics = std::set<std::pair<std::string, std::string>>;  // gid, participant

std::string with_prefix(Snapshot& snapshot, const pg::Statement& statement,
                        const std::string& prefix) {
  constexpr std::string_view marker = "{prefix}";
  std::string sql = statement.sql;
  const auto at = sql.find(marker);
  return sql.replace(at, marker.size(), snapshot.quote(prefix));
}

bool names(std::string_view list, std::string_view participant) {
  while (!list.empty()) {
    const auto comma = list.find(',');
    if (list.substr(0, comma) == participant) return true;
    list = comma == std::string_view::npos ? std::string_view() : list.substr(comma + 1);
  }
  return false;
}

std::string seconds(std::int64_t ms) {
  return std::to_string(ms / 1000) + "." + std::to_string(ms % 1000 / 100) + " s";
}

struct DecisionSeen {
  bool commit = false, complete = false;
  std::string participants;
};

// The decision of `gid`, if the cursor stands on it; moves past it.
std::optional<DecisionSeen> take_decision(Cursor& decisions, std::string_view gid) {
  const auto row = decisions.row();
  if (!row || (*row)[0].view() != gid) return std::nullopt;
  DecisionSeen seen{(*row)[1].view() == "commit", (*row)[2].as<bool>(),
                    (*row)[3].as<std::string>()};
  decisions.next();
  return seen;
}

struct Branch {
  std::string_view participant;
  Snapshot* snapshot;
};

std::array<Branch, 4> branches(Look& look) {
  return {{{"order", &look.order},
           {"inventory", &look.inventory},
           {"payment", &look.payment},
           {"shipping", &look.shipping}}};
}

// One gid: what the log said before and after, and who has its witness. Rules 2 and 3 of
// orders_check.hpp make each of these certain without a second look.
void judge_gid(const std::string& gid, const std::optional<DecisionSeen>& before,
               const std::optional<DecisionSeen>& after,
               const std::set<std::string_view>& witnesses, const std::array<Branch, 4>& services,
               const AuditTargets& targets, const Heuristics& heuristics, const Report& report) {
  for (const std::string_view at : witnesses) {
    const std::string where = "committed in " + std::string(at);
    if (after && !after->commit) {
      report(
          {"I3", "committed_and_aborted", gid, where + ", and the log holds a tombstone for it"});
    } else if (after && !names(after->participants, at)) {
      report({"I4", "committed_outside_decision", gid,
              where + "; the decision names " + after->participants});
    } else if (!after && !before && !targets.trimming) {
      report({"I4", "committed_without_decision", gid, where + ", and the log holds no decision"});
    }
  }
  if (targets.trimming || !before || !before->commit || !before->complete) return;
  for (const Branch& service : services) {
    if (!names(before->participants, service.participant) ||
        witnesses.contains(service.participant))
      continue;
    if (heuristics.contains({gid, std::string(service.participant)})) continue;
    report(
        {"I1", "witness_missing", gid,
         "the log says committed everywhere; no witness in " + std::string(service.participant)});
  }
}

void check_gids(Look& look, const std::string& prefix, const AuditTargets& targets,
                const Heuristics& heuristics, AuditReport& counts, const Report& report) {
  const std::array<Branch, 4> services = branches(look);
  Cursor before(look.log_before, decision_rows.name, decision_rows.sql);
  Cursor after(look.log_after, decision_rows.name, decision_rows.sql);
  std::array<std::unique_ptr<Cursor>, 4> witnesses;
  for (std::size_t i = 0; i < services.size(); ++i) {
    Snapshot& snapshot = *services[i].snapshot;
    witnesses[i] = std::make_unique<Cursor>(snapshot, witness_rows.name,
                                            with_prefix(snapshot, witness_rows, prefix));
  }
  while (true) {
    std::optional<std::string> first;
    const auto consider = [&first](const Cursor& cursor) {
      const auto row = cursor.row();
      if (row && (!first || (*row)[0].view() < *first)) first = (*row)[0].as<std::string>();
    };
    consider(before);
    consider(after);
    for (const auto& cursor : witnesses) consider(*cursor);
    if (!first) return;

    ++counts.gids;
    const auto decided_before = take_decision(before, *first);
    const auto decided_after = take_decision(after, *first);
    std::set<std::string_view> present;
    for (std::size_t i = 0; i < services.size(); ++i) {
      const auto row = witnesses[i]->row();
      if (!row || (*row)[0].view() != *first) continue;
      present.insert(services[i].participant);
      witnesses[i]->next();
    }
    // I3: an outcome never turns into the other one.
    if (decided_before && decided_after && decided_before->commit != decided_after->commit) {
      report({"I3", "decision_changed", *first, "commit and abort, one after the other"});
    }
    judge_gid(*first, decided_before, decided_after, present, services, targets, heuristics,
              report);
  }
}

// How long the log and this database have both been up: what I7 counts from.
std::int64_t up_ms(Snapshot& one, Snapshot& other) {
  const auto up = [](Snapshot& snapshot) {
    return snapshot.read(up_since.name, up_since.sql)[0][0].as<std::int64_t>();
  };
  return std::min(up(one), up(other));
}

// I7: prepared for too long, or where no recovery will ever find it.
void check_prepared(Look& look, const std::string& prefix, const AuditTargets& targets,
                    const Heuristics& heuristics, AuditReport& counts, const Report& report) {
  for (const Branch& service : branches(look)) {
    Snapshot& snapshot = *service.snapshot;
    const std::int64_t up = up_ms(snapshot, look.log_after);
    const std::string suffix = "_" + std::string(service.participant);
    for (const pqxx::row& row :
         snapshot.read(prepared_rows.name, with_prefix(snapshot, prepared_rows, prefix))) {
      ++counts.prepared;
      const auto branch = row[0].as<std::string>();
      const std::int64_t age = std::min(row[1].as<std::int64_t>(), up);
      if (!branch.ends_with(suffix)) {
        report({"I7", "prepared_in_wrong_database", branch,
                "prepared in " + std::string(service.participant)});
        continue;
      }
      const std::string gid = branch.substr(0, branch.size() - suffix.size());
      if (age <= targets.orphan_age_max.count() ||
          heuristics.contains({gid, std::string(service.participant)})) {
        continue;
      }
      report({"I7", "prepared_too_long", branch,
              "prepared in " + std::string(service.participant) + ", could be resolved for " +
                  seconds(age)});
    }
  }
}

// I7, the other side: decided, and not applied everywhere for too long.
void check_incomplete(Look& look, const AuditTargets& targets, const Heuristics& heuristics,
                      const Report& report) {
  std::int64_t up = up_ms(look.log_after, look.log_after);
  for (const Branch& service : branches(look))
    up = std::min(up, up_ms(*service.snapshot, look.log_after));
  for (const pqxx::row& row : look.log_after.read(incomplete_rows.name, incomplete_rows.sql)) {
    const auto gid = row[0].as<std::string>();
    const std::int64_t age = std::min(row[1].as<std::int64_t>(), up);
    if (age <= targets.orphan_age_max.count()) continue;
    const auto same_gid = heuristics.lower_bound({gid, ""});
    if (same_gid != heuristics.end() && same_gid->first == gid) continue;
    report(
        {"I7", "decided_not_applied", gid,
         "decided, and could be applied in " + row[2].as<std::string>() + " for " + seconds(age)});
  }
}

}  // namespace

void check_branches(Look& look, const AuditTargets& targets, AuditReport& counts,
                    const Report& report) {
  const pqxx::result installation =
      look.log_after.read(read_installation.name, read_installation.sql);
  if (installation.size() != 1)
    throw std::runtime_error("database 'log' does not say which installation it is");
  const std::string prefix = "txc_" + installation[0][0].as<std::string>() + "_";

  Heuristics heuristics;
  for (const pqxx::row& row : look.log_after.read(heuristic_rows.name, heuristic_rows.sql)) {
    heuristics.emplace(row[0].as<std::string>(), row[1].as<std::string>());
    counts.heuristics_open += row[2].as<bool>() ? 1 : 0;
  }
  counts.heuristics = heuristics.size();

  check_prepared(look, prefix, targets, heuristics, counts, report);
  check_incomplete(look, targets, heuristics, report);
  check_gids(look, prefix, targets, heuristics, counts, report);
}

}  // namespace txcoord::audit
