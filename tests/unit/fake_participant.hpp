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
  std::function<void()> on_list;  // what befalls just before the prepared branches are listed
  std::size_t largest_group = 0;
  LockMode last_lock_mode = LockMode::skip;
  std::string poison_key;  // no group that holds this operation can be prepared: it fails so
  Failure poison_failure{FailureKind::poison, false, "22003", "too large"};

  asio::awaitable<Result<protocol::Votes>> vote(protocol::Gid gid, Operations operations,
                                                LockMode lock_mode = LockMode::skip) override {
    last_lock_mode = lock_mode;
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
      if (operation->idempotency_key == poison_key) co_return poison_failure;
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
    if (on_list) on_list();
    std::vector<protocol::Gid> gids(prepared.begin(), prepared.end());
    co_return gids;
  }
  asio::awaitable<Result<Done>> trim_witnesses(std::vector<protocol::Gid> gids,
                                               std::optional<FenceOwner> owner) override {
    auto entering = script_.enter(name_ + ".trim");
    const auto failure = co_await std::move(entering);
    if (failure) co_return *failure;
    if (refuses(owner)) co_return of_kind(FailureKind::fenced);
    for (const auto& gid : gids) witnesses.erase(gid);
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
  asio::awaitable<Result<Done>> note_log_seen(std::string, protocol::LogPoint point,
                                              std::optional<FenceOwner> owner) override {
    if (refuses(owner)) co_return of_kind(FailureKind::fenced);
    script_.trace.push_back(name_ + ".note_log");
    seen = point;
    co_return Done{};
  }

  // A step answers from its barrier; one that fails with outcome_unknown was done all the same.
  asio::awaitable<Result<std::vector<StepReply>>> run_step(protocol::Gid gid,
                                                           StepRequest request) override {
    step_gids.push_back(gid);
    largest_step = std::max(largest_step, request.calls.size());
    auto entering = script_.enter(name_ + "." + request.step);
    const auto failure = co_await std::move(entering);
    if (failure && !failure->outcome_unknown) co_return *failure;
    if (refuses(fence_owner(gid))) co_return of_kind(FailureKind::fenced);
    const bool poisoned = std::ranges::any_of(request.calls, [this](const StepCall& call) {
      return call.operation->order_id == poison_order;
    });
    if (poisoned && !poison_failure.outcome_unknown) co_return poison_failure;
    std::vector<StepReply> replies;
    for (const StepCall& call : request.calls) replies.push_back(step(call, request));
    if (failure) co_return *failure;
    if (poisoned) co_return poison_failure;
    co_return replies;
  }
  std::vector<std::string> steps_trimmed;  // saga ids
  asio::awaitable<Result<Done>> trim_steps(std::vector<std::string> saga_ids,
                                           std::optional<FenceOwner> owner) override {
    if (refuses(owner)) co_return of_kind(FailureKind::fenced);
    steps_trimmed.insert(steps_trimmed.end(), saga_ids.begin(), saga_ids.end());
    for (const std::string& id : saga_ids)
      std::erase_if(barriers, [&](const auto& entry) { return entry.first.first == id; });
    script_.trace.push_back(name_ + ".trim_steps");
    co_return Done{};
  }

  // By coordinator. Each raise that changes one is in the trace, with whose it is now.
  std::map<std::string, FenceOwner> fence_rows;
  bool has_no_fences = false;  // as a participant of an earlier version
  asio::awaitable<Result<FenceOwner>> raise_fence(FenceOwner owner, std::string replaces) override {
    if (away) co_return unavailable();
    if (has_no_fences) co_return of_kind(FailureKind::not_found);
    auto entering = script_.enter(name_ + ".raise " + owner.coordinator);
    const auto failure = co_await std::move(entering);
    if (failure) co_return *failure;
    FenceOwner& row = fence_rows[owner.coordinator];
    const bool own = row.epoch == owner.epoch && !owner.incarnation.empty() &&
                     (row.incarnation.empty() || row.incarnation == replaces);
    if (row.epoch < owner.epoch || own) row = owner;
    co_return row;
  }
  asio::awaitable<Result<std::vector<FenceOwner>>> fences(std::string) override {
    if (away) co_return unavailable();
    if (has_no_fences) co_return of_kind(FailureKind::not_found);
    std::vector<FenceOwner> rows;
    for (const auto& [coordinator, row] : fence_rows) rows.push_back(row);
    co_return rows;
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
  std::vector<std::string> done;         // "saga step", in the order in which they took effect
  std::vector<protocol::Gid> step_gids;  // of each call
  std::size_t largest_step = 0;
  std::string poison_order;       // no step of this order can be applied
  bool forgets_refusals = false;  // a refused step is judged again when it is asked again

  // The PREPARE whose answer was lost takes effect now.
  void land_late_prepare() {
    if (late_) prepared.insert(*late_);
  }
  bool away = false;

 private:
  bool refuses(const std::optional<FenceOwner>& owner) {
    return owner && !has_no_fences && fence_rows[owner->coordinator] != *owner;
  }
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
