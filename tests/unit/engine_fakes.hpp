// A log in memory, for tests of the engine alone: each call is written to one trace in the order in
// which it is made and answered, and can be told to fail or to wait.
#pragma once

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
  std::map<std::string, CoordinatorState> epochs;
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
  asio::awaitable<Result<DecisionOutcome>> settle(protocol::Gid gid) override {
    auto entering = script_.enter("log.settle");
    const auto failure = co_await std::move(entering);
    if (failure) co_return *failure;
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
  asio::awaitable<Result<Done>> complete(std::vector<protocol::Gid> gids) override {
    script_.trace.push_back("log.complete");
    for (const auto& gid : gids)
      if (gid == held) co_return of_kind(FailureKind::lock_timeout);
    for (const auto& gid : gids) decided.at(gid).complete = true;
    co_return Done{};
  }
  asio::awaitable<Result<Done>> record_heuristic(protocol::Gid gid, std::string participant,
                                                 std::string) override {
    decided.at(gid).heuristic = true;
    heuristics.insert(participant);
    co_return Done{};
  }
  asio::awaitable<Result<DecisionOutcome>> write_decision_again(
      protocol::Gid gid, std::vector<std::string> participants,
      std::vector<std::string> order_ids) override {
    auto entering = script_.enter("log.write_decision_again");
    const auto failure = co_await std::move(entering);
    if (failure) co_return *failure;
    Decision decision;
    decision.gid = gid;
    decision.participants = std::move(participants);
    decision.order_ids = std::move(order_ids);
    co_return decided.try_emplace(gid, std::move(decision)).first->second.outcome;
  }
  asio::awaitable<Result<std::string>> installation() override {
    co_return std::string("0a1b2c3d");
  }
  asio::awaitable<Result<std::uint64_t>> raise_epoch(std::string coordinator) override {
    auto& state = epochs[coordinator];
    state.lease_live = true;
    co_return ++state.epoch;
  }
  asio::awaitable<Result<Done>> renew_lease(std::string coordinator) override {
    if (away) co_return unavailable();
    epochs[coordinator].lease_live = true;
    co_return Done{};
  }
  asio::awaitable<Result<Done>> end_lease(std::string coordinator) override {
    epochs[coordinator].lease_live = false;
    co_return Done{};
  }
  asio::awaitable<Result<std::map<std::string, CoordinatorState>>> coordinators() override {
    if (away) co_return unavailable();
    co_return epochs;
  }
  asio::awaitable<Result<std::vector<std::string>>> take_over(
      std::string, std::vector<std::string> suspects) override {
    std::vector<std::string> taken;
    for (const auto& suspect : suspects) {
      if (epochs[suspect].lease_live) continue;
      ++epochs[suspect].epoch;
      taken.push_back(suspect);
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

 private:
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
