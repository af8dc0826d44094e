#include "txcoord/protocol/judgement.hpp"

#include <optional>

namespace txcoord::protocol {
namespace {

Fate fate_of(Answer answer) {
  switch (answer) {
    case Answer::yes: return Fate::confirmed;
    case Answer::no: return Fate::refused;
    case Answer::duplicate: return Fate::duplicate;
    case Answer::retry: return Fate::retry;
  }
  return Fate::open;
}

// The first voter whose refusal stands (rule 2), if any.
std::optional<std::size_t> standing_refusal(const std::vector<Votes>& votes, std::size_t operation,
                                            const std::vector<bool>& overcounted) {
  for (std::size_t voter = 0; voter < votes.size(); ++voter) {
    const Vote& vote = votes[voter][operation];
    if (vote.answer == Answer::yes) continue;
    if (vote.final || !overcounted[voter]) return voter;
  }
  return std::nullopt;
}

// The vote of the first voter that found a row held, or nothing.
const Vote* held_row(const std::vector<Votes>& votes, std::size_t operation) {
  for (const Votes& by_voter : votes)
    if (!by_voter[operation].busy.empty()) return &by_voter[operation];
  return nullptr;
}

bool anyone_refuses(const std::vector<Votes>& votes, std::size_t operation) {
  for (const Votes& by_voter : votes)
    if (by_voter[operation].answer != Answer::yes) return true;
  return false;
}

}  // namespace

Judgement::Judgement(std::size_t operations)
    : candidates_(operations, true), verdicts_(operations) {}

bool Judgement::round(const std::vector<Votes>& votes) {
  ++rounds_;
  // A voter has overcounted once it accepted an operation that fell elsewhere.
  std::vector<bool> overcounted(votes.size(), false);
  bool settled = true;  // false: past an operation that rule 3 stopped at
  for (std::size_t operation = 0; operation < candidates_.size(); ++operation) {
    if (!candidates_[operation]) continue;
    // Past the stop only final refusals stand: they depend on no other operation.
    const auto refusal = standing_refusal(
        votes, operation, settled ? overcounted : std::vector<bool>(votes.size(), true));
    if (refusal) {
      const Vote& vote = votes[*refusal][operation];
      const Vote* held = held_row(votes, operation);
      verdicts_[operation] = {fate_of(vote.answer), vote.reason, vote.detail,
                              held ? held->busy : std::string(),
                              held ? held->holder : std::string()};
      candidates_[operation] = false;
      for (std::size_t voter = 0; voter < votes.size(); ++voter)
        if (votes[voter][operation].answer == Answer::yes) overcounted[voter] = true;
    } else if (settled && anyone_refuses(votes, operation)) {
      settled = false;
    } else if (settled) {
      verdicts_[operation] = {Fate::confirmed, {}, {}, {}, {}};
    }
  }
  return settled;
}

}  // namespace txcoord::protocol
