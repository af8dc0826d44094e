// The engine behind the REST layer: takes operations in, forms groups, keeps what is under way,
// and runs the background work (recovery, lease, completion, housekeeping).
// Single-threaded: everything here happens on the I/O thread.
//
// Bounds: the queue (queue_operations_max), groups not finished (unfinished_groups_max, below the
// prepared slots), groups asking for locks (asking_groups_max), groups before their end (lanes),
// and those of sagas.hpp.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "participants/participant.hpp"
#include "participants/payment/card_settlement.hpp"
#include "txcoord/base/settings.hpp"
#include "txcoord/engine/contention.hpp"
#include "txcoord/engine/driver.hpp"
#include "txcoord/engine/engine.hpp"
#include "txcoord/engine/fences.hpp"
#include "txcoord/engine/forgetter.hpp"
#include "txcoord/engine/leases.hpp"
#include "txcoord/engine/recovery.hpp"
#include "txcoord/engine/sagas.hpp"
#include "txcoord/engine/ticker.hpp"

namespace txcoord::engine {

class Coordinator final : public Engine {
 public:
  // `participants` in any order; the vote and commit orders are by name. `on_fatal` is called when
  // this process must stop: it is fenced.
  Coordinator(asio::any_io_executor io, const Settings& settings,
              std::vector<Participant*> participants, TransactionLog& log, SagaLog& saga_log,
              CrashPoints& crash, Metrics& metrics, std::function<void(std::string)> on_fatal);

  // Reaches the log (waiting for it as long as it takes), raises the epoch, starts the background
  // loops. Returns when they run; ready() tells when the first recovery is done everywhere.
  asio::awaitable<void> start();
  // From now on ready() is false and draining() true; work is taken as before, until drain().
  void leave() { leaving_ = true; }
  // Refuses new work, waits until what is under way is finished or `wait_max` has passed, makes
  // completions durable and gives the lease up.
  asio::awaitable<void> drain(std::chrono::milliseconds wait_max);

  asio::awaitable<SubmitResult> submit(std::shared_ptr<const Operation> operation,
                                       SubmitOptions options) override;
  std::optional<PendingOrder> pending(const std::string& order_id) const override;
  std::vector<ActiveTransaction> active() const override;
  std::map<std::string, ParticipantHealth> health() const override { return health_.all(); }
  bool ready() const override;
  bool draining() const override { return leaving_ || draining_; }
  DegradedModes degraded() const override { return modes_; }
  asio::awaitable<Result<Done>> set_degraded(std::string participant, bool on) override;

  // What is known of global transactions: what work beside the branches (card settlement) asks
  // before it gives up what an aborted one took. `aborted` here also means complete and trimmed:
  // either way its branches are at rest.
  asio::awaitable<Result<std::vector<GlobalState>>> global_states(std::vector<protocol::Gid> gids);
  // An order's reservations have expired, and the order has failed by that: its saga, if it is at
  // work here, goes no further.
  void reservation_expired(const std::string& order_id);
  // Who this coordinator is; the epoch is 0 until start() has raised it.
  // Before barriers are deleted (rules 4 and 5 of fences.hpp). False: not now.
  asio::awaitable<bool> raise_for_trim() { return sagas_.raise_for_trim(); }
  RecoveryIdentity identity() const {
    RecoveryIdentity now = identity_;
    now.incarnation = fences_.owner().incarnation;
    return now;
  }
  // `what` is called when recovery finds that the log may lack decisions, until that is dealt with.
  void on_log_changed(std::function<void()> what) { recovery_.on_log_changed = std::move(what); }

 private:
  struct OrderEntry {
    SubmissionPtr submission;
    GroupPtr group;  // null while it is queued
  };

  DriverHooks make_hooks();
  SagaHooks make_saga_hooks();
  protocol::Gid next_gid();
  protocol::GroupPlan plan_for(const GroupRequest& request) const;
  std::vector<std::vector<protocol::ParticipantId>> vote_stages(const GroupRequest& request) const;
  std::optional<SubmitResult> refuse_at_door(const Operation& operation,
                                             const SubmitOptions& options) const;
  void enter(const SubmissionPtr& submission, const SubmitOptions& options);
  asio::awaitable<bool> wait_until_applied(std::string order_id, bool by_queue,
                                           SteadyTime deadline);
  asio::awaitable<void> wait_for(SubmissionPtr submission, SubmitOptions options,
                                 SteadyTime deadline);

  bool may_form() const;
  void pump();
  void start_group(GroupRequest request);
  void refuse_queued(bool all, SubmitStatus status, std::string_view why);

  void reply(const GroupPtr& group);
  SubmitResult result_of(const Group& group, std::size_t index) const;
  bool services_apart() const;
  void learn_held_rows(const Group& group);
  void set_aside(const SubmissionPtr& submission, const protocol::Verdict& verdict);
  void answer_held(const SubmissionPtr& submission);
  void answer_missing(const SubmissionPtr& submission);
  bool queue_again(const SubmissionPtr& submission);
  void answer(const SubmissionPtr& submission, SubmitResult result);
  void count_answer(const Submission& submission, const SubmitResult& result) const;
  void count_refusal(const Operation& operation, const SubmitResult& result) const;
  void applied(const GroupPtr& group);
  void finished(const GroupPtr& group);
  void fenced(std::string why);

  asio::awaitable<void> run_lease();
  asio::awaitable<bool> renew_lease();
  asio::awaitable<Result<std::vector<std::string>>> take_over(std::vector<std::string> suspects);
  asio::awaitable<void> run_modes();
  asio::awaitable<void> read_modes();
  void adopt_modes(const DegradedModes& modes);
  asio::awaitable<void> run_queue_clock();
  void show_quarantine();
  asio::awaitable<void> run_trim();
  asio::awaitable<void> run_gauges();
  asio::awaitable<void> look_into(Participant& participant);
  asio::awaitable<void> look_into_log();
  std::set<protocol::Gid> active_gids() const;
  void spawn(asio::awaitable<void> work);

  asio::any_io_executor io_;
  const Settings& settings_;
  std::vector<Participant*> participants_;
  TransactionLog& log_;
  Metrics& metrics_;
  std::function<void(std::string)> on_fatal_;

  RecoveryIdentity identity_;
  std::string incarnation_;
  std::uint64_t seq_ = 0;
  bool started_ = false;
  bool leaving_ = false;   // going to drain: nobody should send more
  bool draining_ = false;  // new work is refused
  bool fenced_ = false;
  DegradedModes modes_;          // as last read from the log
  std::uint64_t modes_set_ = 0;  // how often they were set here
  bool alone_ = false;           // no other coordinator shows life: votes may go out all at once

  Leases leases_;
  Health health_;
  Fences fences_;
  Forgetter forgetter_;
  GroupQueue queue_;
  Contention contention_;
  bool quarantine_shown_ = true;  // the gauge says something: it has to be set again
  Driver driver_;
  Recovery recovery_;
  Sagas sagas_;

  std::map<protocol::Gid, GroupPtr> groups_;  // A: a gid enters before its first message
  std::set<GroupPtr> gate_;                   // the groups that are asking for locks
  std::set<protocol::Gid> step_gids_;         // of saga steps under way; part of A
  std::size_t lanes_used_ = 0;
  std::unordered_set<std::string> keys_in_flight_;
  std::unordered_map<std::string, OrderEntry> orders_;
  Ticker lease_ticker_, modes_ticker_, queue_ticker_, trim_ticker_, gauge_ticker_;
  asio::steady_timer idle_;  // cancelled when something ends: drain() waits on it
};

}  // namespace txcoord::engine
