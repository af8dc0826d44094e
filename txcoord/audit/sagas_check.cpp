// Saga by saga, in one pass over six sorted streams: the log before and after, and the barriers of
// the four services between them.
//
// Why no second look is needed: a state is recorded only after the steps that it stands for, and a
// step is run only after the state that it comes next in was recorded. So what the first reading of
// the log calls done has its barrier in the service, and a barrier is never ahead of the second
// reading, whatever moves meanwhile.
#include "txcoord/audit/sagas_check.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace txcoord::audit {
namespace {

// {kept} becomes what of the barriers must still stand. Ages are those of the snapshot.
constexpr pg::Statement saga_rows{"audit_saga_positions", R"(
  SELECT saga_id, saga_type, status, current_step, ended_at IS NULL, stuck_since IS NOT NULL,
         NOT barriers_trimmed AND {kept}
    FROM saga_instances
   ORDER BY saga_id)"};

constexpr pg::Statement barrier_rows{"audit_barriers", R"(
  SELECT saga_id, step, outcome, coalesce(order_id::text, '') FROM txc_saga_steps ORDER BY saga_id)"};

constexpr std::chrono::seconds trim_margin{10};  // the databases' clocks, and their snapshots

// A step of a plan as the tables know it.
struct StepName {
  std::string_view in_log;  // saga_instances.current_step
  std::string_view service;
  std::string_view barrier;  // txc_saga_steps.step
  std::string_view undone;   // … of its compensation; empty: it has none
};
constexpr std::array<StepName, 5> place_steps{{
    {"order.create", "order", "create", "fail"},
    {"inventory.reserve", "inventory", "reserve", "release"},
    {"payment.charge", "payment", "charge", "refund"},
    {"shipping.arrange", "shipping", "arrange", "cancel"},
    {"order.confirm", "order", "confirm", ""},
}};
constexpr std::array<StepName, 4> cancel_steps{{
    {"order.cancel", "order", "cancel", ""},
    {"shipping.cancel", "shipping", "cancel", ""},
    {"payment.refund", "payment", "refund", ""},
    {"inventory.release", "inventory", "release", ""},
}};
// `transact` is a group's: its key is its barrier.
constexpr std::array<StepName, 2> accepted_steps{{
    {"order.create", "order", "create", "fail"},
    {"transact", "", "", ""},
}};

constexpr StepName confirm_step{"order.confirm", "order", "confirm", "revoke"};
constexpr std::array<StepName, 5> pay_later_steps{
    {place_steps[0], place_steps[1], place_steps[3], confirm_step, place_steps[2]}};
constexpr std::array<StepName, 5> ship_by_hand_steps{
    {place_steps[0], place_steps[1], place_steps[2], confirm_step, place_steps[3]}};
constexpr std::array<StepName, 5> both_later_steps{
    {place_steps[0], place_steps[1], confirm_step, place_steps[2], place_steps[3]}};

std::span<const StepName> steps_of(std::string_view type) {
  if (type == "place_order") return place_steps;
  if (type == "cancel_order") return cancel_steps;
  if (type == "place_order_2pc") return accepted_steps;
  if (type == "place_order_pay_later") return pay_later_steps;
  if (type == "place_order_ship_by_hand") return ship_by_hand_steps;
  if (type == "place_order_pay_later_ship_by_hand") return both_later_steps;
  return {};
}

struct SagaSeen {
  std::string type, status, current_step;
  bool open = false, stuck = false, kept = false;

  // The index of the step to run or to undo next; of no step: none is before or after it.
  std::optional<std::size_t> current() const {
    const auto steps = steps_of(type);
    const auto found = std::ranges::find(steps, std::string_view(current_step), &StepName::in_log);
    if (found == steps.end()) return std::nullopt;
    return static_cast<std::size_t>(found - steps.begin());
  }
  bool undoing() const { return status == "COMPENSATION_STARTED"; }
};

using Barriers = std::map<std::pair<std::string_view, std::string>, std::string>;

// The row of `id`, if the cursor stands on it; moves past it.
std::optional<SagaSeen> take_saga(Cursor& sagas, std::string_view id) {
  const auto row = sagas.row();
  if (!row || (*row)[0].view() != id) return std::nullopt;
  SagaSeen seen{(*row)[1].as<std::string>(), (*row)[2].as<std::string>(),
                (*row)[3].as<std::string>(), (*row)[4].as<bool>(),
                (*row)[5].as<bool>(),        (*row)[6].as<bool>()};
  sagas.next();
  return seen;
}

class SagaJudge {
 public:
  SagaJudge(const std::string& id, const Barriers& barriers, const Report& report)
      : id_(id), barriers_(barriers), report_(report) {}

