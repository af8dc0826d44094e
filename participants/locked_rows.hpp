// What a vote knows, and how it judges: pure, and so tested without a database.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "participants/participant.hpp"
#include "txcoord/protocol/vote.hpp"

namespace txcoord {

// What the vote knows: rows read under locks, or nothing but the operations themselves.
class LockedRows {
 public:
  virtual ~LockedRows() = default;

  // Pure: no I/O, same answer for the same arguments; called on the I/O thread, any number of
  // times. One vote for each operation, in group order, as if only the candidates were in the
  // group. Operations that are no candidates, or do not touch this service, get yes.
  virtual protocol::Votes judge(const Operations& operations,
                                const OperationMask& candidates) const = 0;

  // A step of a saga that undoes (a compensation, or a cancel that must succeed) and whose rows
  // stand already as it would leave them, by whoever's doing: the reservation expired, the order
  // was failed. Such a step is done without being applied.
  virtual bool undone_already(const Operation&) const { return false; }
  // Of one that is undone already: the reason that its row gives, if it gives one. It is the answer
  // to the step, and so becomes the saga's reason (I10).
  virtual std::string undone_for(const Operation&) const { return {}; }
};

protocol::Vote vote_yes();
// A refusal; `final`: no other operation of the group can have caused it.
protocol::Vote vote_no(std::string reason, std::string detail, bool final);
protocol::Vote vote_retry(std::string detail);
// Retry: somebody else holds this row, named as in row_keys.hpp; `holder` as in Vote::holder.
protocol::Vote vote_busy(std::string row_key, std::string holder);

// Rows that are there and that somebody else holds: by key, who holds them (their xmax, as text).
using HeldRows = std::map<std::string, std::string>;
// vote_busy() if the row is among them.
std::optional<protocol::Vote> vote_if_held(const HeldRows& held, std::string_view participant,
                                           const std::string& row);

}  // namespace txcoord
