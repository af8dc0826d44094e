// A participant in memory: branches and saga steps behave as the port says, each call is in the
// trace and can be told to fail or to wait.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "participants/participant.hpp"
#include "tests/unit/call_script.hpp"

namespace txcoord::testing {

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

  protocol::LogPoint seen;  // what it was last told of the log
  asio::awaitable<Result<protocol::LogPoint>> log_seen(std::string) override {
    if (away) co_return unavailable();
    co_return seen;
  }
  asio::awaitable<Result<Done>> note_log_seen(std::string, protocol::LogPoint point) override {
    script_.trace.push_back(name_ + ".note_log");
    seen = point;
    co_return Done{};
  }

  // A step answers from its barrier; one that fails with outcome_unknown was done all the same.
  asio::awaitable<Result<std::vector<StepReply>>> run_step(protocol::Gid,
                                                           StepRequest request) override {
    largest_step = std::max(largest_step, request.calls.size());
    auto entering = script_.enter(name_ + "." + request.step);
    const auto failure = co_await std::move(entering);
    if (failure && !failure->outcome_unknown) co_return *failure;
    for (const StepCall& call : request.calls)
      if (call.operation->order_id == poison_order)
        co_return Failure{FailureKind::poison, false, "22003", "too large"};
    std::vector<StepReply> replies;
    for (const StepCall& call : request.calls) replies.push_back(step(call, request));
    if (failure) co_return *failure;
    co_return replies;
  }
  std::vector<std::string> steps_trimmed;  // saga ids
  asio::awaitable<Result<Done>> trim_steps(std::vector<std::string> saga_ids) override {
    steps_trimmed.insert(steps_trimmed.end(), saga_ids.begin(), saga_ids.end());
    co_return Done{};
  }
  std::map<std::string, SagaBarriers> listed;  // by saga id: what list_steps() tells
  bool shared = false;
  std::size_t times_listed = 0;
  asio::awaitable<Result<BarriersPage>> list_steps(BarriersQuery query) override {
    ++times_listed;
    if (away) co_return unavailable();
    BarriersPage page{{}, shared};
    for (const auto& [id, saga] : listed) {
      const bool named = std::ranges::find(query.saga_ids, id) != query.saga_ids.end();
      const bool next = query.saga_ids.empty() && id > query.after;
      if (named || (next && page.sagas.size() < query.limit)) page.sagas.push_back(saga);
    }
    co_return page;
  }
  // Replies to a step that comes for the first time; done where nothing was set.
  std::function<StepReply(const StepCall&, const StepRequest&)> answer_step =
      [](const StepCall&, const StepRequest&) { return StepReply{}; };
  std::map<std::pair<std::string, std::string>, StepReply> barriers;  // by saga and step
  std::vector<std::string> done;  // "saga step", in the order in which they took effect
  std::size_t largest_step = 0;
  std::string poison_order;       // no step of this order can be applied
  bool forgets_refusals = false;  // a refused step is judged again when it is asked again

  // The PREPARE whose answer was lost takes effect now.
  void land_late_prepare() {
    if (late_) prepared.insert(*late_);
  }
  bool away = false;

 private:
  StepReply step(const StepCall& call, const StepRequest& request) {
    if (const auto known = barriers.find({call.saga_id, request.step}); known != barriers.end())
      return known->second;
    StepReply reply;
    bool nothing_to_undo = false;
    if (!request.undoes.empty()) {
      const auto [undone, fresh] = barriers.try_emplace({call.saga_id, request.undoes},
                                                        StepReply{StepStatus::barred, "", ""});
      nothing_to_undo = fresh || undone->second.status != StepStatus::done;
    }
    if (!nothing_to_undo) {
      reply = answer_step(call, request);
      if (reply.status == StepStatus::retry) return reply;
      if (reply.status == StepStatus::done) done.push_back(call.saga_id + " " + request.step);
    }
    const bool kept = reply.status == StepStatus::done || !forgets_refusals;
    if (kept) barriers[{call.saga_id, request.step}] = reply;
    return reply;
  }

  std::string name_;
  Script& script_;
  std::map<protocol::Gid, Operations> operations_;
  std::optional<protocol::Gid> late_;
};

}  // namespace txcoord::testing
