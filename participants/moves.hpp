// Rows that operations move from state to state (an order, its shipment): which moves are legal,
// the votes of a group on them, and the survivors as columns. Pure; used by the order and the
// shipping service.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "participants/branch_logic.hpp"
#include "txcoord/base/time.hpp"

namespace txcoord {

template <class State>
struct Move {
  OperationKind kind;
  State from, to;
};

// The state that `kind` leads to, or nothing: the move is not legal.
template <class State>
std::optional<State> next_state(std::span<const Move<State>> moves, OperationKind kind,
                                State from) {
  for (const Move<State>& move : moves) {
    if (move.kind == kind && move.from == from) return move.to;
  }
  return std::nullopt;
}

// The vote on one move, from the row as locked (`before`) and as the earlier candidates of the
// group leave it (`now`). Judging is monotone: an earlier candidate may fall elsewhere, so what it
// takes counts, and what it opens up does not.
//   legal on both             yes
//   legal before, not now     no, not final: the earlier one took it, and may fall
//   legal now, not before     retry: only the earlier one allows it; judged when that is applied
//   (I9) legal on neither          no, final
// With the moves there are, at most one operation of a group gets yes for an order.
template <class State>
protocol::Vote vote_on_move(std::span<const Move<State>> moves, OperationKind kind, State before,
                            State now) {
  const bool legal_before = next_state(moves, kind, before).has_value();
  const bool legal_now = next_state(moves, kind, now).has_value();
  if (legal_before && legal_now) return vote_yes();
  if (legal_now) return vote_retry("an operation of the same group changes this order");
  std::string detail = std::string("cannot ") + std::string(to_string(kind)) + ": it is ";
  detail += to_string(now);
  return vote_no("ILLEGAL_STATE", std::move(detail), /*final=*/!legal_before);
}

// Votes on a whole group. What a service says beside its table of moves:
//   made_in(operation)       the state in which it makes its row; nothing: it moves one
//   vote_made(operation)     judges one that makes its row
//   vote_missing(operation)  answers for a row that is not there
template <class State, class MadeIn, class VoteMade, class VoteMissing>
protocol::Votes vote_on_moves(std::span<const Move<State>> moves,
                              const std::map<std::string, State>& locked,
                              const Operations& operations, const OperationMask& candidates,
                              MadeIn made_in, VoteMade vote_made, VoteMissing vote_missing) {
  protocol::Votes votes(operations.size(), vote_yes());
  std::map<std::string, State> now = locked;
  for (std::size_t i = 0; i < operations.size(); ++i) {
    if (!candidates[i]) continue;
    const Operation& operation = *operations[i];
    if (const std::optional<State> made = made_in(operation)) {
      votes[i] = vote_made(operation);
      if (votes[i].answer == protocol::Answer::yes) now.insert_or_assign(operation.order_id, *made);
      continue;
    }
    const auto row = locked.find(operation.order_id);
    const auto counted = now.find(operation.order_id);
    if (counted == now.end()) {
      votes[i] = vote_missing(operation);
    } else if (row == locked.end()) {
      votes[i] = vote_retry("an operation of the same group places this order");
    } else {
      votes[i] = vote_on_move(moves, operation.kind, row->second, counted->second);
      if (votes[i].answer == protocol::Answer::yes) {
        counted->second = *next_state(moves, operation.kind, counted->second);
      }
    }
  }
  return votes;
}

// The orders whose rows a group must lock, each once: those of the operations that make no row.
template <class MadeIn>
std::vector<std::string> orders_to_lock(const Operations& operations, MadeIn made_in) {
  std::set<std::string> ids;
  for (const auto& operation : operations) {
    if (!made_in(*operation)) ids.insert(operation->order_id);
  }
  return {ids.begin(), ids.end()};
}

// Whether a group can be judged without a row of the database.
template <class MadeIn>
bool all_make_rows(const Operations& operations, MadeIn made_in) {
  for (const auto& operation : operations) {
    if (!made_in(*operation)) return false;
  }
  return true;
}

// Which of the wanted rows are there, though they came back from the locks as no rows: somebody
// else holds them. `existing` reads the ids that are there and their xmax, without a lock.
template <class State>
HeldRows held_rows(pg::Session& session, const pg::Statement& existing,
                   const std::vector<std::string>& wanted,
                   const std::map<std::string, State>& locked) {
  std::vector<std::string> missing;
  for (const std::string& id : wanted)
    if (!locked.contains(id)) missing.push_back(id);
  HeldRows held;
  if (missing.empty()) return held;
  for (const pqxx::row& row : session.exec(existing, missing))
    held.emplace(row[0].as<std::string>(), row[1].as<std::string>());
  return held;
}

// When a row or an event is said to have been written. A group's carry the request's time, in all
// databases the same; the steps of a saga come one after the other, each at its own time.
inline std::string written_at(const Operation& operation) {
  return rfc3339(operation.transaction_id.empty() ? operation.created_at : now_utc());
}

// The moves of the survivors, one array a column, for unnest().
struct MovedRows {
  std::vector<std::string> order_ids, from, to, events, correlations, times;

  // Throws std::logic_error on a move that no judge can have allowed.
  template <class State>
  void add(const Operation& operation, State before, std::span<const Move<State>> moves,
           std::string event) {
    const std::optional<State> after = next_state(moves, operation.kind, before);
    if (!after) throw std::logic_error("a survivor's move is not legal for its row");
    order_ids.push_back(operation.order_id);
    from.emplace_back(to_string(before));
    to.emplace_back(to_string(*after));
    events.push_back(std::move(event));
    correlations.push_back(operation.correlation_id);
    times.push_back(written_at(operation));
  }
};

}  // namespace txcoord
