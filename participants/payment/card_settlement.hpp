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
//
// Why no errand keeps another waiting, and none is told again without need:
//  1. What the processor is told is put aside first, durably and with a pause that doubles
//     (claim_errands). If no answer comes, whatever the reason, others go before it.
//  2. A call that fails is repeated in halves: one authorisation that fails stands alone then.
//  3. The processor's answer is kept at once, without the wallet; from then on it is not
//     told again. Only recording it needs the wallet, and errands of a wallet that is held take no
//     place.
//  4. An answer that contradicts the payment is not repeated: it is shown as needing a person.
// So what a payment says is what the processor answered, not what we meant it to do.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "participants/payment/card_processor.hpp"
#include "participants/payment/card_settlement_sql.hpp"
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
  double lag_seconds = 0;   // age of the oldest errand that is left, without those that are refused
  std::size_t refused = 0;  // errands and intents that need a person
};

// Whoever tells the card processor: in this process, or behind a URL.
class CardSettler {
 public:
  virtual ~CardSettler() = default;
  // One bounded round; call it again and again. Several may run at once, here or in other
  // processes: each step may be repeated. Captures and reversals need nobody but the payment
  // database and the processor: if `states` fails, nothing is voided, and the rest goes on.
  asio::awaitable<Result<CardSettlementReport>> settle_cards(GlobalStates states);
  // The global transactions that card authorisations wait for, of those that are old enough. A
  // bounded part of them: each call goes on where the one before ended, so that those that stay
  // active do not hide the others.
  virtual asio::awaitable<Result<std::vector<protocol::Gid>>> old_intents() = 0;
  // The round itself. `ended`: of old_intents(), those that are not active.
  virtual asio::awaitable<Result<CardSettlementReport>> settle_ended(
      std::vector<protocol::Gid> ended) = 0;
};

class CardSettlement final : public CardSettler {
 public:
  // `metrics` may be null.
  CardSettlement(std::shared_ptr<pg::Pool> pool, std::shared_ptr<CardProcessor> processor,
                 std::chrono::milliseconds deadline, Metrics* metrics);

  asio::awaitable<Result<std::vector<protocol::Gid>>> old_intents() override;
  asio::awaitable<Result<CardSettlementReport>> settle_ended(
      std::vector<protocol::Gid> ended) override;

  // Intents younger than this are not asked about: their group is most likely under way.
  std::chrono::milliseconds intent_age_min{2000};

  // The pause after a first try that was not answered; it doubles up to a minute.
  std::chrono::milliseconds retry_ms_min{2000};

 private:
  using Answers = std::vector<std::optional<CardState>>;
  using CardCall =
      std::function<asio::awaitable<Result<CardStates>>(std::vector<std::string> names)>;

  struct Round {
    CardSettlementReport report;
    unsigned failures_left = 0;  // calls of the processor that may still fail
    std::optional<Failure> failed;
    void note(const Result<Done>& step) {
      if (!step && !failed) failed = step.failure();
    }
  };

  asio::awaitable<Result<Done>> run_errands(const char* action, card_sql::Tried tried,
                                            Round& round);
  asio::awaitable<Result<Done>> record_answered(Round& round);
  asio::awaitable<Result<Done>> mark_unused(const std::vector<protocol::Gid>& ended);
  asio::awaitable<Result<Done>> void_marked(card_sql::Tried tried, Round& round);
  asio::awaitable<Result<Done>> look_at_rest(CardSettlementReport& report);
  asio::awaitable<Answers> ask_in_parts(const CardCall& call, const std::vector<std::string>& names,
                                        Round& round);
  template <class Work>
  auto on_database(Work work);

  std::shared_ptr<pg::Pool> pool_;
  std::shared_ptr<CardProcessor> processor_;
  std::chrono::milliseconds deadline_;
  Metrics* metrics_;
  card_sql::IntentPlace place_;
};

}  // namespace txcoord