  // I8: what was recorded has happened.
  void behind(const SagaSeen& before) const {
    const auto steps = steps_of(before.type);
    const auto current = before.current();
    for (std::size_t i = 0; i < steps.size(); ++i) {
      const bool passed = before.status == "COMPLETED" || (current && i < *current);
      if (before.undoing() || before.status == "FAILED") {
        const bool undone = before.status == "FAILED" || (current && i > *current);
        if (undone && !steps[i].undone.empty() && at(steps[i], steps[i].barrier) == "done" &&
            at(steps[i], steps[i].undone) != "done")
          violation("not_compensated", before, steps[i], "was done, and nothing undid it");
      } else if (passed && !steps[i].service.empty() && at(steps[i], steps[i].barrier) != "done") {
        violation("step_not_done", before, steps[i],
                  "should be done; its barrier: " + shown(at(steps[i], steps[i].barrier)));
      }
    }
  }

  // I8: nothing has happened that was not recorded as next.
  void ahead(const SagaSeen& after) const {
    const auto steps = steps_of(after.type);
    const auto current = after.current();
    for (std::size_t i = 0; i < steps.size(); ++i) {
      const bool undone = !steps[i].undone.empty() && !at(steps[i], steps[i].undone).empty();
      const bool forward = !after.undoing() && after.status != "FAILED";
      if (undone && (forward || (after.undoing() && current && i < *current)))
        violation("step_ahead", after, steps[i], "is undone already");
      if (forward && current && i > *current && !at(steps[i], steps[i].barrier).empty())
        violation("step_ahead", after, steps[i], "has come already");
    }
  }

 private:
  std::string at(const StepName& step, std::string_view barrier) const {
    const auto row = barriers_.find({step.service, std::string(barrier)});
    return row == barriers_.end() ? std::string() : row->second;
  }
  static std::string shown(const std::string& outcome) {
    return outcome.empty() ? "absent" : outcome;
  }
  void violation(const char* check, const SagaSeen& saga, const StepName& step,
                 const std::string& text) const {
    report_({"I8", check, id_,
             saga.type + " is at " + saga.status + ' ' + saga.current_step + "; " +
                 std::string(step.in_log) + ' ' + text});
  }

  const std::string& id_;
  const Barriers& barriers_;
  const Report& report_;
};

void count(const std::string& id, const SagaSeen& saga, const AuditTargets& targets,
           AuditReport& counts) {
  if (!saga.open) return;
  ++(saga.stuck ? counts.sagas_stuck_total : counts.sagas_running_total);
  auto& names = saga.stuck ? counts.sagas_stuck : counts.sagas_running;
  if (names.size() < targets.violations_max) names.push_back(id);
}

std::string positions_sql(const AuditTargets& targets) {
  std::string kept = "true";
  if (targets.trimming) {
    const auto seconds = std::max<std::int64_t>(0, (targets.barriers_keep - trim_margin).count());
    kept = "(ended_at IS NULL OR ended_at > now() - interval '" + std::to_string(seconds) +
           " seconds')";
  }
  constexpr std::string_view marker = "{kept}";
  std::string sql = saga_rows.sql;
  return sql.replace(sql.find(marker), marker.size(), kept);
}

}  // namespace

std::vector<UnknownSaga> check_sagas(Look& look, const AuditTargets& targets, AuditReport& counts,
                                     const Report& report) {
  std::vector<UnknownSaga> unknown;
  const std::string sql = positions_sql(targets);
  Cursor before(look.log_before, saga_rows.name, sql);
  Cursor after(look.log_after, saga_rows.name, sql);
  const std::array<std::pair<std::string_view, Snapshot*>, 4> services{{
      {"order", &look.order},
      {"inventory", &look.inventory},
      {"payment", &look.payment},
      {"shipping", &look.shipping},
  }};
  std::array<std::unique_ptr<Cursor>, 4> rows;
  for (std::size_t i = 0; i < services.size(); ++i)
    rows[i] = std::make_unique<Cursor>(*services[i].second, barrier_rows.name, barrier_rows.sql);

  while (true) {
    std::optional<std::string> id;
    const auto consider = [&id](const Cursor& cursor) {
      const auto row = cursor.row();
      if (row && (!id || (*row)[0].view() < *id)) id = (*row)[0].as<std::string>();
    };
    consider(before);
    consider(after);
    for (const auto& cursor : rows) consider(*cursor);
    if (!id) return unknown;

    const auto first = take_saga(before, *id);
    const auto second = take_saga(after, *id);
    Barriers barriers;
    std::string order_id;
    for (std::size_t i = 0; i < services.size(); ++i) {
      while (const auto row = rows[i]->row()) {
        if ((*row)[0].view() != *id) break;
        barriers[{services[i].first, (*row)[1].as<std::string>()}] = (*row)[2].as<std::string>();
        if (!(*row)[3].view().empty()) order_id = (*row)[3].as<std::string>();
        rows[i]->next();
      }
    }
    if (!second) {
      if (unknown.size() == targets.suspects_max) {
        ++counts.unsettled;
        continue;
      }
      UnknownSaga& saga = unknown.emplace_back(UnknownSaga{*id, order_id, {}});
      for (const auto& [step, outcome] : barriers)
        saga.steps[std::string(step.first) + '.' + step.second] = outcome;
      continue;
    }
    ++counts.sagas;
    count(*id, *second, targets, counts);
    if (!second->kept) continue;
    const SagaJudge judge(*id, barriers, report);
    if (first) judge.behind(*first);
    judge.ahead(*second);
  }
}

}  // namespace txcoord::audit
