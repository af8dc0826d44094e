// One pass after the other, and what each does to branches and decisions. What it reads and notes
// of the log: recovery_log.cpp.
#include "txcoord/engine/recovery.hpp"

#include <algorithm>

#include "txcoord/base/logging.hpp"
#include "txcoord/engine/recovery_pass.hpp"

namespace txcoord::engine {
namespace {

constexpr std::chrono::milliseconds probe_every{200};  // while the database is away
constexpr std::size_t decisions_per_pass_max = 2000;
constexpr std::string_view branch_lost = "heuristic outcome: a decided branch was lost";
constexpr std::string_view committed_against_the_log =
    "heuristic outcome: a branch is committed, while the log says abort";
constexpr std::size_t contradicted_max = 1000;  // then all are forgotten, and may count once more

}  // namespace

Recovery::Recovery(asio::any_io_executor io, std::vector<Participant*> participants,
                   TransactionLog& log, Health& health, Fences& fences, Forgetter& forgetter,
                   CrashPoints& crash, Metrics& metrics, std::chrono::milliseconds interval,
                   std::function<std::set<protocol::Gid>()> active, TakeOver take_over)
    : io_(io),
      participants_(std::move(participants)),
      log_(log),
      health_(health),
      fences_(fences),
      forgetter_(forgetter),
      crash_(crash),
      metrics_(metrics),
      interval_(interval),
      active_(std::move(active)),
      take_over_(std::move(take_over)) {
  for (const Participant* participant : participants_)
    tickers_[std::string(participant->name())] = std::make_unique<Ticker>(io_);
}

void Recovery::kick(std::string_view participant) {
  const auto ticker = tickers_.find(participant);
  if (ticker != tickers_.end()) ticker->second->kick();
}

void Recovery::stop() {
  for (auto& [name, ticker] : tickers_) ticker->stop();
}

asio::awaitable<void> Recovery::run(Participant& participant, RecoveryIdentity identity) {
  Ticker& ticker = *tickers_.find(participant.name())->second;
  bool settled = false;
  for (;;) {
    Pass current{participant, identity};
    auto work = pass(current);
    const bool ok = co_await std::move(work);
    if (ok && !settled) {
      // Not the outage before it: that is as long as it is.
      const auto spent = std::chrono::steady_clock::now() - current.both_answered;
      metrics_.recovery_duration(std::chrono::duration<double>(spent).count());
      logging::info("recovery pass done", {{"participant", participant.name()}});
    }
    settled = ok;
    const bool watched = !ok || !health_.usable(participant.name());
    auto pause = ticker.wait(watched ? probe_every : interval_);
    const bool go_on = co_await std::move(pause);
    if (!go_on) co_return;
  }
}

// True when everything was read and tried; what failed on one branch is tried again next time.
asio::awaitable<bool> Recovery::pass(Pass& current) {
  crash_.reach("recovery.before");
  Participant& participant = current.participant;
  const RecoveryIdentity& identity = current.identity;
  current.view.own_coordinator = identity.coordinator;
  current.view.own_epoch = identity.epoch;
  auto reading = read(current);
  const bool complete = co_await std::move(reading);
  if (!complete) {
    auto probing = probe(current);
    co_await std::move(probing);
    co_return false;
  }

  // Whoever was taken over is fenced here at once, and a server that lost a fence has it again.
  // What fails is tried in the next pass: who needs the fence asks for it before.
  auto looking = fences_.look(participant);
  const auto fenced_here = co_await std::move(looking);
  if (!fenced_here) health_.probe_failed(participant.name(), fenced_here.failure());

  const auto plan = protocol::plan_recovery(current.view);
  if (!plan.empty()) crash_.reach("recovery.planned");
  for (const auto& action : plan) {
    auto work = carry_out(current, action);
    co_await std::move(work);
  }
  for (const auto& decision : current.incomplete) {
    auto work = finish_decision(current, decision);
    co_await std::move(work);
  }
  forget_finished(current.incomplete);
  auto take = take_over(current);
  co_await std::move(take);
  if (current.note_log ||
      (health_.wants_probe(participant.name()) && !current.log_may_lack_decisions)) {
    auto noting = note_log(current, current.log_now);
    co_await std::move(noting);
  }
  health_.recovered(participant.name());
  co_return true;
}

// P, F, A, T, Q: strictly in this order, each after the one before has returned.
asio::awaitable<bool> Recovery::read(Pass& pass) {
  const auto name = pass.participant.name();
  auto list_before = pass.participant.list_prepared(pass.identity.installation);
  auto before = co_await std::move(list_before);
  if (!before) {
    health_.probe_failed(name, before.failure());
    co_return false;
  }
  health_.reached(name);
  pass.view.prepared_before = before.value();

  auto read_epochs = log_.coordinators();
  const auto epochs = co_await std::move(read_epochs);
  if (!epochs) {
    health_.failed(log_name, epochs.failure());
    co_return false;
  }
  pass.both_answered = std::chrono::steady_clock::now();
  for (const auto& [id, state] : epochs.value()) {
    pass.view.epochs[id] = state.epoch;
    fences_.require(id, state.epoch);
  }

  pass.view.active = active_();

  auto point = read_log_point(pass);
  const bool log_read = co_await std::move(point);
  if (!log_read) co_return false;

  auto read_outcomes = log_.decisions(pass.view.prepared_before);
  const auto outcomes = co_await std::move(read_outcomes);
  auto read_incomplete = log_.incomplete_decisions(decisions_per_pass_max);
  const auto incomplete = co_await std::move(read_incomplete);
  if (!outcomes || !incomplete) {
    health_.failed(log_name, outcomes ? incomplete.failure() : outcomes.failure());
    co_return false;
  }
  for (const auto& decision : outcomes.value())
    pass.view.outcomes[decision.gid] = decision.outcome == DecisionOutcome::commit
                                           ? protocol::Outcome::commit
                                           : protocol::Outcome::abort;
  for (const auto& decision : incomplete.value()) {
    if (pass.view.active.contains(decision.gid)) continue;
    // Of this very epoch too, if it is heuristic: its driver has left it to a person.
    const bool ours = decision.gid.coordinator == pass.view.own_coordinator &&
                      decision.gid.epoch == pass.view.own_epoch;
    if (protocol::may_finish(decision.gid, pass.view) || (ours && decision.heuristic)) {
      pass.incomplete.push_back(decision);
    } else {
      pass.unfinished_elsewhere.insert(decision.gid.coordinator);
    }
  }

  auto list_after = pass.participant.list_prepared(pass.identity.installation);
  auto after = co_await std::move(list_after);
  if (!after) {
    health_.probe_failed(name, after.failure());
    co_return false;
  }
  pass.view.prepared_after = after.value();
  co_return true;
}

// True: commit. Nothing: it cannot be told yet.
asio::awaitable<std::optional<bool>> Recovery::outcome_of_undecided(Pass& pass, protocol::Gid gid) {
  std::vector<std::string> branches;
  auto lost = protocol::LostDecision::roll_back;
  if (pass.log_may_lack_decisions) {
    auto asking = ask_siblings(pass, gid, branches);
    lost = co_await std::move(asking);
  }
  if (lost == protocol::LostDecision::wait) {
    // Until it is judged this database remembers the log as it was.
    pass.note_log = false;
    co_return std::nullopt;
  }
  Result<DecisionOutcome> outcome = DecisionOutcome::abort;
  if (lost == protocol::LostDecision::commit) {
    std::vector<std::string> order_ids;
    auto writing = log_.write_decision_again(pass.identity.log_owner(), gid, branches, order_ids);
    outcome = co_await std::move(writing);
    logging::error("a decision that the log had lost is proven by a witness: commit",
                   {{"gid", std::string_view(protocol::format(gid))},
                    {"participant", pass.participant.name()}});
  } else {
    auto settle = log_.settle(pass.identity.log_owner(), gid);
    outcome = co_await std::move(settle);
  }
  if (!outcome) {
    health_.failed(log_name, outcome.failure());
    pass.note_log = false;
    co_return std::nullopt;
  }
  co_return outcome.value() == DecisionOutcome::commit;
}

// Rules 6 to 8 of recovery_plan.hpp. `branches`: this participant, and the siblings that have a
// witness or a prepared branch.
asio::awaitable<protocol::LostDecision> Recovery::ask_siblings(Pass& pass, protocol::Gid gid,
                                                               std::vector<std::string>& branches) {
  std::set<std::string> siblings;
  std::map<std::string, bool> witnesses;
  branches.emplace_back(pass.participant.name());
  for (Participant* sibling : participants_) {
    if (sibling == &pass.participant) continue;
    const std::string name(sibling->name());
    siblings.insert(name);
    auto list = sibling->list_prepared(pass.identity.installation);
    const auto prepared = co_await std::move(list);
    auto look = sibling->has_witness(gid);
    const auto witness = co_await std::move(look);
    if (!prepared || !witness) continue;
    witnesses[name] = witness.value();
    if (witness.value() || std::ranges::find(prepared.value(), gid) != prepared.value().end())
      branches.push_back(name);
  }
  co_return protocol::judge_lost_decision(siblings, witnesses);
}

asio::awaitable<void> Recovery::carry_out(Pass& pass, protocol::RecoveryAction action) {
  const std::string gid = protocol::format(action.gid);
  bool commit = action.kind == protocol::RecoveryKind::commit;
  if (action.kind == protocol::RecoveryKind::bury) {
    auto finding = outcome_of_undecided(pass, action.gid);
    const std::optional<bool> outcome = co_await std::move(finding);
    if (!outcome) co_return;
    crash_.reach("recovery.bury.after");
    commit = *outcome;
  }
  auto work = commit ? pass.participant.commit_prepared(action.gid)
                     : pass.participant.rollback_prepared(action.gid);
  const auto reply = co_await std::move(work);
  // not_found and busy: somebody else is at it, or was. The next pass sees what came of it.
  if (!reply) {
    health_.failed(pass.participant.name(), reply.failure());
    logging::warn("a branch could not be finished yet",
                  {{"gid", std::string_view(gid)},
                   {"participant", pass.participant.name()},
                   {"failure", to_string(reply.failure().kind)},
                   {"sqlstate", std::string_view(reply.failure().sqlstate)}});
    co_return;
  }
  crash_.reach("recovery.finish.after");
  metrics_.recovery_action(commit ? "commit" : "rollback");
  logging::info("recovered a branch",
                {{"gid", std::string_view(gid)},
                 {"participant", pass.participant.name()},
                 {"action", std::string_view(commit ? "commit" : "rollback")}});
  if (commit) co_return;
  auto looking = show_committed_siblings(pass, action.gid);
  co_await std::move(looking);
}

// Rolled back under a tombstone: was a sibling committed all the same? By a process that remembered
// a decision which the log had lost, or by hand. Nothing is undone for that: the log's outcome
// stands (I3), and a person is shown what contradicts it. One that is away is not asked again.
asio::awaitable<void> Recovery::show_committed_siblings(Pass& pass, protocol::Gid gid) {
  for (Participant* sibling : participants_) {
    const std::string name(sibling->name());
    if (sibling == &pass.participant || !health_.usable(name)) continue;
    auto look = sibling->has_witness(gid);
    const auto witness = co_await std::move(look);
    if (!witness || !witness.value()) continue;
    if (contradicted_.size() >= contradicted_max) contradicted_.clear();
    const bool fresh = contradicted_.insert({gid, name}).second;
    std::string detail = "committed, while the log says abort and " +
                         std::string(pass.participant.name()) + " was rolled back";
    auto showing = show_heuristic(gid, name, std::move(detail), committed_against_the_log, fresh);
    const bool shown = co_await std::move(showing);
    if (!shown) contradicted_.erase({gid, name});
  }
}

// True once it is durable.
asio::awaitable<bool> Recovery::show_heuristic(protocol::Gid gid, std::string participant,
                                               std::string detail, std::string_view message,
                                               bool count) {
  auto record = log_.record_heuristic(fences_.log_owner(), gid, participant, detail);
  const auto recorded = co_await std::move(record);
  if (!recorded) {
    health_.failed(log_name, recorded.failure());
    co_return false;
  }
  if (!count) co_return true;
  metrics_.heuristic_outcome();
  metrics_.recovery_action("heuristic");
  const std::string text = protocol::format(gid);
  logging::error(message,
                 {{"gid", std::string_view(text)}, {"participant", std::string_view(participant)}});
  co_return true;
}

// A decided gid of an earlier epoch: is this participant's branch committed? Read before: the
// decision (not complete), then Q. A branch that is in neither Q nor the witnesses was lost, unless
// the decision, read once more, has been completed by somebody else meanwhile.
asio::awaitable<void> Recovery::finish_decision(Pass& pass, Decision decision) {
  std::string name(pass.participant.name());
  if (std::ranges::find(decision.participants, name) == decision.participants.end()) co_return;
  if (done_[decision.gid].contains(name)) co_return;
  // It may have become active and been applied here since A was read.
  if (active_().contains(decision.gid) || forgetter_.completing(decision.gid)) co_return;

  auto look = pass.participant.has_witness(decision.gid);
  const auto witness = co_await std::move(look);
  if (!witness) co_return;
  if (witness.value()) {
    branch_done(decision, name);
    co_return;
  }
  // Shown already. Each pass looks for the witness, so that a repair by hand needs no restart.
  if (heuristic_.contains({decision.gid, name})) co_return;
  auto list = pass.participant.list_prepared(pass.identity.installation);
  const auto prepared = co_await std::move(list);
  if (!prepared || std::ranges::find(prepared.value(), decision.gid) != prepared.value().end())
    co_return;
  auto look_again = pass.participant.has_witness(decision.gid);
  const auto committed_meanwhile = co_await std::move(look_again);
  if (!committed_meanwhile || committed_meanwhile.value()) co_return;

  std::vector<protocol::Gid> gids{decision.gid};
  auto reread = log_.decisions(gids);
  const auto now = co_await std::move(reread);
  // No row: it stood there a moment ago in this same pass, so it was completed and forgotten; and
  // if the log changed instead, the next pass finds that, and judges by the siblings.
  if (!now || now.value().empty()) co_return;
  const Decision& row = now.value().front();
  const auto outcome =
      row.outcome == DecisionOutcome::commit ? protocol::Outcome::commit : protocol::Outcome::abort;
  // Rules 9 to 11 of recovery_plan.hpp.
  if (protocol::judge_missing_branch(protocol::DecisionNow{outcome, row.complete}, true, false) ==
      protocol::MissingBranch::committed)
    co_return;
  // One that is heuristic already was counted and logged when that was first found.
  auto showing = show_heuristic(
      decision.gid, name, "found by recovery: decided commit, no prepared transaction, no witness",
      branch_lost, !decision.heuristic);
  const bool shown = co_await std::move(showing);
  if (shown) heuristic_.insert({decision.gid, name});
}

void Recovery::branch_done(const Decision& decision, std::string_view participant) {
  auto& done = done_[decision.gid];
  done.insert(std::string(participant));
  const bool all = std::ranges::all_of(decision.participants,
                                       [&](const auto& name) { return done.contains(name); });
  if (!all) return;
  forgetter_.applied(decision.gid, decision.participants);
}

// What the log no longer lists as incomplete needs no memory here.
void Recovery::forget_finished(const std::vector<Decision>& incomplete) {
  std::set<protocol::Gid> listed;
  for (const auto& decision : incomplete) listed.insert(decision.gid);
  std::erase_if(done_, [&](const auto& entry) { return !listed.contains(entry.first); });
  std::erase_if(heuristic_, [&](const auto& entry) { return !listed.contains(entry.first); });
}

// Another coordinator's branches stand prepared, or its decisions incomplete: if its lease is given
// back or was silent for long enough, its epoch is raised, and the next pass may finish them.
asio::awaitable<void> Recovery::take_over(Pass& pass) {
  std::set<std::string> others = protocol::suspects(pass.view);
  others.merge(pass.unfinished_elsewhere);
  if (others.empty()) co_return;
  std::vector<std::string> list(others.begin(), others.end());
  auto work = take_over_(std::move(list));
  const auto taken = co_await std::move(work);
  if (!taken || taken.value().empty()) co_return;
  for (const auto& coordinator : taken.value()) {
    metrics_.recovery_action("takeover");
    logging::warn("took over a coordinator whose lease ran out",
                  {{"coordinator", std::string_view(coordinator)}});
  }
  for (auto& [name, ticker] : tickers_) ticker->kick();
}

}  // namespace txcoord::engine
