// Runs one group's TwoPhase: performs its actions on participants and log, feeds back what came
// of them. Event-driven on the I/O thread; every action ends by its own deadline, so every group
// ends or stays visible as waiting for a named database.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "participants/participant.hpp"
#include "txcoord/engine/backoff.hpp"
#include "txcoord/engine/crash_points.hpp"
#include "txcoord/engine/event_feed.hpp"
#include "txcoord/engine/group_queue.hpp"
#include "txcoord/engine/health.hpp"
#include "txcoord/engine/own_rows.hpp"
#include "txcoord/log/transaction_log.hpp"
#include "txcoord/metrics/metrics.hpp"
#include "txcoord/protocol/recovery_plan.hpp"
#include "txcoord/protocol/two_phase.hpp"

namespace txcoord::engine {

struct Group {
  Group(protocol::Gid id, GroupRequest what, protocol::GroupPlan plan)
      : gid(std::move(id)),
        text(protocol::format(gid)),
        request(std::move(what)),
        core(std::move(plan)) {
    for (const auto& member : request.members) operations.push_back(member->operation);
  }

  protocol::Gid gid;
  std::string text;  // the gid as text
  GroupRequest request;
  Operations operations;
  protocol::TwoPhase core;
  std::vector<std::optional<StoredOutcome>> stored;  // where the log voted duplicate

  // The log before this gid's first message; empty: it was not seen yet.
  protocol::LogPoint log_at_start;
  UtcTime started_at{};
  SteadyTime phase_started_at{};
  EventFeed<protocol::Event> feed;
  bool holds_gate = true;  // the next group may not ask for locks yet
  bool holds_lane = true;  // counts against the lanes
  bool resubmitted = false;
};
using GroupPtr = std::shared_ptr<Group>;

// What the driver tells its owner. Called on the I/O thread, between steps.
struct DriverHooks {
  std::function<void(const GroupPtr&)> gate_open;  // its locks are held, or it will take none
  std::function<void(const GroupPtr&)> lane_free;  // over, or its commit waits for a database
  std::function<void(const GroupPtr&)> reply;      // outcomes are known
  std::function<void(const GroupPtr&)> applied;    // every branch is committed
  std::function<void(const GroupPtr&)> complete;   // … and the log should be told
  std::function<void(std::string_view)> sweep;     // look for a late PREPARE there at once
  std::function<void(GroupRequest)> resubmit;
  std::function<void(const GroupPtr&)> finished;  // the gid leaves the active set
  std::function<void(std::string)> fenced;        // this process may not decide any more
};

class Driver {
 public:
  Driver(asio::any_io_executor io, std::vector<Participant*> participants, TransactionLog& log,
         Health& health, CrashPoints& crash, Metrics& metrics, std::chrono::milliseconds vote_max,
         DriverHooks hooks);

  void start(const GroupPtr& group);

 private:
  using Event = protocol::Event;
  using Action = protocol::Action;

  void deliver(const GroupPtr& group, Event event);
  void step(const GroupPtr& group, const Event& event);
  void observe(const GroupPtr& group, protocol::State before, const Event& event);
  void follow_rows(const Group& group, const Event& event);
  void perform(const GroupPtr& group, const Action& action);
  void spawn(asio::awaitable<void> work);
  void resubmit(const GroupPtr& group, protocol::ActionKind how);

  asio::awaitable<void> claim(GroupPtr group);
  asio::awaitable<void> vote(GroupPtr group, protocol::ParticipantId id);
  asio::awaitable<void> judge(GroupPtr group, Action action);
  asio::awaitable<void> prepare(GroupPtr group, Action action);
  asio::awaitable<void> decide(GroupPtr group, bool commit);
  asio::awaitable<void> settle(GroupPtr group, std::uint32_t attempt);
  asio::awaitable<void> commit(GroupPtr group, Action action);
  asio::awaitable<void> check_witness(GroupPtr group, Action action);
  asio::awaitable<void> reread_decision(GroupPtr group, Action action);
  asio::awaitable<Result<protocol::MissingBranch>> judge_missing_branch(GroupPtr group);
  asio::awaitable<Result<protocol::MissingBranch>> judge_missing_row(GroupPtr group);
  asio::awaitable<void> record_heuristic(GroupPtr group, Action action);
  asio::awaitable<void> rollback(GroupPtr group, protocol::ParticipantId id);
  asio::awaitable<bool> show_if_committed(GroupPtr group, protocol::ParticipantId id);
  asio::awaitable<void> release(GroupPtr group, protocol::ParticipantId id);
  asio::awaitable<void> pause_before(std::uint32_t attempt);

  Participant& participant(protocol::ParticipantId id) { return *participants_.at(id); }
  DecisionRecord record_of(const Group& group, bool commit) const;

  asio::any_io_executor io_;
  std::vector<Participant*> participants_;
  TransactionLog& log_;
  Health& health_;
  CrashPoints& crash_;
  Metrics& metrics_;
  std::chrono::milliseconds vote_max_;
  DriverHooks hooks_;
  OwnRows own_rows_;
  std::minstd_rand jitter_{std::random_device{}()};
};

}  // namespace txcoord::engine
