// Runs sagas: performs the actions of protocol/saga.hpp, feeds back what came of them, and goes on
// after a crash with what the log says.
//
// Work is grouped where it is done (station.hpp): all sagas that wait for the same step of a
// participant share one local transaction, all states that wait to be recorded one commit of the
// log. With a batch size of one this is the textbook saga.
//
// Orders accepted before they are tried (Prefer: respond-async) are sagas too, in both modes: the
// log's row is the outbox, this the worker.
// Single-threaded. Bounds: running_max sagas, and those of station.hpp.
// What is ours in the log and not at work here is found and taken up: saga_ownership.cpp.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "participants/participant.hpp"
#include "txcoord/base/settings.hpp"
#include "txcoord/engine/contention.hpp"
#include "txcoord/engine/crash_points.hpp"
#include "txcoord/engine/event_feed.hpp"
#include "txcoord/engine/fences.hpp"
#include "txcoord/engine/health.hpp"
#include "txcoord/engine/saga_steps.hpp"
#include "txcoord/engine/station.hpp"
#include "txcoord/engine/submission.hpp"
#include "txcoord/engine/ticker.hpp"
#include "txcoord/engine/unacknowledged.hpp"
#include "txcoord/log/saga_log.hpp"
#include "txcoord/metrics/metrics.hpp"
#include "txcoord/protocol/saga.hpp"

namespace txcoord::engine {

struct RunningSaga {
  RunningSaga(const asio::any_io_executor& io, std::string saga_id, SubmissionPtr what,
              protocol::SagaPlan plan, protocol::SagaPosition position, bool answered)
      : id(std::move(saga_id)),
        submission(std::move(what)),
        core(std::move(plan), std::move(position), answered),
        pause(io) {}
  const Operation& operation() const { return *submission->operation; }

  std::string id;
  SubmissionPtr submission;  // the operation, and who waits for its outcome
  protocol::Saga core;
  bool accepted = false;  // answered before it was tried: seen as PENDING, tried until done
  bool known = false;     // its start is durable, so others may learn of it
  EventFeed<protocol::SagaEvent> feed;
  SteadyTime asked_at{};     // when the step under way was asked for
  std::string_view at;       // the participant that it is asked of; empty: the coordinator itself
  std::string last_error;    // of the step that is tried again: which participant, what kind
  std::string_view trouble;  // … and its cause, as the metrics name it
  bool conflict = false;     // the last failure was one: the pause is short
  bool pausing = false;      // waits for its next try
  bool expired = false;      // abandoned: what waits for its next try is not asked again
  bool gone = false;         // another coordinator's now, or this process stops
  asio::steady_timer pause;  // cancelled to try at once
  Unacknowledged starting;   // its start, over all tries
  std::uint32_t start_failures = 0;   // of its start
  Unacknowledged step;                // the step under way, over all tries
  std::uint32_t record_refusals = 0;  // times the log answered, and did not take its state
  bool record_stuck = false;          // … so often that it needs a person
  // Its last start or record failed in company, and it may be the cause: it is tried by itself.
  bool apart = false;
};
using RunningSagaPtr = std::shared_ptr<RunningSaga>;

// What the coordinator does for sagas. Called on the I/O thread.
struct SagaHooks {
  std::function<protocol::Gid()> open_gid;              // fresh, and in the active set
  std::function<void(const protocol::Gid&)> close_gid;  // out of it again
  // Runs an accepted order through group two-phase commit.
  std::function<asio::awaitable<SubmitResult>(std::shared_ptr<const Operation>)> transact;
  std::function<void(const SubmissionPtr&, SubmitResult)> answer;
  // From now on open_gid() names another incarnation of this process, so that what was sent before
  // can be fenced (fences.hpp). False: not now.
  std::function<bool()> begin_generation;
  // Raises the epochs of those whose lease has run out; returns them.
  std::function<asio::awaitable<Result<std::vector<std::string>>>(std::vector<std::string>)>
      take_over;
  std::function<void(std::string)> fenced;
};

class Sagas {
 public:
  Sagas(asio::any_io_executor io, const Settings& settings, std::vector<Participant*> participants,
        SagaLog& log, Health& health, Fences& fences, CrashPoints& crash, Metrics& metrics,
        SagaHooks hooks);

