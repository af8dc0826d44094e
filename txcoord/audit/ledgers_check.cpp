// One query a check: it returns what is wrong, as (subject, what was found), and nothing else.
#include "txcoord/audit/ledgers_check.hpp"

#include <string>

namespace txcoord::audit {
namespace {

struct RowCheck {
  const char* invariant;
  const char* check;
  const char* sql;
};

// I6. Sums are numeric: they are exact, and cannot overflow.
constexpr RowCheck stock_checks[] = {
    {"I6", "stock_not_conserved", R"(
  SELECT coalesce(i.sku, l.sku),
         format('available %s + reserved %s + shipped %s; expected together %s, as the ledger says: %s too %s',
                i.available, i.reserved, i.shipped, coalesce(l.total, 0),
                abs(d.difference), CASE WHEN d.difference > 0 THEN 'many' ELSE 'few' END)
    FROM inventory i
    FULL JOIN (SELECT sku, sum(delta) AS total FROM stock_ledger GROUP BY sku) l ON l.sku = i.sku
   CROSS JOIN LATERAL (SELECT coalesce(i.available::numeric + i.reserved + i.shipped, 0)
                              - coalesce(l.total, 0) AS difference) d
   WHERE i.available::numeric + i.reserved + i.shipped IS DISTINCT FROM coalesce(l.total, 0))"},
    {"I6", "reserved_differs", R"(
  SELECT coalesce(i.sku, r.sku),
         format('reserved %s, expected %s (reservations RESERVED); shipped %s, expected %s (SHIPPED)', i.reserved,
                coalesce(r.reserved, 0), i.shipped, coalesce(r.shipped, 0))
    FROM inventory i
    FULL JOIN (SELECT sku, coalesce(sum(quantity) FILTER (WHERE status = 'RESERVED'), 0) AS reserved,
                      coalesce(sum(quantity) FILTER (WHERE status = 'SHIPPED'), 0) AS shipped
                 FROM reservations
                GROUP BY sku) r ON r.sku = i.sku
   WHERE i.reserved IS DISTINCT FROM coalesce(r.reserved, 0)
      OR i.shipped IS DISTINCT FROM coalesce(r.shipped, 0))"},
    {"I6", "stock_negative", R"(
  SELECT sku, format('available %s, reserved %s, shipped %s; expected none below 0', available, reserved, shipped)
    FROM inventory
   WHERE least(available, reserved, shipped) < 0)"},
};

constexpr RowCheck wallet_checks[] = {
    {"I6", "wallet_not_conserved", R"(
  SELECT coalesce(w.customer_id, m.customer_id),
         format('balance %s; expected %s, that is ledger %s less captured wallet payments %s: %s too %s',
                w.balance, coalesce(m.given, 0) - coalesce(m.spent, 0), coalesce(m.given, 0),
                coalesce(m.spent, 0), abs(d.difference),
                CASE WHEN d.difference > 0 THEN 'much' ELSE 'little' END)
    FROM wallets w
    FULL JOIN (SELECT customer_id, sum(given) AS given, sum(spent) AS spent
                 FROM (SELECT customer_id, delta AS given, 0 AS spent FROM wallet_ledger
                       UNION ALL
                       SELECT customer_id, 0, amount FROM payments
                        WHERE payment_method = 'wallet' AND status = 'CAPTURED') entries
                GROUP BY customer_id) m ON m.customer_id = w.customer_id
   CROSS JOIN LATERAL (SELECT coalesce(w.balance, 0)::numeric
                              - (coalesce(m.given, 0) - coalesce(m.spent, 0)) AS difference) d
   WHERE w.balance::numeric IS DISTINCT FROM coalesce(m.given, 0) - coalesce(m.spent, 0))"},
    {"I6", "wallet_negative", R"(
  SELECT customer_id, format('balance %s; expected none below 0', balance) FROM wallets WHERE balance < 0)"},
    // The branch writes both in one transaction, the settlement ends both in one.
    {"I1", "capture_forgotten", R"(
  SELECT p.order_id::text, 'payment ' || p.payment_id || ' is AUTHORIZED, and nothing is to capture it'
    FROM payments p
   WHERE p.status = 'AUTHORIZED'
     AND NOT EXISTS (SELECT FROM card_outbox o WHERE o.payment_id = p.payment_id AND o.action = 'CAPTURE'))"},
    // Crossing off a reversal writes the event in the same transaction.
    {"I1", "reversal_forgotten", R"(
  SELECT p.order_id::text, 'payment ' || p.payment_id || ' by card is ' || p.status || ', and nothing reversed it'
    FROM payments p
   WHERE p.payment_method = 'card' AND p.status IN ('VOIDED', 'REFUNDED')
     AND NOT EXISTS (SELECT FROM card_outbox o WHERE o.payment_id = p.payment_id AND o.action = 'REVERSE')
     AND NOT EXISTS (SELECT FROM events e WHERE e.order_id = p.order_id AND e.type = 'CardReversed'))"},
    // The processor contradicts the payment: shown until a person has looked.
    {"I1", "card_errand_refused", R"(
  SELECT o.order_id::text, format('payment %s: %s was answered %s', o.payment_id, o.action, o.answer)
    FROM card_outbox o
   WHERE o.refused_at IS NOT NULL)"},
    {"I6", "card_taken_for_nothing", R"(
  SELECT a.gid || '/' || a.payment_id, format('the processor took %s, and no payment stands for it', a.amount)
    FROM card_authorizations a
   WHERE a.refused_at IS NOT NULL)"},
};

constexpr RowCheck log_checks[] = {
    // The primary key holds within a period; a key has one effect over all of them.
    {"I5", "key_used_twice", R"(
  SELECT scope || ' ' || md5(idempotency_key), format('%s rows, orders %s', count(*), string_agg(order_id::text, ', '))
    FROM operations
   GROUP BY scope, idempotency_key
  HAVING count(*) > 1)"},
    {"I3", "confirmed_and_aborted", R"(
  SELECT o.gid, 'the operation on order ' || o.order_id || ' is confirmed, its decision says abort'
    FROM operations o
    JOIN decisions d ON d.gid = o.gid
   WHERE o.outcome = 'confirmed' AND d.outcome = 'abort')"},
    {"I3", "order_not_in_decision", R"(
  SELECT o.gid, 'confirmed for order ' || o.order_id || ', which its decision does not carry'
    FROM operations o
    JOIN decisions d ON d.gid = o.gid
   WHERE o.outcome = 'confirmed' AND d.outcome = 'commit' AND o.order_id <> ALL (d.order_ids))"},
    // Both are written by one transaction, and decisions are kept for less long than keys.
    {"I10", "decision_without_answer", R"(
  SELECT d.gid, 'decided, and no confirmed operation carries order ' || u.order_id
    FROM decisions d
   CROSS JOIN unnest(d.order_ids) AS u (order_id)
   WHERE d.outcome = 'commit'
     AND d.decided_at > (SELECT min(started_at) FROM key_periods)
     AND NOT EXISTS (SELECT FROM operations o
                      WHERE o.order_id = u.order_id AND o.gid = d.gid AND o.outcome = 'confirmed'))"},
    {"I3", "gid_malformed", R"(
  SELECT gid, format('recorded for coordinator %s, epoch %s', coordinator, epoch)
    FROM decisions
   WHERE array_length(string_to_array(gid, '_'), 1) <> 6
      OR split_part(gid, '_', 1) <> 'txc'
      OR split_part(gid, '_', 2) <> (SELECT installation FROM txc_installation)
      OR split_part(gid, '_', 3) <> coordinator
      OR split_part(gid, '_', 4) <> epoch::text)"},
    {"I11", "epoch_never_granted", R"(
  SELECT d.gid, format('coordinator %s is at epoch %s', d.coordinator, coalesce(e.epoch::text, 'none'))
    FROM decisions d
    LEFT JOIN coordinator_epoch e ON e.id = d.coordinator
   WHERE d.epoch > coalesce(e.epoch, 0))"},
    // decided_at is taken before the fence is read, under whose lock no epoch is raised: so by the
    // log's clock every commit of an epoch comes before the first of the next.
    {"I11", "decided_after_fence", R"(
  SELECT d.gid, format('decided at %s; epoch %s had decided at %s', d.decided_at, n.epoch, n.first)
    FROM decisions d
    JOIN (SELECT coordinator, epoch, min(decided_at) AS first
            FROM decisions
           WHERE outcome = 'commit'
           GROUP BY coordinator, epoch) n ON n.coordinator = d.coordinator AND n.epoch > d.epoch
   WHERE d.outcome = 'commit' AND d.decided_at > n.first)"},
};

// I8, I10: what the log says of its sagas in three places, written together: the instance, its
// history, its key.
constexpr RowCheck saga_checks[] = {
    {"I8", "ended_otherwise", R"(
  SELECT saga_id::text, format('ended with the status %s', status)
    FROM saga_instances
   WHERE (ended_at IS NOT NULL) <> (status IN ('COMPLETED', 'FAILED')))"},
    {"I8", "history_differs", R"(
  SELECT s.saga_id::text,
         format('stands at %s (%s), its history ends with %s (%s)', s.status, s.progress,
                coalesce(h.status, 'nothing'), coalesce(h.n::text, '-'))
    FROM saga_instances s
    LEFT JOIN (SELECT DISTINCT ON (saga_id) saga_id, n, status, step
                 FROM saga_history ORDER BY saga_id, n DESC) h ON h.saga_id = s.saga_id
   WHERE (s.progress, s.status, s.current_step) IS DISTINCT FROM (h.n, h.status, h.step))"},
    {"I10", "key_disagrees", R"(
  SELECT s.saga_id::text,
         format('%s%s, its key says %s%s', s.status, coalesce(' ' || nullif(s.reason, ''), ''),
                coalesce(o.outcome, 'nothing'), coalesce(' ' || nullif(o.reason, ''), ''))
    FROM saga_instances s
    LEFT JOIN operations o ON o.period = s.period AND o.scope = s.scope
                          AND o.idempotency_key = s.idempotency_key
   WHERE s.period >= (SELECT min(period) FROM key_periods)
     AND ((o.outcome, o.gid, o.order_id)
            IS DISTINCT FROM (CASE WHEN s.status = 'COMPLETED' THEN 'confirmed'
                                   WHEN s.answered AND EXISTS (
                                     SELECT FROM saga_history h
                                      WHERE h.saga_id = s.saga_id AND h.status = 'ORDER_CONFIRMED')
                                     THEN 'confirmed'
                                   WHEN s.ended_at IS NULL THEN 'pending' ELSE 'refused' END,
                              s.saga_id::text, s.order_id)
          OR s.status = 'FAILED' AND o.outcome = 'refused' AND o.reason <> s.reason))"},
    {"I10", "pending_without_saga", R"(
  SELECT o.order_id::text, 'its key is pending, and no saga is open that could end it: ' || o.gid
    FROM operations o
   WHERE o.outcome = 'pending'
     AND NOT EXISTS (SELECT FROM saga_instances s WHERE s.saga_id::text = o.gid AND s.ended_at IS NULL))"},
};

constexpr RowCheck untrimmed_log_checks[] = {
    {"I4", "confirmed_without_decision", R"(
  SELECT o.gid, 'confirmed for order ' || o.order_id
    FROM operations o
   WHERE o.outcome = 'confirmed'
     AND NOT EXISTS (SELECT FROM decisions d WHERE d.gid = o.gid)
     AND NOT EXISTS (SELECT FROM saga_instances s WHERE s.saga_id::text = o.gid))"},
};

void run(Snapshot& snapshot, const RowCheck& check, const Report& report) {
  for (Cursor cursor(snapshot, check.check, check.sql); const auto row = cursor.row();
       cursor.next()) {
    report(
        {check.invariant, check.check, (*row)[0].as<std::string>(), (*row)[1].as<std::string>()});
  }
}

}  // namespace

void check_ledgers(Look& look, const Report& report) {
  for (const RowCheck& check : stock_checks) run(look.inventory, check, report);
  for (const RowCheck& check : wallet_checks) run(look.payment, check, report);
}

void check_log(Look& look, const AuditTargets& targets, const Report& report) {
  for (const RowCheck& check : log_checks) run(look.log_after, check, report);
  for (const RowCheck& check : saga_checks) run(look.log_after, check, report);
  if (targets.trimming) return;
  for (const RowCheck& check : untrimmed_log_checks) run(look.log_after, check, report);
}

}  // namespace txcoord::audit
