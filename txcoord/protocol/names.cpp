// The names of states, events, actions and causes, as traces, logs and metrics write them.
#include "txcoord/protocol/two_phase.hpp"

namespace txcoord::protocol {

std::string_view to_string(AbortCause cause) {
  switch (cause) {
    case AbortCause::none: return "none";
    case AbortCause::timeout: return "timeout";
    case AbortCause::deadlock: return "deadlock";
    case AbortCause::lock_timeout: return "lock_timeout";
    case AbortCause::unavailable: return "unavailable";
    case AbortCause::fenced: return "fenced";
    case AbortCause::poison: return "poison";
    case AbortCause::statement: return "statement";
    case AbortCause::error: return "error";
  }
  return "";
}

std::string_view to_string(State state) {
  switch (state) {
    case State::idle: return "idle";
    case State::voting: return "voting";
    case State::judging: return "judging";
    case State::preparing: return "preparing";
    case State::deciding: return "deciding";
    case State::settling: return "settling";
    case State::refusing: return "refusing";
    case State::committing: return "committing";
    case State::aborting: return "aborting";
    case State::burying: return "burying";
    case State::done: return "done";
  }
  return "";
}

std::string_view to_string(EventKind kind) {
  switch (kind) {
    case EventKind::start: return "start";
    case EventKind::voted: return "voted";
    case EventKind::vote_failed: return "vote_failed";
    case EventKind::judged: return "judged";
    case EventKind::judge_failed: return "judge_failed";
    case EventKind::prepared: return "prepared";
    case EventKind::prepare_failed: return "prepare_failed";
    case EventKind::decided: return "decided";
    case EventKind::decide_failed: return "decide_failed";
    case EventKind::decide_unknown: return "decide_unknown";
    case EventKind::settled_commit: return "settled_commit";
    case EventKind::settled_abort: return "settled_abort";
    case EventKind::settle_failed: return "settle_failed";
    case EventKind::committed: return "committed";
    case EventKind::commit_failed: return "commit_failed";
    case EventKind::commit_not_found: return "commit_not_found";
    case EventKind::witness_found: return "witness_found";
    case EventKind::witness_absent: return "witness_absent";
    case EventKind::witness_failed: return "witness_failed";
    case EventKind::decision_complete: return "decision_complete";
    case EventKind::decision_incomplete: return "decision_incomplete";
    case EventKind::decision_unread: return "decision_unread";
    case EventKind::heuristic_recorded: return "heuristic_recorded";
    case EventKind::heuristic_unrecorded: return "heuristic_unrecorded";
    case EventKind::rolled_back: return "rolled_back";
    case EventKind::rollback_failed: return "rollback_failed";
    case EventKind::released: return "released";
  }
  return "";
}

std::string_view to_string(ActionKind kind) {
  switch (kind) {
    case ActionKind::claim: return "claim";
    case ActionKind::vote: return "vote";
    case ActionKind::judge: return "judge";
    case ActionKind::prepare: return "prepare";
    case ActionKind::decide: return "decide";
    case ActionKind::record_refusals: return "record_refusals";
    case ActionKind::settle: return "settle";
    case ActionKind::reply: return "reply";
    case ActionKind::commit: return "commit";
    case ActionKind::check_witness: return "check_witness";
    case ActionKind::reread_decision: return "reread_decision";
    case ActionKind::record_heuristic: return "record_heuristic";
    case ActionKind::rollback: return "rollback";
    case ActionKind::release: return "release";
    case ActionKind::applied: return "applied";
    case ActionKind::complete: return "complete";
    case ActionKind::sweep: return "sweep";
    case ActionKind::resubmit_whole: return "resubmit_whole";
    case ActionKind::resubmit_halves: return "resubmit_halves";
    case ActionKind::resubmit_refused: return "resubmit_refused";
    case ActionKind::finish: return "finish";
  }
  return "";
}

}  // namespace txcoord::protocol
