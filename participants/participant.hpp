// The participant port: one service and its database, in this process or behind HTTP.
//
// One branch is one (gid, participant). Its life: vote → judge* → prepare → commit | rollback,
// or vote → release. All calls are made on the I/O thread and awaited there; calls for different
// gids may overlap, calls for one gid do not, except commit/rollback/witness from recovery.
// Every call ends by its own deadline.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "participants/fence.hpp"
#include "participants/operation.hpp"
#include "txcoord/base/failure.hpp"
#include "txcoord/protocol/gid.hpp"
#include "txcoord/protocol/recovery_plan.hpp"
#include "txcoord/protocol/vote.hpp"

namespace txcoord {

namespace asio = boost::asio;

using Operations = std::vector<std::shared_ptr<const Operation>>;  // in group order
// One bit for each operation of the group, same order.
using OperationMask = std::vector<bool>;

// How a vote, or a step, meets a row that somebody else holds. Either way an operation whose row
// stays held gets `retry` and names the row (Vote::busy), and the others are judged without it.
enum class LockMode : std::uint8_t {
  skip,  // waits for no row
  wait,  // waits for each row for at most contended_wait_max: for rows that many want at once
};
inline constexpr std::chrono::milliseconds contended_wait_max{150};

// One saga's call of a step. The operation's kind says what is to be done here.
struct StepCall {
  std::string saga_id;
  std::shared_ptr<const Operation> operation;
  // A fault on demand (faults.hpp): a new call is refused with this reason, through its barrier
  // like any other refusal, so that what an earlier try did is never denied.
  std::string refuse_as{};
};
// The same step of several sagas, as one local transaction.
struct StepRequest {
  std::string step;    // the barrier's name within the saga: "reserve"
  std::string undoes;  // set for a compensation: the name of the step that it undoes
  std::vector<StepCall> calls;
  // Past the point of no return: a refusal needs a person, and is not remembered. Nor is that of a
  // compensation.
  bool must_succeed = false;
  LockMode lock_mode = LockMode::skip;
};
enum class StepStatus : std::uint8_t {
  done,     // now, or by an earlier try of the same step; a compensation that had nothing to undo
  refused,  // a business refusal, now or by an earlier try: nothing was done
  barred,   // its compensation came first: nothing was done, and never will be
  retry,  // rows are missing that will come, or held by somebody else: nothing was done, ask again
};
struct StepReply {
  StepStatus status = StepStatus::done;
  std::string reason, detail;  // why it was refused, is to be asked again, or was undone before
};

// What the barriers of a participant say of one saga.
struct SagaBarriers {
  std::string saga_id;
  std::string order_id;                      // empty: an older version wrote them
  std::map<std::string, std::string> steps;  // name: done, refused or skipped
  double age_seconds = 0;                    // of the youngest, by the database's clock
};
// Which sagas to tell the barriers of: those named, or a page of all.
struct BarriersQuery {
  std::string installation;           // who asks
  std::vector<std::string> saga_ids;  // empty: a page
  std::string after;                  // the last saga id of the page before; empty: the first page
  std::size_t limit = 0;              // of a page
};
struct BarriersPage {
  std::vector<SagaBarriers> sagas;  // by saga id
  // Another installation works on this database. Barriers do not say whose they are.
  bool shared = false;
};

// What an in-doubt branch costs its database, for gauges and /readyz.
struct ParticipantGauges {
  std::size_t in_doubt_branches = 0;  // prepared, of our installation
  double in_doubt_oldest_seconds = 0;
  std::size_t prepared_slots_max = 0, prepared_slots_used = 0;  // of the server, everybody's
  std::int64_t xmin_age_transactions =
      0;                             // how far the oldest prepared transaction holds vacuum back
  std::size_t blocked_sessions = 0;  // of this database, waiting for a lock
};

class Participant {
 public:
  virtual ~Participant() = default;
  virtual std::string_view name() const = 0;

  // Whether the operation has work here: a participant with nothing to do in a group is left out.
  virtual bool touches(const Operation& operation) const = 0;

