// A log in memory, for tests of the engine alone: each call is written to one trace in the order in
// which it is made and answered, and can be told to fail or to wait.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "tests/unit/fake_participant.hpp"
#include "txcoord/log/transaction_log.hpp"

namespace txcoord::testing {

// One log for any number of coordinators; claims are not serialised (the pg tests do that).
class FakeLog final : public TransactionLog {
 public:
  explicit FakeLog(Script& script) : script_(script) {}

  struct Key {
    std::string scope, key;
    auto operator<=>(const Key&) const = default;
  };
  std::map<Key, StoredOutcome> stored;
  std::map<protocol::Gid, Decision> decided;
  // Another coordinator that lives renews its lease all the time; one that does not is silent.
  struct Other {
    std::uint64_t epoch = 0;
    bool lease_live = false;
    std::uint64_t renewals = 0;
    bool ended = false;
  };
  std::map<std::string, Other> epochs;
  std::set<std::string> heuristics;
  std::optional<protocol::Gid> held;  // somebody holds this decision's row
  bool lands_late = false;  // a decide that fails with outcome_unknown has committed all the same

  asio::awaitable<Result<ClaimReply>> claim(protocol::Gid gid, Operations operations) override {
    open_[gid] = operations;
    auto entering = script_.enter("log.claim");
    const auto failure = co_await std::move(entering);
    if (failure) co_return *failure;
    ClaimReply reply;
    reply.votes.resize(operations.size());
    reply.stored.resize(operations.size());
    for (std::size_t i = 0; i < operations.size(); ++i) {
      const auto found = stored.find({operations[i]->scope, operations[i]->idempotency_key});
      if (found == stored.end()) continue;
      reply.votes[i].answer = protocol::Answer::duplicate;
      reply.stored[i] = found->second;
    }
    co_return reply;
  }
  asio::awaitable<Result<Done>> decide(protocol::Gid gid, DecisionRecord record) override {
    auto entering = script_.enter(record.commit ? "log.decide" : "log.refuse");
    const auto failure = co_await std::move(entering);
    if (!failure || (failure->outcome_unknown && lands_late)) write(gid, record);
    open_.erase(gid);
    if (failure) co_return *failure;
    co_return Done{};
  }
  asio::awaitable<void> release(protocol::Gid gid) override {
    open_.erase(gid);
    auto entering = script_.enter("log.release");
    co_await std::move(entering);
  }
  asio::awaitable<Result<DecisionOutcome>> settle(LogOwner owner, protocol::Gid gid) override {
    auto entering = script_.enter("log.settle");
    const auto failure = co_await std::move(entering);
    if (failure) co_return *failure;
    if (fenced(owner)) co_return of_kind(FailureKind::fenced);
    Decision tombstone;
    tombstone.gid = gid;
    tombstone.outcome = DecisionOutcome::abort;
    tombstone.complete = true;
    co_return decided.emplace(gid, tombstone).first->second.outcome;
  }
  asio::awaitable<Result<std::vector<Decision>>> decisions(
      std::vector<protocol::Gid> gids) override {
    std::vector<Decision> found;
    for (const auto& gid : gids)
      if (const auto decision = decided.find(gid); decision != decided.end())
        found.push_back(decision->second);
    co_return found;
  }
  asio::awaitable<Result<std::vector<Decision>>> incomplete_decisions(std::size_t) override {
    std::vector<Decision> found;
    for (const auto& [gid, decision] : decided)
      if (!decision.complete) found.push_back(decision);
    co_return found;
  }
  asio::awaitable<Result<std::vector<protocol::Gid>>> complete(
      LogOwner owner, std::vector<protocol::Gid> gids) override {
    auto entering = script_.enter("log.complete");
    const auto failure = co_await std::move(entering);
    if (failure) co_return *failure;
    if (fenced(owner)) co_return of_kind(FailureKind::fenced);
    for (const auto& gid : gids)
      if (gid == held) co_return of_kind(FailureKind::lock_timeout);
    std::vector<protocol::Gid> aborted;
    for (const auto& gid : gids) {
      const auto decision = decided.find(gid);
      if (decision == decided.end()) continue;
      if (decision->second.outcome == DecisionOutcome::abort) aborted.push_back(gid);
      decision->second.complete = true;
    }
    co_return aborted;
  }
  asio::awaitable<Result<std::vector<Decision>>> complete_before(
      std::chrono::seconds, std::vector<std::string> away_names, std::size_t limit) override {
    std::vector<Decision> found;
    for (const auto& [gid, decision] : decided) {
      const bool named = std::ranges::any_of(away_names, [&](const auto& name) {
        return std::ranges::find(decision.participants, name) != decision.participants.end();
      });
      if (old && decision.outcome == DecisionOutcome::commit && decision.complete &&
          !decision.heuristic && !named && found.size() < limit)
        found.push_back(decision);
    }
    co_return found;
  }
  asio::awaitable<Result<Done>> forget(std::vector<protocol::Gid> gids) override {
    script_.trace.push_back("log.forget");
    for (const auto& gid : gids) decided.erase(gid);
    co_return Done{};
  }
  bool old = false;  // what is complete has been so for long
  asio::awaitable<Result<Done>> record_heuristic(LogOwner owner, protocol::Gid gid,
                                                 std::string participant, std::string) override {
    if (fenced(owner)) co_return of_kind(FailureKind::fenced);
    decided.at(gid).heuristic = true;
    heuristics.insert(participant);
    co_return Done{};
  }
  asio::awaitable<Result<std::vector<HeuristicOutcome>>> heuristic_outcomes(
      std::vector<protocol::Gid>) override {
    co_return std::vector<HeuristicOutcome>{};
  }
  asio::awaitable<Result<std::map<std::string, std::size_t>>> open_heuristics() override {
    std::map<std::string, std::size_t> open;
    for (const std::string& participant : heuristics) ++open[participant];
    co_return open;
  }
  asio::awaitable<Result<Done>> resolve_heuristic(protocol::Gid, std::vector<std::string>,
                                                  std::string) override {
    co_return Done{};
  }
  asio::awaitable<Result<DecisionOutcome>> write_decision_again(
      LogOwner owner, protocol::Gid gid, std::vector<std::string> participants,
      std::vector<std::string> order_ids) override {
    auto entering = script_.enter("log.write_decision_again");
    const auto failure = co_await std::move(entering);
    if (failure) co_return *failure;
    if (fenced(owner)) co_return of_kind(FailureKind::fenced);
    Decision decision;
    decision.gid = gid;
    decision.participants = std::move(participants);
    decision.order_ids = std::move(order_ids);
    co_return decided.try_emplace(gid, std::move(decision)).first->second.outcome;
  }
  asio::awaitable<Result<std::string>> installation() override {
    co_return std::string("0a1b2c3d");
  }
  asio::awaitable<Result<std::uint64_t>> raise_epoch(std::string coordinator,
                                                     std::uint64_t above) override {
    auto& state = epochs[coordinator];
    state.lease_live = true;
    state.ended = false;
    state.epoch = std::max(state.epoch, above) + 1;
    co_return state.epoch;
  }
  asio::awaitable<Result<LeaseRound>> renew_lease(std::string coordinator) override {
    if (away || read_only) co_return unavailable();
    epochs[coordinator].lease_live = true;
    for (auto& [name, state] : epochs)
      if (state.lease_live) ++state.renewals;
    co_return LeaseRound{now, states()};
  }
  asio::awaitable<Result<Done>> end_lease(std::string coordinator) override {
    epochs[coordinator].lease_live = false;
    epochs[coordinator].ended = true;
    co_return Done{};
  }
  asio::awaitable<Result<Coordinators>> coordinators() override {
    if (away) co_return unavailable();
    co_return states();
  }
  asio::awaitable<Result<std::vector<std::string>>> take_over(
      std::vector<LeaseClaim> claims) override {
    std::vector<std::string> taken;
    for (const auto& claim : claims) {
      auto& state = epochs[claim.coordinator];
      if (state.renewals != claim.seen.renewals || state.epoch != claim.seen.epoch) continue;
      ++state.epoch;
      ++state.renewals;
      taken.push_back(claim.coordinator);
    }
    co_return taken;
  }
  DegradedModes modes;
  asio::awaitable<Result<DegradedModes>> degraded_modes() override {
    const DegradedModes read = modes;  // as of the call, however long the answer takes
    if (away) co_return unavailable();
    auto entering = script_.enter("log.degraded_modes");
    const auto failure = co_await std::move(entering);
    if (failure) co_return *failure;
    co_return read;
  }
  asio::awaitable<Result<Done>> set_degraded_mode(std::string participant,
                                                  std::string mode) override {
    auto entering = script_.enter("log.set_degraded_mode");
    const auto failure = co_await std::move(entering);
    if (failure) co_return *failure;
    modes.set(participant, !mode.empty());
    co_return Done{};
  }
  asio::awaitable<Result<std::optional<StoredOutcome>>> find_outcome(std::string,
                                                                     std::string) override {
    co_return std::optional<StoredOutcome>{};
  }
  asio::awaitable<Result<std::vector<protocol::Gid>>> unapplied(std::string order_id) override {
    std::vector<protocol::Gid> gids;
    for (const auto& [gid, decision] : decided)
      for (const auto& order : decision.order_ids)
        if (!decision.complete && order == order_id) gids.push_back(gid);
    co_return gids;
  }
  asio::awaitable<Result<std::vector<StoredOutcome>>> unapplied_outcomes(std::string) override {
    co_return std::vector<StoredOutcome>{};
  }
  asio::awaitable<Result<std::vector<Decision>>> list_decisions(std::string, std::size_t) override {
    co_return std::vector<Decision>{};
  }
  LogIdentity now{"7000000000000000001", 1, 100};
  asio::awaitable<Result<LogIdentity>> identity() override { co_return now; }
  asio::awaitable<Result<std::uint64_t>> trim(std::chrono::seconds, std::chrono::seconds,
                                              std::chrono::seconds) override {
    co_return decided.size();
  }

