-- Writes again what the lost payment branch of a decided global transaction had written, for wallet
-- payments. A card's authorisation was released by card settlement: a person must charge it anew,
-- so a group that holds a card payment is refused here.
-- Variables: gid, answers (a JSON array of operations.answer of its placed orders).
-- docs/operating.md says what to check before. Fails, and changes nothing, if the branch is there,
-- or if a balance is too small now.
INSERT INTO txc_branch (gid) VALUES (:'gid');

SELECT 1 / (count(*) = 0)::integer AS only_wallets FROM jsonb_array_elements(:'answers'::jsonb) a
 WHERE a->'payment'->>'payment_method' <> 'wallet';

-- I6: the parents first, in key order, as everybody who writes here.
SELECT customer_id, balance FROM wallets
 WHERE customer_id IN (SELECT a->>'customer_id' FROM jsonb_array_elements(:'answers'::jsonb) a)
 ORDER BY customer_id FOR NO KEY UPDATE;

INSERT INTO payments (payment_id, order_id, customer_id, amount, payment_method, status, created_at)
SELECT (a->'payment'->>'payment_id')::uuid, (a->>'order_id')::uuid, a->>'customer_id',
       (a->'payment'->>'amount')::bigint, 'wallet', 'CAPTURED', (a->>'created_at')::timestamptz
  FROM jsonb_array_elements(:'answers'::jsonb) a;

UPDATE wallets w SET balance = w.balance - d.amount, updated_at = now()
  FROM (SELECT a->>'customer_id' AS customer_id, sum((a->'payment'->>'amount')::bigint)::bigint AS amount
          FROM jsonb_array_elements(:'answers'::jsonb) a
         GROUP BY 1) d
 WHERE w.customer_id = d.customer_id;

INSERT INTO events (order_id, type, correlation_id)
SELECT (a->>'order_id')::uuid, 'PaymentCaptured', coalesce(a->>'correlation_id', '')
  FROM jsonb_array_elements(:'answers'::jsonb) a;
