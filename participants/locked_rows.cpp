// See locked_rows.hpp.
#include "participants/locked_rows.hpp"

#include <utility>

#include "participants/row_keys.hpp"

namespace txcoord {

protocol::Vote vote_yes() { return {}; }

protocol::Vote vote_no(std::string reason, std::string detail, bool final) {
  return {protocol::Answer::no, final, std::move(reason), std::move(detail), {}, {}};
}

protocol::Vote vote_retry(std::string detail) {
  return {protocol::Answer::retry, true, {}, std::move(detail), {}, {}};
}

protocol::Vote vote_busy(std::string row_key, std::string holder) {
  protocol::Vote vote = vote_retry("a row is held by somebody else");
  vote.busy = std::move(row_key);
  vote.holder = std::move(holder);
  return vote;
}

std::optional<protocol::Vote> vote_if_held(const HeldRows& held, std::string_view participant,
                                           const std::string& row) {
  const auto found = held.find(row);
  if (found == held.end()) return std::nullopt;
  return vote_busy(row_key(participant, row), found->second);
}

}  // namespace txcoord
