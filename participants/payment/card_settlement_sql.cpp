// See card_settlement_sql.hpp.
#include "participants/payment/card_settlement_sql.hpp"

#include "participants/branch_logic.hpp"

namespace txcoord::card_sql {
namespace {

// The pause before the next try: doubling up to a minute, and up to a half more.
#define TXC_CARD_PAUSE(attempts, pause_min)                                           \
  "clock_timestamp() + least(60000, " pause_min "::bigint * power(2, least(" attempts \
  ", 16)))"                                                                           \
  " * (1 + random() / 2) * interval '1 millisecond'"

// A capture of a payment that was given back since is not told: it is only crossed off.
constexpr pg::Statement claim{"card_claim_errands",
                              R"(
  UPDATE card_outbox o
     SET attempts = o.attempts + 1, next_at = )" TXC_CARD_PAUSE("o.attempts", "$3") R"(
    FROM (SELECT due.entry_id FROM card_outbox due JOIN payments p USING (payment_id)
           WHERE due.action = $1 AND (due.attempts > 0) = $2 AND due.next_at <= clock_timestamp()
             AND due.answer IS NULL AND due.refused_at IS NULL
             AND (due.action = 'REVERSE' OR p.status = 'AUTHORIZED')
           ORDER BY due.next_at, due.entry_id LIMIT $4
             FOR UPDATE OF due SKIP LOCKED) d
   WHERE o.entry_id = d.entry_id
  RETURNING o.entry_id, o.provider_reference)"};

constexpr pg::Statement keep{"card_keep_answers", R"(
  UPDATE card_outbox o SET answer = a.answer, attempts = 0, next_at = '-infinity'
    FROM unnest($1::bigint[], $2::text[]) AS a (entry_id, answer)
   WHERE o.entry_id = a.entry_id AND o.answer IS NULL)"};

// Wallets are the parents of payments. SKIP LOCKED under a LIMIT: what is skipped takes no place,
// so errands of a held wallet cannot keep others waiting, however many they are.
constexpr pg::Statement list_recordable{"card_list_recordable", R"(
  SELECT o.entry_id
    FROM card_outbox o JOIN payments p USING (payment_id)
    JOIN wallets w ON w.customer_id = o.customer_id
   WHERE o.next_at <= clock_timestamp()
     AND (o.answer IS NOT NULL AND o.refused_at IS NULL
          OR o.action = 'CAPTURE' AND p.status <> 'AUTHORIZED')
   ORDER BY o.next_at, o.entry_id LIMIT $1
     FOR NO KEY UPDATE OF w SKIP LOCKED)"};

constexpr pg::Statement lock_free{"card_lock_free", R"(
  SELECT o.entry_id FROM card_outbox o JOIN wallets w ON w.customer_id = o.customer_id
   WHERE o.entry_id = ANY ($1::bigint[])
   ORDER BY w.customer_id, o.entry_id
     FOR NO KEY UPDATE OF w SKIP LOCKED)"};

// In the statement after the locks: who changes a payment's status holds its wallet row.
// What the processor answered is what is recorded. A payment that we gave back before we knew of
// its capture was voided by our rows; if the processor says that it was refunded, it was.
// A capture that was not taken, of a payment that still stands, and a reversal that reversed
// nothing contradict our rows: nobody but a person can say which is right.
constexpr pg::Statement finish{"card_finish_errands", R"(
  WITH judged AS (
    SELECT o.entry_id, o.payment_id, o.order_id, o.action, o.answer, o.correlation_id, p.status,
           CASE WHEN o.action = 'CAPTURE' THEN p.status <> 'AUTHORIZED' OR o.answer = 'CAPTURED'
                ELSE o.answer IN ('REFUNDED', 'VOIDED') AND p.status IN ('REFUNDED', 'VOIDED')
           END AS ends
      FROM card_outbox o JOIN payments p USING (payment_id)
     WHERE o.entry_id = ANY ($1::bigint[])
       AND (o.answer IS NOT NULL OR o.action = 'CAPTURE' AND p.status <> 'AUTHORIZED')
  ), finished AS (
    DELETE FROM card_outbox o USING judged j WHERE o.entry_id = j.entry_id AND j.ends
    RETURNING j.*
  ), settled AS (
    UPDATE payments p SET status = f.answer, updated_at = now()
      FROM finished f
     WHERE p.payment_id = f.payment_id AND p.status = f.status AND f.status <> f.answer
       AND (f.action = 'REVERSE' OR f.status = 'AUTHORIZED')
    RETURNING f.order_id, f.correlation_id, f.action, f.answer
  ), history AS (
    INSERT INTO events (order_id, type, correlation_id)
    SELECT order_id, CASE answer WHEN 'CAPTURED' THEN 'PaymentCaptured'
                                 WHEN 'REFUNDED' THEN 'PaymentRefunded' ELSE 'PaymentVoided' END,
           correlation_id
      FROM settled
    UNION ALL
    SELECT order_id, 'CardReversed', correlation_id FROM finished WHERE action = 'REVERSE'
  ), refused AS (
    UPDATE card_outbox o SET refused_at = clock_timestamp()
      FROM judged j
     WHERE o.entry_id = j.entry_id AND NOT j.ends AND o.refused_at IS NULL
    RETURNING j.payment_id, j.order_id, j.action, j.answer
  )
  SELECT 'captured', count(*)::text, '', '' FROM settled WHERE action = 'CAPTURE'
  UNION ALL
  SELECT 'reversed', count(*)::text, '', '' FROM finished WHERE action = 'REVERSE'
  UNION ALL
  SELECT payment_id::text, order_id::text, action, answer FROM refused)"};

constexpr pg::Statement put_aside{"card_put_aside",
                                  R"(
  UPDATE card_outbox o
     SET attempts = o.attempts + 1, next_at = )" TXC_CARD_PAUSE("o.attempts", "$2") R"(
   WHERE o.entry_id = $1)"};

// The intents of one gid are written together, and marked together.
constexpr pg::Statement list_intents{"card_list_intents", R"(
  SELECT gid, min(created_at)::text, count(*) FROM (
    SELECT gid, created_at FROM card_authorizations
     WHERE NOT voiding AND created_at <= now() - $1::bigint * interval '1 millisecond'
       AND (created_at, gid) > (coalesce(nullif($2, ''), '-infinity')::timestamptz, $3)
     ORDER BY created_at, gid LIMIT $4) oldest
   GROUP BY gid ORDER BY min(created_at), gid)"};

constexpr pg::Statement mark{"card_mark_intents", R"(
  WITH unused AS (
    SELECT gid, payment_id FROM card_authorizations
     WHERE gid = ANY($1::text[]) AND NOT voiding
       FOR UPDATE SKIP LOCKED
  )
  UPDATE card_authorizations a SET voiding = true
    FROM unused u WHERE a.gid = u.gid AND a.payment_id = u.payment_id)"};

constexpr pg::Statement claim_intents{"card_claim_marked",
                                      R"(
  UPDATE card_authorizations a
     SET attempts = a.attempts + 1, next_at = )" TXC_CARD_PAUSE("a.attempts", "$2") R"(
    FROM (SELECT gid, payment_id FROM card_authorizations
           WHERE voiding AND (attempts > 0) = $1 AND next_at <= clock_timestamp()
             AND refused_at IS NULL
           ORDER BY next_at, created_at LIMIT $3
             FOR UPDATE SKIP LOCKED) d
   WHERE a.gid = d.gid AND a.payment_id = d.payment_id
  RETURNING a.gid, a.payment_id)"};

constexpr pg::Statement delete_intents{"card_delete_marked", R"(
  DELETE FROM card_authorizations a USING unnest($1::text[], $2::uuid[]) AS v (gid, payment_id)
   WHERE a.gid = v.gid AND a.payment_id = v.payment_id AND a.voiding)"};

constexpr pg::Statement refuse_intents{"card_refuse_marked", R"(
  UPDATE card_authorizations a SET refused_at = clock_timestamp()
    FROM unnest($1::text[], $2::uuid[]) AS v (gid, payment_id)
   WHERE a.gid = v.gid AND a.payment_id = v.payment_id AND a.voiding AND a.refused_at IS NULL)"};

constexpr pg::Statement read_left{"card_left", R"(
  SELECT coalesce(extract(epoch FROM clock_timestamp()
                            - min(created_at) FILTER (WHERE refused_at IS NULL)), 0)::float8,
         count(*) FILTER (WHERE refused_at IS NOT NULL)
           + (SELECT count(*) FROM card_authorizations WHERE refused_at IS NOT NULL)
    FROM card_outbox)"};

}  // namespace

Errands claim_errands(pg::Session& session, const char* action, Tried tried,
                      std::chrono::milliseconds pause_min, std::size_t limit) {
  Errands errands;
  for (const auto& row :
       session.exec(claim, action, tried == Tried::before, pause_min.count(), limit)) {
    errands.entry_ids.push_back(row[0].as<std::int64_t>());
    errands.references.push_back(row[1].as<std::string>());
  }
  return errands;
}

void keep_answers(pg::Session& session, const std::vector<std::int64_t>& entry_ids,
                  const CardStates& answers) {
  std::vector<std::string> words;
  words.reserve(answers.size());
  for (const CardState answer : answers) words.emplace_back(to_string(answer));
  session.exec(keep, entry_ids, words);
}

std::vector<std::int64_t> recordable_errands(pg::Session& session, std::size_t limit) {
  std::vector<std::int64_t> entry_ids;
  for (const auto& row : session.exec(list_recordable, limit))
    entry_ids.push_back(row[0].as<std::int64_t>());
  return entry_ids;
}

Recorded record_errands(pg::Session& session, const std::vector<std::int64_t>& entry_ids) {
  return in_local_transaction(session, [&] {
    std::vector<std::int64_t> free;
    for (const auto& row : session.exec(lock_free, entry_ids))
      free.push_back(row[0].as<std::int64_t>());
    Recorded recorded;
    for (const auto& row : session.exec(finish, free)) {
      if (row[0].view() == "captured") {
        recorded.captured = row[1].as<std::size_t>();
      } else if (row[0].view() == "reversed") {
        recorded.reversed = row[1].as<std::size_t>();
      } else {
        recorded.refused.push_back({row[0].as<std::string>(), row[1].as<std::string>(),
                                    row[2].as<std::string>(), row[3].as<std::string>()});
      }
    }
    return recorded;
  });
}

void put_errand_aside(pg::Session& session, std::int64_t entry_id,
                      std::chrono::milliseconds pause_min) {
  session.exec(put_aside, entry_id, pause_min.count());
}

IntentPage intents_after(pg::Session& session, const IntentPlace& place,
                         std::chrono::milliseconds age_min, std::size_t limit) {
  IntentPage page;
  std::size_t rows = 0;
  for (const auto& row :
       session.exec(list_intents, age_min.count(), place.created_at, place.gid, limit)) {
    page.gids.push_back(row[0].as<std::string>());
    page.next = {row[1].as<std::string>(), page.gids.back()};
    rows += row[2].as<std::size_t>();
  }
  if (rows < limit) page.next = {};
  return page;
}

void mark_intents(pg::Session& session, const std::vector<std::string>& gids) {
  session.exec(mark, gids);
}

Intents claim_marked(pg::Session& session, Tried tried, std::chrono::milliseconds pause_min,
                     std::size_t limit) {
  Intents intents;
  for (const auto& row :
       session.exec(claim_intents, tried == Tried::before, pause_min.count(), limit)) {
    intents.gids.push_back(row[0].as<std::string>());
    intents.payment_ids.push_back(row[1].as<std::string>());
  }
  return intents;
}

std::size_t finish_intents(pg::Session& session, const Intents& gone, const Intents& taken) {
  return in_local_transaction(session, [&] {
    if (!taken.gids.empty()) session.exec(refuse_intents, taken.gids, taken.payment_ids);
    return static_cast<std::size_t>(
        session.exec(delete_intents, gone.gids, gone.payment_ids).affected_rows());
  });
}

Left what_is_left(pg::Session& session) {
  const auto row = session.exec(read_left)[0];
  return {row[0].as<double>(), row[1].as<std::size_t>()};
}

}  // namespace txcoord::card_sql
