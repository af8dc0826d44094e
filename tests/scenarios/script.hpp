// The text form of groups, events and actions: what scenario files and the transition table are
// written in. docs/protocol.md refers to it.
//
//   group   participants order inventory
//           operation order inventory            the participants that the operation touches
//           stages inventory payment | log       voters asked at once, then the next stage
//           commit_order inventory order         default: as in participants
//           conflict_retries 1
//           refuse_alone REASON
//   event   voted order yes,no:OUT_OF_STOCK?     `?`: not final, another operation may have caused
//   it
//           prepare_failed order timeout unanswered
//   action  prepare order 1,0                    one bit for each operation
//           decide confirmed,refused:OUT_OF_STOCK
//           commit order #2                      the second try after the first
#pragma once

#include <algorithm>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "txcoord/protocol/two_phase.hpp"

namespace txcoord::script {

using protocol::Action;
using protocol::ActionKind;
using protocol::Actions;
using protocol::Answer;
using protocol::Event;
using protocol::EventKind;
using protocol::Fate;
using protocol::GroupPlan;
using protocol::ParticipantId;
using protocol::TwoPhase;
using protocol::Vote;
using protocol::Votes;

inline std::vector<std::string> words(std::string_view text, char separator = ' ') {
  std::vector<std::string> found;
  std::istringstream stream{std::string(text)};
  for (std::string word; std::getline(stream, word, separator);)
    if (!word.empty()) found.push_back(word);
  return found;
}

[[noreturn]] inline void malformed(const std::string& what) {
  throw std::invalid_argument("script: " + what);
}

// The enumerator that to_string() gives this name, up to and with `last`.
template <class Enum>
Enum named(std::string_view name, Enum last) {
  for (int value = 0; value <= static_cast<int>(last); ++value)
    if (to_string(static_cast<Enum>(value)) == name) return static_cast<Enum>(value);
  malformed("no such name: " + std::string(name));
}

inline ParticipantId voter_of(const GroupPlan& plan, const std::string& name) {
  if (name == "log") return protocol::log_voter;
  const auto found = std::ranges::find(plan.participants, name);
  if (found == plan.participants.end()) malformed("no such participant: " + name);
  return static_cast<ParticipantId>(found - plan.participants.begin());
}

inline std::string name_of(const GroupPlan& plan, ParticipantId id) {
  return id == protocol::log_voter ? "log" : plan.participants.at(id);
}

// --- groups ------------------------------------------------------------------------------------

inline std::vector<ParticipantId> voters_of(const GroupPlan& plan,
                                            const std::vector<std::string>& names) {
  std::vector<ParticipantId> ids;
  for (const std::string& name : names) ids.push_back(voter_of(plan, name));
  return ids;
}

// One line of a group's description, in the order of the list above.
inline void describe(GroupPlan& plan, const std::string& line) {
  const std::vector<std::string> all = words(line);
  const std::vector<std::string> rest(all.begin() + 1, all.end());
  if (all[0] == "participants") {
    plan.participants = rest;
    plan.touches.assign(rest.size(), {});
    plan.vote_stages = {{protocol::log_voter}};
    for (std::size_t i = 0; i < rest.size(); ++i) {
      plan.vote_stages[0].push_back(static_cast<ParticipantId>(i));
      plan.commit_order.push_back(static_cast<ParticipantId>(i));
    }
  } else if (all[0] == "operation") {
    ++plan.operations;
    for (auto& touches : plan.touches) touches.push_back(false);
    for (const ParticipantId id : voters_of(plan, rest)) plan.touches.at(id).back() = true;
  } else if (all[0] == "stages") {
    plan.vote_stages.clear();
    for (const std::string& stage : words(line.substr(all[0].size()), '|'))
      plan.vote_stages.push_back(voters_of(plan, words(stage)));
  } else if (all[0] == "commit_order") {
    plan.commit_order = voters_of(plan, rest);
  } else if (all[0] == "conflict_retries") {
    plan.conflict_retries_left = static_cast<std::uint32_t>(std::stoul(rest.at(0)));
  } else if (all[0] == "refuse_alone") {
    plan.refuse_alone = true;
    plan.refuse_reason = rest.at(0);
  } else {
    malformed(line);
  }
}

inline GroupPlan group(const std::vector<std::string>& lines) {
  GroupPlan plan;
  for (const std::string& line : lines) describe(plan, line);
  return plan;
}

// --- events ------------------------------------------------------------------------------------

inline Vote vote_of(std::string text) {
  Vote vote;
  if (text.ends_with('?')) {
    vote.final = false;
    text.pop_back();
  }
  const auto colon = text.find(':');
  const std::string answer = text.substr(0, colon);
  if (colon != std::string::npos) vote.reason = text.substr(colon + 1);
  if (answer == "yes")
    vote.answer = Answer::yes;
  else if (answer == "no")
    vote.answer = Answer::no;
  else if (answer == "duplicate")
    vote.answer = Answer::duplicate;
  else if (answer == "retry")
    vote.answer = Answer::retry;
  else
    malformed("no such vote: " + text);
  return vote;
}

inline Event event_of(const GroupPlan& plan, const std::string& line) {
  const std::vector<std::string> all = words(line);
  Event event;
  event.kind = named<EventKind>(all.at(0), EventKind::released);
  std::size_t next = 1;
  const bool of_the_group =
      event.kind == EventKind::start || event.kind == EventKind::decided ||
      event.kind == EventKind::decide_failed || event.kind == EventKind::decide_unknown ||
      event.kind == EventKind::settled_commit || event.kind == EventKind::settled_abort ||
      event.kind == EventKind::settle_failed;
  if (!of_the_group) event.voter = voter_of(plan, all.at(next++));
  if (event.kind == EventKind::voted || event.kind == EventKind::judged) {
    for (const std::string& vote : words(all.at(next++), ',')) event.votes.push_back(vote_of(vote));
  } else if (next < all.size()) {
    event.cause = named<protocol::AbortCause>(all[next++], protocol::AbortCause::error);
  }
  if (next < all.size() && all[next] == "unanswered") {
    event.unanswered = true;
    ++next;
  }
  if (next != all.size()) malformed(line);
  return event;
}

// --- actions -----------------------------------------------------------------------------------

inline std::string verdicts_text(const TwoPhase& machine) {
  static constexpr std::string_view names[] = {"open", "confirmed", "refused", "duplicate",
                                               "retry"};
  std::string text;
  for (const protocol::Verdict& verdict : machine.verdicts()) {
    if (!text.empty()) text += ',';
    text += names[static_cast<std::size_t>(verdict.fate)];
    if (!verdict.reason.empty()) text += ':' + verdict.reason;
  }
  return text;
}

inline std::string bits(const std::vector<bool>& operations) {
  std::string text;
  for (const bool bit : operations) text += text.empty() ? (bit ? "1" : "0") : (bit ? ",1" : ",0");
  return text;
}

// `machine` stands after the step that made the action.
inline std::string text_of(const TwoPhase& machine, const Action& action) {
  std::string text(to_string(action.kind));
  switch (action.kind) {
    case ActionKind::decide:
    case ActionKind::record_refusals: text += ' ' + verdicts_text(machine); break;
    case ActionKind::reply:
      text += ' ';
      if (machine.cause() == protocol::AbortCause::none)
        text += verdicts_text(machine);
      else
        text.append("503:").append(to_string(machine.cause()));
      break;
    case ActionKind::judge:
    case ActionKind::prepare:
      text += ' ' + name_of(machine.plan(), action.voter) + ' ' + bits(action.operations);
      break;
    case ActionKind::vote:
    case ActionKind::commit:
    case ActionKind::check_witness:
    case ActionKind::reread_decision:
    case ActionKind::record_heuristic:
    case ActionKind::rollback:
    case ActionKind::release:
    case ActionKind::sweep: text += ' ' + name_of(machine.plan(), action.voter); break;
    case ActionKind::claim:
    case ActionKind::settle:
    case ActionKind::applied:
    case ActionKind::complete:
    case ActionKind::resubmit_whole:
    case ActionKind::resubmit_halves:
    case ActionKind::resubmit_refused:
    case ActionKind::finish: break;
  }
  if (action.attempt > 0) text += " #" + std::to_string(action.attempt);
  return text;
}

inline std::vector<std::string> texts_of(const TwoPhase& machine, const Actions& actions) {
  std::vector<std::string> texts;
  for (const Action& action : actions) texts.push_back(text_of(machine, action));
  return texts;
}

}  // namespace txcoord::script
