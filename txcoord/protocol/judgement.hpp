// Which operations of a group survive: the fixpoint over all voters.
//
// The result is the one a serial run would give: operation i is confirmed exactly if every voter
// says yes to it after the confirmed operations before it, and those alone. Voters judge a whole
// group at a time, each counting what it accepted itself, so one round can be wrong about an
// operation in two ways only. Judging is monotone (a later operation counts what earlier ones
// take, never what they give back), which gives three rules:
//
//   1. A yes is always right: the voter counted at least everything that is confirmed.
//   2. A no is right if it is final, or if the voter has counted nothing that fell: then it
//      counted exactly what is confirmed.
//   3. Any other no may have been caused by an operation that fell elsewhere. From there on
//      nothing is known: the voters judge again without those that fell.
//
// Each round settles at least one operation more than the round before (the one that rule 3
// stopped at is judged by rule 1 or 2 next time), so there are at most n + 1 rounds. In practice
// there are one or two. Source: ours.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "txcoord/protocol/vote.hpp"

namespace txcoord::protocol {

enum class Fate : std::uint8_t { open, confirmed, refused, duplicate, retry };

struct Verdict {
  Fate fate = Fate::open;
  std::string reason;
  std::string detail;
  // A row that it needs and somebody else holds (Vote::busy), whatever its fate: by whoever voted.
  std::string busy{};
  std::string holder{};  // of that row (Vote::holder)

  bool operator==(const Verdict&) const = default;
};

class Judgement {
 public:
  explicit Judgement(std::size_t operations);

  // One round: votes[voter][operation], every voter having judged the current candidates.
  // Where several voters refuse an operation, the first of them gives the reason: the answer must
  // not depend on who was quicker. True when every operation is settled; otherwise candidates()
  // has shrunk and everyone has to judge again.
  bool round(const std::vector<Votes>& votes);

  const std::vector<bool>& candidates() const { return candidates_; }
  const std::vector<Verdict>& verdicts() const { return verdicts_; }
  std::size_t rounds() const { return rounds_; }

 private:
  std::vector<bool> candidates_;
  std::vector<Verdict> verdicts_;
  std::size_t rounds_ = 0;
};

}  // namespace txcoord::protocol
