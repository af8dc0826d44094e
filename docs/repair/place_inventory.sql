-- Writes again what the lost inventory branch of a decided global transaction had written.
-- Variables: gid, answers (a JSON array of operations.answer of its placed orders).
-- docs/operating.md says what to check before. Fails, and changes nothing, if the branch is there,
-- or if the pieces were sold to others meanwhile (the check on `available`).
INSERT INTO txc_branch (gid) VALUES (:'gid');

-- I6: the parents first, in key order, as everybody who writes here.
SELECT sku, available FROM inventory
 WHERE sku IN (SELECT i->>'sku'
                 FROM jsonb_array_elements(:'answers'::jsonb) a, jsonb_array_elements(a->'items') i)
 ORDER BY sku FOR NO KEY UPDATE;

INSERT INTO reservations (reservation_id, order_id, sku, quantity, status, created_at)
SELECT (i->>'reservation_id')::uuid, (a->>'order_id')::uuid, i->>'sku', (i->>'quantity')::bigint,
       'RESERVED', (a->>'created_at')::timestamptz
  FROM jsonb_array_elements(:'answers'::jsonb) a, jsonb_array_elements(a->'items') i;

UPDATE inventory s
   SET available = s.available - d.quantity, reserved = s.reserved + d.quantity, updated_at = now()
  FROM (SELECT i->>'sku' AS sku, sum((i->>'quantity')::bigint)::bigint AS quantity
          FROM jsonb_array_elements(:'answers'::jsonb) a, jsonb_array_elements(a->'items') i
         GROUP BY 1) d
 WHERE s.sku = d.sku;

INSERT INTO events (order_id, type, correlation_id)
SELECT (a->>'order_id')::uuid, 'StockReserved', coalesce(a->>'correlation_id', '')
  FROM jsonb_array_elements(:'answers'::jsonb) a;
