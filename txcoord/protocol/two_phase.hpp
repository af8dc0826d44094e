// Group two-phase commit as a pure state machine: step(event) → actions. No I/O, no clock.
//
// One TwoPhase is one global transaction over one group of operations. The engine performs the
// actions and feeds what came of them back as events.
//
// States and what leaves them:
//
//   idle        start                → voting
//   voting      all stages voted     → judging        | a vote failed             → aborting
//   judging     settled, survivors   → preparing      | settled, none survive     → refusing
//               not settled          → judging again (voters judge the rest from locked rows)
//   preparing   all prepared         → deciding       | a prepare failed          → aborting
//   deciding    decided              → committing     | certainly not decided     → aborting
//               acknowledgement lost → settling
//   settling    decision found       → committing     | tombstone written         → aborting
//   refusing    recorded             → done           | not recorded              → aborting (503)
//   committing  all branches done    → done
//   aborting    all branches at rest → done, or burying when a PREPARE (or the ROLLBACK PREPARED
//               of one) was never answered
//   burying     tombstone written    → done (the sweep ends what prepares late)
//
// Invariants kept here:
//   I1 commit goes to every prepared branch, and to none before decided.
//   I3 after a lost acknowledgement the outcome is read, never assumed.
//   I4 `commit` actions are made in one place, enter_committing(), which takes a DurableDecision;
//      only the decided and the settled_commit event make one.
//   I10 replies leave only when the outcome they tell is durable, or when nothing can become
//   durable.
//
// What must be durable before what is sent:
//   decision row  before  COMMIT PREPARED, before any confirmed or refused reply
//   tombstone     before  the gid leaves the active set with a PREPARE unanswered
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "txcoord/protocol/judgement.hpp"
#include "txcoord/protocol/vote.hpp"

namespace txcoord::protocol {

// Index in GroupPlan::participants.
using ParticipantId = std::uint8_t;
// The log votes too: it claims the idempotency keys.
inline constexpr ParticipantId log_voter = 0xff;

enum class AbortCause : std::uint8_t {
  none,
  timeout,
  deadlock,
  lock_timeout,
  unavailable,
  fenced,
  poison,  // an operation that can never succeed: split the group, then refuse it alone
  // A statement failed, and the reason may lie with one operation (a trigger may raise any code):
  // split the group; alone it is answered "try again".
  statement,
  error,
};
std::string_view to_string(AbortCause cause);

struct GroupPlan {
  std::size_t operations = 0;
  std::vector<std::string> participants;
  // touches[participant][operation]; a participant that no survivor touches is not prepared.
  std::vector<std::vector<bool>> touches;
  // Voters that are asked at the same time stand in one stage. One stage with everybody is
  // quickest; with more than one live coordinator one voter a stage, in one fixed order over all
  // coordinators, so that no cycle of lock waits over databases can form.
  std::vector<std::vector<ParticipantId>> vote_stages;
  // COMMIT PREPARED is sent in this order (all at once; the first is the most contended).
  std::vector<ParticipantId> commit_order;
  // A lone operation that was poison: only its refusal is recorded, with this text.
  bool refuse_alone = false;
  std::string refuse_reason, refuse_detail;
  // How often this work may still be tried whole after a deadlock, or alone after a lock timeout.
  std::uint32_t conflict_retries_left = 0;
};
// Throws std::invalid_argument for a plan that would leave a part of the group out (I1).
void check(const GroupPlan& plan);

enum class State : std::uint8_t {
  idle,
  voting,
  judging,
  preparing,
  deciding,
  settling,
  refusing,
  committing,
  aborting,
  burying,
  done,
};
std::string_view to_string(State state);

enum class EventKind : std::uint8_t {
  start,
  voted,           // voter, votes
  vote_failed,     // voter, cause
  judged,          // voter, votes
  judge_failed,    // voter, cause
  prepared,        // voter
  prepare_failed,  // voter, cause, unanswered: it may still prepare later
  decided,
  decide_failed,   // cause: certainly not committed
  decide_unknown,  // the acknowledgement was lost
  settled_commit,
  settled_abort,         // the tombstone is written
  settle_failed,         // try again
  committed,             // voter
  commit_failed,         // voter: try again
  commit_not_found,      // voter: 42704, which proves nothing
  witness_found,         // voter
  witness_absent,        // voter
  witness_failed,        // voter: try again
  decision_complete,     // voter: somebody completed it, so the branch was committed and forgotten
  decision_incomplete,   // voter: the prepared state was lost
  decision_unread,       // voter: try again
  heuristic_recorded,    // voter
  heuristic_unrecorded,  // voter: try again
  rolled_back,           // voter: answered, or found gone after it was known prepared
  rollback_failed,       // voter: left to the sweep
  released,              // voter
};
std::string_view to_string(EventKind kind);

struct Event {
  EventKind kind = EventKind::start;
  ParticipantId voter = log_voter;
  Votes votes{};
  AbortCause cause = AbortCause::none;
  bool unanswered = false;
};

enum class ActionKind : std::uint8_t {
  claim,             // ask the log for its vote
  vote,              // voter
  judge,             // voter, operations: the candidates
  prepare,           // voter, operations: the survivors
  decide,            // commit decision, with the verdicts
  record_refusals,   // no survivors: the refusals alone
  settle,            // prove the outcome: tombstone, then read. attempt
  reply,             // outcomes are known for every operation: verdicts(), or the cause
  commit,            // voter, attempt
  check_witness,     // voter, attempt
  reread_decision,   // voter, attempt
  record_heuristic,  // voter, attempt
  rollback,          // voter: ROLLBACK PREPARED
  release,           // voter: end a branch, or the log's claim, that is not prepared
  applied,           // every branch is committed
  complete,          // record completion, then forget
  sweep,             // voter: a PREPARE went unanswered and is buried; look for it at once
  resubmit_whole,    // the same operations again, in a new group
  resubmit_halves,   // two groups, to find the poison, or who waits for a lock
  resubmit_refused,  // the lone operation is poison: refuse it alone
  finish,            // the gid may leave the active set
};
std::string_view to_string(ActionKind kind);

struct Action {
  ActionKind kind = ActionKind::finish;
  ParticipantId voter = log_voter;
  std::uint32_t attempt = 0;       // 0 for the first try
  std::vector<bool> operations{};  // for judge and prepare
};
using Actions = std::vector<Action>;

class TwoPhase {
 public:
  // The plan is checked.
  explicit TwoPhase(GroupPlan plan);

