// See locked_rows.hpp.
#include "participants/locked_rows.hpp"

#include <utility>

namespace txcoord {

protocol::Vote vote_yes() { return {}; }

protocol::Vote vote_no(std::string reason, std::string detail, bool final) {
  return {protocol::Answer::no, final, std::move(reason), std::move(detail), {}};
}

protocol::Vote vote_retry(std::string detail) {
  return {protocol::Answer::retry, true, {}, std::move(detail), {}};
}

protocol::Vote vote_busy(std::string row_key) {
  return {protocol::Answer::retry, true, {}, "a row is held by somebody else", std::move(row_key)};
}

}  // namespace txcoord
