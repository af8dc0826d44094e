-- Writes again what the lost order branch of a decided global transaction had written.
-- Variables: gid, answers (a JSON array of operations.answer of its placed orders).
-- docs/operating.md says what to check before. Fails, and changes nothing, if the branch is there.
INSERT INTO txc_branch (gid) VALUES (:'gid');

INSERT INTO orders (order_id, customer_id, status, mode, total_amount, transaction_id, correlation_id,
                    created_at, updated_at)
SELECT (a->>'order_id')::uuid, a->>'customer_id', 'CONFIRMED', '2pc', (a->>'total_amount')::bigint,
       :'gid', a->>'correlation_id', (a->>'created_at')::timestamptz, (a->>'created_at')::timestamptz
  FROM jsonb_array_elements(:'answers'::jsonb) a;

INSERT INTO order_items (order_id, line, sku, quantity, unit_price)
SELECT (a->>'order_id')::uuid, i.line, i.item->>'sku', (i.item->>'quantity')::bigint,
       (i.item->>'unit_price')::bigint
  FROM jsonb_array_elements(:'answers'::jsonb) a,
       jsonb_array_elements(a->'items') WITH ORDINALITY AS i (item, line);

INSERT INTO events (order_id, type, correlation_id, at)
SELECT (a->>'order_id')::uuid, 'OrderConfirmed', a->>'correlation_id', (a->>'created_at')::timestamptz
  FROM jsonb_array_elements(:'answers'::jsonb) a;