  bool full() const { return running_.size() >= settings_.saga.running_max; }
  // The outcome comes by hooks.answer: with `accepted`, as soon as the start is durable. An order
  // of which something is due (degraded modes) is a saga whatever the protocol.
  void begin(SubmissionPtr submission, Protocol protocol, bool accepted);

  // Whose sagas these are: before anything begins.
  void own(SagaOwner owner) { owner_ = std::move(owner); }
  // Adopts what nobody works on, again and again, and trims. Until drain().
  asio::awaitable<void> run();
  // A database came back: what waits for it is tried at once.
  void kick(std::string_view participant);
  // Its reservation expired: no further step forward.
  void abandon(const std::string& order_id, std::string reason, std::string detail);
  // No new tries; returns when nothing is under way or the time has come. What is left is durable:
  // whoever adopts it goes on.
  asio::awaitable<void> drain(SteadyTime deadline);

  // Whether the order is confirmed and its payment or shipment still due, here or at another
  // coordinator: nothing else is done to it until then (I9).
  asio::awaitable<Result<bool>> something_due(std::string order_id);
  // Shows how many orders wait for what, of those at work here.
  void show_due();
  // What the log knows of stuck sagas, whoever ran them last.
  asio::awaitable<void> look_for_stuck();

  // Before barriers are deleted: whoever could still send a step is fenced. False: not now.
  asio::awaitable<bool> raise_for_trim();

  // For readers: the saga that is at work on this order here.
  std::optional<PendingOrder> pending(const std::string& order_id) const;
  // Sagas of this process that need a person, in no order. The log may be unable to say so.
  std::vector<std::string> stuck() const;

 private:
  struct Step {  // one saga's step or compensation, waiting at its station
    RunningSagaPtr saga;
    std::string_view name;    // of StepTarget
    std::string_view undoes;  // of a compensation: the barrier of the step that it undoes
    bool must_succeed = false;
  };
  struct Record {
    RunningSagaPtr saga;
    std::uint32_t attempt = 0;
  };
  // A batch of one, for what was taken out of its batch.
  using Alone = std::function<asio::awaitable<void>()>;
  using Event = protocol::SagaEvent;

  // sagas.cpp: door, events, answers
  protocol::SagaPlan plan_of(std::string_view type, bool accepted) const;
  RunningSagaPtr take_in(std::string saga_id, SubmissionPtr submission, protocol::SagaPlan plan,
                         protocol::SagaPosition position, bool accepted, bool answered);
  std::shared_ptr<const Operation> operation_for(const Operation& asked, const std::string& saga_id,
                                                 Protocol protocol) const;
  void deliver(const RunningSagaPtr& saga, Event event);
  void perform(const RunningSagaPtr& saga, const protocol::SagaAction& action);
  void reply(const RunningSagaPtr& saga);
  void finish(const RunningSagaPtr& saga);
  void forget(const RunningSagaPtr& saga);
  void count_turned_back(const RunningSaga& saga);
  std::chrono::milliseconds pause_before(const RunningSaga& saga, std::uint32_t attempt);
  std::chrono::milliseconds pause_of(std::uint32_t attempt);
  std::chrono::milliseconds with_a_quarter(std::chrono::milliseconds pause);
  void count_stuck();
  std::size_t stuck_elsewhere_ = 0;  // in the log beyond ours, at the last look