  // Opens the branch's transaction, locks the parent rows in key order, judges in group order.
  // One vote for each operation; operations that do not touch this participant get yes.
  virtual asio::awaitable<Result<protocol::Votes>> vote(protocol::Gid gid, Operations operations,
                                                        LockMode lock_mode = LockMode::skip) = 0;

  // Judges again, from the rows locked by vote, as if only the candidates were in the group.
  virtual asio::awaitable<Result<protocol::Votes>> judge(protocol::Gid gid,
                                                         OperationMask candidates) = 0;

  // Applies the survivors set-wise, inserts the witness, PREPARE TRANSACTION. Sent once for a gid.
  // A Failure with outcome_unknown may still prepare later.
  virtual asio::awaitable<Result<Done>> prepare(protocol::Gid gid, OperationMask survivors) = 0;

  // Ends a branch that was not prepared. Never fails: a session that cannot roll back is closed.
  virtual asio::awaitable<void> release(protocol::Gid gid) = 0;

  virtual asio::awaitable<Result<Done>> commit_prepared(protocol::Gid gid) = 0;
  virtual asio::awaitable<Result<Done>> rollback_prepared(protocol::Gid gid) = 0;
  // True if the witness row is there. Fails with `unavailable` on a standby: only a primary proves.
  virtual asio::awaitable<Result<bool>> has_witness(protocol::Gid gid) = 0;
  // Our installation's prepared branches in this database.
  virtual asio::awaitable<Result<std::vector<protocol::Gid>>> list_prepared(
      std::string installation) = 0;
  // Forget: the decisions of these gids are durably complete. May use synchronous_commit=off.
  // `owner`, here and below: who asks. The failure `fenced`: certainly not done, and never will be.
  // Nobody: a caller of an earlier version, which is not fenced.
  virtual asio::awaitable<Result<Done>> trim_witnesses(std::vector<protocol::Gid> gids,
                                                       std::optional<FenceOwner> owner) = 0;
  virtual asio::awaitable<Result<ParticipantGauges>> gauges(std::string installation) = 0;

  // How far the log had come when this database was last told; nothing: never. Kept here because a
  // log that went back cannot know it.
  virtual asio::awaitable<Result<protocol::LogPoint>> log_seen(std::string installation) = 0;
  // May be lost in a crash: then less is known than was seen.
  virtual asio::awaitable<Result<Done>> note_log_seen(std::string installation,
                                                      protocol::LogPoint point,
                                                      std::optional<FenceOwner> owner) = 0;

  // Raises the fence of a coordinator (fence.hpp) and returns it as it stands then: upward only, so
  // it may be above what was asked for. Durable when it returns; what an owner below it sent before
  // has committed by then, or never will. One of the same epoch is raised only by its own
  // coordinator: over an empty incarnation, or over `replaces`, an earlier generation of the same
  // process. `not_found`: a participant of an earlier version, without fences.
  virtual asio::awaitable<Result<FenceOwner>> raise_fence(FenceOwner owner,
                                                          std::string replaces) = 0;
  // Of all coordinators of this installation.
  virtual asio::awaitable<Result<std::vector<FenceOwner>>> fences(std::string installation) = 0;

  // A step of sagas: judged in order, applied set-wise, each with its barrier row, and committed,
  // in one local transaction. May be repeated: a call that was answered is answered the same again.
  // One reply for each call; a Failure is everybody's (poison: one of them cannot be applied; with
  // outcome_unknown it may be done, now or later). `gid` is fresh, and active while this runs: it
  // names what a third party is asked for meanwhile (a card authorisation). It names the owner too:
  // `fenced` as above.
  virtual asio::awaitable<Result<std::vector<StepReply>>> run_step(protocol::Gid gid,
                                                                   StepRequest request) = 0;
  // Forget: these sagas have ended, and whoever could still send a step of theirs is fenced here.
  virtual asio::awaitable<Result<Done>> trim_steps(std::vector<std::string> saga_ids,
                                                   std::optional<FenceOwner> owner) = 0;
  // What was done here for sagas, whatever the log knows of them: a log that went back cannot tell.
  virtual asio::awaitable<Result<BarriersPage>> list_steps(BarriersQuery query) = 0;
};

}  // namespace txcoord
