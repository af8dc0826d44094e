// A voter that judges as the participants do: in group order, from a locked stock, counting what
// the candidates it accepted itself take, and never what anything gives back.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "txcoord/protocol/vote.hpp"

namespace txcoord::sim {

using Stock = std::map<std::string, std::int64_t>;

// What one operation wants of one voter.
struct Want {
  Stock takes{};
  std::optional<protocol::Vote>
      fixed{};  // an answer that depends on no stock (a declined card, a duplicate key)
};

inline bool covers(const Stock& stock, const Stock& takes) {
  for (const auto& [resource, amount] : takes) {
    const auto have = stock.find(resource);
    if ((have == stock.end() ? 0 : have->second) < amount) return false;
  }
  return true;
}

inline void take(Stock& stock, const Stock& takes) {
  for (const auto& [resource, amount] : takes) stock[resource] -= amount;
}

// The vote on one operation, with `locked` in the rows and `left` after what was accepted so far.
inline protocol::Vote vote_on(const Want& want, const Stock& locked, const Stock& left,
                              const std::string& reason) {
  if (want.fixed) return *want.fixed;
  if (covers(left, want.takes)) return {};
  return {protocol::Answer::no, /*final=*/!covers(locked, want.takes), reason, {}};
}

inline protocol::Votes judge(const std::vector<Want>& wants, const Stock& locked,
                             const std::vector<bool>& candidates, const std::string& reason) {
  protocol::Votes votes(wants.size());
  Stock left = locked;
  for (std::size_t i = 0; i < wants.size(); ++i) {
    if (!candidates[i]) continue;
    votes[i] = vote_on(wants[i], locked, left, reason);
    if (votes[i].answer == protocol::Answer::yes) take(left, wants[i].takes);
  }
  return votes;
}

}  // namespace txcoord::sim