  // saga_writes.cpp: what is written to the log
  asio::awaitable<void> start_batch(std::vector<RunningSagaPtr> batch);
  void start_batch_failed(std::vector<RunningSagaPtr> batch, const Failure& failure);
  void push_start(const RunningSagaPtr& saga);
  asio::awaitable<void> wait_and_start(RunningSagaPtr saga);
  void started(const RunningSagaPtr& saga);
  void start_failed(const RunningSagaPtr& saga, const Failure& failure);
  void not_started(const RunningSagaPtr& saga, const std::optional<StoredOutcome>& stored);
  asio::awaitable<void> record_batch(std::vector<Record> batch);
  void record_batch_failed(std::vector<Record> batch, const Failure& failure);
  void push_record(const Record& record);
  void record_refused(const RunningSagaPtr& saga, const Failure& failure);
  void recorded(const RunningSagaPtr& saga);
  asio::awaitable<void> wait_and_record(RunningSagaPtr saga, std::uint32_t attempt);
  asio::awaitable<void> trouble_batch(std::vector<SagaTrouble> batch);

  // saga_work.cpp: steps
  asio::awaitable<void> step_batch(Participant* participant, std::vector<Step> batch);
  asio::awaitable<void> transact(RunningSagaPtr saga);
  asio::awaitable<void> wait_and_ask(RunningSagaPtr saga, Step step,
                                     std::chrono::milliseconds pause);
  void ask(const RunningSagaPtr& saga, Step step, std::uint32_t attempt);
  void enqueue(Step step);
  void note_held(Contention& contention, const std::vector<Step>& batch,
                 const std::vector<StepReply>& replies);
  void step_answered(const Step& step, const StepReply& reply);
  void step_failed(const Step& step, const Failure& failure);
  void batch_not_sent(const std::vector<Step>& batch, Failure failure);
  void not_done(const Step& step, std::string words, bool conflict);

  // saga_ownership.cpp: what is ours in the log and not at work here
  std::size_t room() const;
  asio::awaitable<bool> adopt_one_by_one();
  asio::awaitable<bool> reconcile();
  asio::awaitable<Result<std::vector<std::string>>> not_at_work();
  void set_aside(const std::string& saga_id, std::string_view why);

  // saga_upkeep.cpp
  asio::awaitable<bool> adopt();
  asio::awaitable<void> take_over_owners();
  asio::awaitable<void> take_over(std::vector<std::string> others);
  void resume(SagaInstance instance);
  bool left_to_others(const RunningSaga& saga) const;
  void give_up_waiting(const RunningSagaPtr& saga);
  asio::awaitable<void> trim();
  asio::awaitable<bool> trim_some();
  asio::awaitable<Result<Done>> trim_barriers(std::vector<std::string> ended);
  asio::awaitable<void> take_over_owners_of_ended();

  void spawn(asio::awaitable<void> work);

  asio::any_io_executor io_;
  const Settings& settings_;
  std::vector<Participant*> participants_;
  SagaLog& log_;
  Health& health_;
  Fences& fences_;
  CrashPoints& crash_;
  Metrics& metrics_;
  SagaHooks hooks_;
  SagaOwner owner_;
  bool draining_ = false;
  bool trimming_ = false;
  bool unanswered_ = false;  // a try of this generation may still be on its way

  std::unordered_map<std::string, RunningSagaPtr> running_;          // by saga id
  std::unordered_map<std::string, RunningSagaPtr> by_order_;         // the newest of each order
  std::map<std::string, Station<Step>, std::less<>> step_stations_;  // by participant
  std::map<Participant*, Contention> contention_;
  Station<RunningSagaPtr> starts_;
  Station<Record> records_;
  Station<Alone> alone_;
  Station<SagaTrouble> troubles_;
  Ticker ticker_;
  asio::steady_timer idle_;  // cancelled when a saga ends: drain() waits on it
  // While reconcile() looks into the log: the sagas that left running_ meanwhile.
  bool looking_ = false;
  std::set<std::string> left_while_looking_;
  std::map<std::string, SteadyTime> set_aside_;  // not taken up before then; they need a person
  std::string looked_up_to_;  // where the next look goes on; empty: from the oldest
  std::minstd_rand jitter_{std::random_device{}()};
};

}  // namespace txcoord::engine
