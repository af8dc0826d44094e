// A participant and a log in memory, for tests of the engine alone: each call is written to one
// trace in the order in which it is made and answered, and can be told to fail or to wait.
#pragma once

#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "txcoord/log/transaction_log.hpp"

namespace txcoord::testing {

// "inventory.vote", "log.decide", …: who was asked what, and "… done" when it was answered.
using Trace = std::vector<std::string>;

inline std::size_t position(const Trace& trace, const std::string& entry) {
  for (std::size_t i = 0; i < trace.size(); ++i)
    if (trace[i] == entry) return i;
  return trace.size();
}
inline std::size_t count(const Trace& trace, const std::string& entry) {
  std::size_t times = 0;
  for (const auto& line : trace) times += line == entry ? 1 : 0;
  return times;
}

// Failures to come, by call, first in first out; and calls that wait until they are let go.
class Script {
 public:
  explicit Script(const asio::any_io_executor& io) : io_(io) {}

  void fail(const std::string& call, Failure failure) {
    failures_[call].push_back(std::move(failure));
  }
  void hold(const std::string& call) { held_.insert(call); }
  void let_go(const std::string& call) { held_.erase(call); }

  // Enters the call in the trace, waits while it is held, and gives its failure, if it has one.
  asio::awaitable<std::optional<Failure>> enter(std::string call) {
    trace.push_back(call);
    while (held_.contains(call)) {
      asio::steady_timer timer(io_, std::chrono::milliseconds(1));
      boost::system::error_code ignored;
      auto token = asio::redirect_error(asio::use_awaitable, ignored);
      co_await timer.async_wait(token);
    }
    auto& failures = failures_[call];
    if (failures.empty()) {
      trace.push_back(call + " done");
      co_return std::nullopt;
    }
    Failure failure = failures.front();
    failures.erase(failures.begin());
    trace.push_back(call + " failed");
    co_return failure;
  }

  Trace trace;

 private:
  asio::any_io_executor io_;
  std::map<std::string, std::vector<Failure>> failures_;
  std::set<std::string> held_;
};

inline Failure unavailable(bool outcome_unknown = false) {
  return {FailureKind::unavailable, outcome_unknown, "", "away"};
}
inline Failure of_kind(FailureKind kind) { return {kind, false, "", "told to"}; }

class FakeParticipant final : public Participant {
 public:
  FakeParticipant(std::string name, Script& script) : name_(std::move(name)), script_(script) {}

  std::string_view name() const override { return name_; }
  bool touches(const Operation&) const override { return true; }
  // Votes on each operation; yes where nothing was set.
  std::function<protocol::Vote(const Operation&)> judge_one = [](const Operation&) {
    return protocol::Vote{};
  };
  std::set<protocol::Gid> prepared, witnesses;
  std::size_t largest_group = 0;
  std::string poison_key;  // no group that holds this operation can be prepared

  asio::awaitable<Result<protocol::Votes>> vote(protocol::Gid gid, Operations operations) override {
    largest_group = std::max(largest_group, operations.size());
    operations_[gid] = operations;
    auto entering = script_.enter(name_ + ".vote");
    const auto failure = co_await std::move(entering);
    if (failure) co_return *failure;
    protocol::Votes votes;
    for (const auto& operation : operations) votes.push_back(judge_one(*operation));
    co_return votes;
  }
  asio::awaitable<Result<protocol::Votes>> judge(protocol::Gid gid, OperationMask) override {
    auto entering = script_.enter(name_ + ".judge");
    const auto failure = co_await std::move(entering);
    if (failure) co_return *failure;
    protocol::Votes votes;
    for (const auto& operation : operations_[gid]) votes.push_back(judge_one(*operation));
    co_return votes;
  }
  asio::awaitable<Result<Done>> prepare(protocol::Gid gid, OperationMask) override {
    auto entering = script_.enter(name_ + ".prepare");
    const auto failure = co_await std::move(entering);
    if (failure) {
      if (failure->outcome_unknown) late_ = gid;
      co_return *failure;
    }
    for (const auto& operation : operations_[gid])
      if (operation->idempotency_key == poison_key)
        co_return Failure{FailureKind::poison, false, "22003", "too large"};
    prepared.insert(gid);
    co_return Done{};
  }
  asio::awaitable<void> release(protocol::Gid) override {
    auto entering = script_.enter(name_ + ".release");
    co_await std::move(entering);
  }
  asio::awaitable<Result<Done>> commit_prepared(protocol::Gid gid) override {
    auto entering = script_.enter(name_ + ".commit");
    const auto failure = co_await std::move(entering);
    if (failure) co_return *failure;
    if (prepared.erase(gid) == 0) co_return of_kind(FailureKind::not_found);
    witnesses.insert(gid);
    co_return Done{};
  }
  asio::awaitable<Result<Done>> rollback_prepared(protocol::Gid gid) override {
    auto entering = script_.enter(name_ + ".rollback");
    const auto failure = co_await std::move(entering);
    if (failure) co_return *failure;
    if (prepared.erase(gid) == 0) co_return of_kind(FailureKind::not_found);
    co_return Done{};
  }
  asio::awaitable<Result<bool>> has_witness(protocol::Gid gid) override {
    auto entering = script_.enter(name_ + ".witness");
    const auto failure = co_await std::move(entering);
    if (failure) co_return *failure;
    co_return witnesses.contains(gid);
  }
  asio::awaitable<Result<std::vector<protocol::Gid>>> list_prepared(std::string) override {
    if (away) co_return unavailable();
    std::vector<protocol::Gid> gids(prepared.begin(), prepared.end());
    co_return gids;
  }
  asio::awaitable<Result<Done>> trim_witnesses(std::vector<protocol::Gid> gids) override {
    for (const auto& gid : gids) witnesses.erase(gid);
    script_.trace.push_back(name_ + ".trim");
    co_return Done{};
  }
  asio::awaitable<Result<ParticipantGauges>> gauges(std::string) override {
    co_return ParticipantGauges{};
  }

  // The PREPARE whose answer was lost takes effect now.
  void land_late_prepare() {
    if (late_) prepared.insert(*late_);
  }
  bool away = false;

 private:
  std::string name_;
  Script& script_;
  std::map<protocol::Gid, Operations> operations_;
  std::optional<protocol::Gid> late_;
};

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
    for (const auto& gid : gids) decided.at(gid).complete = true;
    co_return Done{};
  }
  asio::awaitable<Result<Done>> record_heuristic(protocol::Gid gid, std::string participant,
                                                 std::string) override {
    decided.at(gid).heuristic = true;
    heuristics.insert(participant);
    co_return Done{};
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
  asio::awaitable<Result<LogIdentity>> identity() override { co_return LogIdentity{}; }
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
