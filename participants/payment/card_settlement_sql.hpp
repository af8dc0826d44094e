// What card settlement reads and writes, one function a transaction. On a worker's thread; each
// blocks and throws what libpqxx throws. How they play together: card_settlement.hpp.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "participants/payment/card_processor.hpp"
#include "txcoord/pg/session.hpp"

namespace txcoord::card_sql {

// Fresh: never tried before. Those that were tried have a bound of their own, so that neither sort
// keeps the other waiting.
enum class Tried : std::uint8_t { never, before };

struct Errands {
  std::vector<std::int64_t> entry_ids;
  std::vector<std::string> references;
};

// Errands of one action that the processor has to be told now. They are put aside as if the call
// had failed, with a pause that doubles and is never the same for two of them: whoever dies, or
// gets no answer, leaves nothing at the head, and nobody else tells the same in the meantime.
Errands claim_errands(pg::Session& session, const char* action, Tried tried,
                      std::chrono::milliseconds pause_min, std::size_t limit);

// Keeps final answers; only then is an errand recorded, and it is not told again.
void keep_answers(pg::Session& session, const std::vector<std::int64_t>& entry_ids,
                  const CardStates& answers);

// Errands that can be ended now: answered, or captures of payments that were given back since.
// Without those whose wallet somebody holds: they take no place of the limit.
std::vector<std::int64_t> recordable_errands(pg::Session& session, std::size_t limit);

struct RefusedErrand {
  std::string payment_id, order_id, action, answer;
};
struct Recorded {
  std::size_t captured = 0, reversed = 0;
  std::vector<RefusedErrand> refused;  // need a person, from now on
};
// The payments' states, the history and the crossing off, as the processor answered. An errand
// whose wallet is held is left.
Recorded record_errands(pg::Session& session, const std::vector<std::int64_t>& entry_ids);

// One that no transaction could record steps back, as an unanswered one does.
void put_errand_aside(pg::Session& session, std::int64_t entry_id,
                      std::chrono::milliseconds pause_min);

// Where old intents were listed up to; empty: from the oldest on.
struct IntentPlace {
  std::string created_at, gid;
};
struct IntentPage {
  std::vector<std::string> gids;
  IntentPlace next;  // empty again when there are no more
};
IntentPage intents_after(pg::Session& session, const IntentPlace& place,
                         std::chrono::milliseconds age_min, std::size_t limit);
void mark_intents(pg::Session& session, const std::vector<std::string>& gids);

struct Intents {
  std::vector<std::string> gids, payment_ids;
};
// As claim_errands(), for marked intents.
Intents claim_marked(pg::Session& session, Tried tried, std::chrono::milliseconds pause_min,
                     std::size_t limit);
// Deletes those that are let go; shows those whose money was taken as needing a person. How many
// were deleted.
std::size_t finish_intents(pg::Session& session, const Intents& gone, const Intents& taken);

struct Left {
  double lag_seconds = 0;   // age of the oldest errand that needs no person
  std::size_t refused = 0;  // need a person
};
Left what_is_left(pg::Session& session);

}  // namespace txcoord::card_sql