  // The one transition function. An event that the current state cannot receive throws
  // std::logic_error: a defect, and the safe thing is to stop (presumed abort, recovery).
  Actions step(const Event& event);

  State state() const { return state_; }
  AbortCause cause() const { return cause_; }
  const GroupPlan& plan() const { return plan_; }
  const std::vector<Verdict>& verdicts() const { return judgement_.verdicts(); }
  // True once confirmed: between the decision and done.
  bool decided() const { return decided_; }
  // Participants with a prepared (or to be prepared) branch, by index.
  std::vector<ParticipantId> branches() const;
  // Whose COMMIT PREPARED is outstanding.
  std::vector<ParticipantId> waiting_for() const;
  std::size_t judge_rounds() const { return judgement_.rounds(); }

 private:
  enum class Branch : std::uint8_t {
    untouched,
    voting,
    voted,
    judging,
    preparing,
    prepared,
    unanswered,
    releasing,
    rolling_back,
    committing,
    committed,
    heuristic,
    ended,
  };
  // Proof that the decision is durable: what enter_committing() asks for (I4).
  class DurableDecision {
    explicit DurableDecision(EventKind proof) : proof_(proof) {}
    friend class TwoPhase;
    EventKind proof_;
  };

  struct Voter {
    Branch branch = Branch::untouched;
    Votes votes;
    std::uint32_t attempts = 0;
    ActionKind asked = ActionKind::commit;  // while committing: what the next answer is about
  };

  Voter& voter(ParticipantId id);
  void expect(bool possible, const Event& event) const;
  bool touched_by(ParticipantId id, const std::vector<bool>& operations) const;
  std::vector<bool> survivors() const;
  bool any_verdict(Fate fate) const;
  template <class Predicate>
  bool any_participant(Predicate predicate) const;

  Actions on_voted(const Event& event);
  Actions on_vote_failed(const Event& event);
  Actions on_prepared(const Event& event);
  Actions on_prepare_failed(const Event& event);
  Actions on_decide_answer(const Event& event);
  Actions on_settle_answer(const Event& event);
  Actions on_commit_answer(const Event& event);
  Actions on_rest(const Event& event);

  Actions next_stage();
  Actions judge_round();
  Actions enter_preparing();
  Actions enter_refusing();
  Actions enter_committing(DurableDecision proof);
  Actions enter_aborting(AbortCause cause);
  void put_to_rest(ParticipantId id, Actions& actions);
  void reply_once(Actions& actions);
  void resubmit(Actions& actions) const;
  bool will_resubmit() const;
  Actions finish_if_at_rest();

  GroupPlan plan_;
  Judgement judgement_;
  State state_ = State::idle;
  AbortCause cause_ = AbortCause::none;
  std::size_t stage_ = 0;
  bool decided_ = false;
  bool reply_sent_ = false;
  std::uint32_t settle_attempts_ = 0;
  Voter log_;
  std::vector<Voter> participants_;
};

}  // namespace txcoord::protocol