  bool away = false;
  bool read_only = false;  // it answers, and takes no renewal
  bool fenced(const LogOwner& owner) { return epochs[owner.coordinator].epoch != owner.epoch; }

 private:
  Coordinators states() const {
    Coordinators found;
    for (const auto& [name, state] : epochs)
      found[name] = {state.epoch, state.renewals, 0, state.ended, 0};
    return found;
  }
  void write(const protocol::Gid& gid, const DecisionRecord& record) {
    const Operations operations = open_[gid];
    Decision decision;
    decision.gid = gid;
    decision.participants = record.participants;
    for (const auto index : record.confirmed) {
      decision.order_ids.push_back(operations[index]->order_id);
      store(*operations[index], true, "");
    }
    for (const auto& refused : record.refused)
      store(*operations[refused.index], false, refused.reason);
    if (record.commit) decided.emplace(gid, decision);
  }
  void store(const Operation& operation, bool confirmed, const std::string& reason) {
    StoredOutcome outcome;
    outcome.fingerprint = operation.fingerprint;
    outcome.confirmed = confirmed;
    outcome.order_id = operation.order_id;
    outcome.reason = reason;
    stored[{operation.scope, operation.idempotency_key}] = outcome;
  }

  Script& script_;
  std::map<protocol::Gid, Operations> open_;
};

}  // namespace txcoord::testing
