// What is told to the card processor after the decision: captures and reversals from the outbox,
// and the release of authorisations that no committed branch used.
//
// Why nothing that is used is ever voided, whatever the caller says and whoever else runs this:
//  1. An intent is durable before the processor is asked, and the branch that uses it deletes it in
//     its own transaction. So from apply on, the branch holds the intent's row lock; a prepared
//     branch keeps it, and a committed one leaves no intent.
//  2. Voiding begins by marking the intent, FOR UPDATE SKIP LOCKED, in a transaction of its own: an
//     intent that a branch holds is skipped, without waiting.
//  3. A branch that comes to its apply after the mark finds its intent gone, and fails.
//  4. Only marked intents are voided at the processor, and only then deleted.
// The caller's word (not active) is what keeps 3 from happening to a healthy group.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "participants/payment/card_processor.hpp"
#include "txcoord/metrics/metrics.hpp"
#include "txcoord/pg/pool.hpp"
#include "txcoord/protocol/gid.hpp"

namespace txcoord {

// What is known of a global transaction. active: it may still vote, prepare or be decided here or
// elsewhere, or nobody knows. committed: durable in the log. aborted: its branches are at rest, by
// an abort or because it was complete and its decision is trimmed.
enum class GlobalState : std::uint8_t { active, committed, aborted };
// One state for each gid, in order.
using GlobalStates =
    std::function<asio::awaitable<Result<std::vector<GlobalState>>>(std::vector<protocol::Gid>)>;

struct CardSettlementReport {
  std::size_t captured = 0, reversed = 0, voided = 0;
  double lag_seconds = 0;  // age of the oldest errand that is left
};

// Whoever tells the card processor: in this process, or behind a URL.
class CardSettler {
 public:
  virtual ~CardSettler() = default;
  // One bounded round; call it again and again. Several may run at once, here or in other
  // processes: each step may be repeated. A failure of one half does not stop the other.
  virtual asio::awaitable<Result<CardSettlementReport>> settle_cards(GlobalStates states) = 0;
  // The global transactions that card authorisations wait for, of those that are old enough.
  virtual asio::awaitable<Result<std::vector<protocol::Gid>>> old_intents() = 0;
};

class CardSettlement final : public CardSettler {
 public:
  // `metrics` may be null.
  CardSettlement(std::shared_ptr<pg::Pool> pool, std::shared_ptr<CardProcessor> processor,
                 std::chrono::milliseconds deadline, Metrics* metrics);

  asio::awaitable<Result<CardSettlementReport>> settle_cards(GlobalStates states) override;
  asio::awaitable<Result<std::vector<protocol::Gid>>> old_intents() override;

  // Intents younger than this are not asked about: their group is most likely under way.
  std::chrono::milliseconds intent_age_min{2000};

 private:
  asio::awaitable<Result<Done>> run_errands(CardSettlementReport& report);
  asio::awaitable<Result<Done>> mark_unused(const GlobalStates& states);
  asio::awaitable<Result<Done>> void_marked(CardSettlementReport& report);
  asio::awaitable<Result<double>> lag();

  std::shared_ptr<pg::Pool> pool_;
  std::shared_ptr<CardProcessor> processor_;
  std::chrono::milliseconds deadline_;
  Metrics* metrics_;
};

}  // namespace txcoord
