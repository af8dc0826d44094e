-- Brings the reservations of an order that is being undone to RELEASED, status and counters of the
-- products together, whatever of the two somebody had changed by hand.
-- Variable: order_id.
-- docs/operating.md says when. Fails, and changes nothing, if a product's counters are off by anything
-- else than this order. May be repeated.
SELECT 1 / (count(*) > 0)::integer AS reservations_are_there FROM reservations
 WHERE order_id = :'order_id'::uuid;

-- I6: the parents first, in key order, as everybody who writes here.
SELECT sku, available, reserved, shipped FROM inventory
 WHERE sku IN (SELECT sku FROM reservations WHERE order_id = :'order_id'::uuid)
 ORDER BY sku FOR NO KEY UPDATE;

-- What the counters hold beyond what reservations and ledger say: nothing, or this order's pieces.
SELECT 1 / bool_and(abs(i.reserved - s.reserved) IN (0, r.quantity)
                    AND abs(i.shipped - s.shipped) IN (0, r.quantity)
                    AND abs(i.available + i.reserved + i.shipped - s.given) IN (0, r.quantity))::integer
       AS no_other_difference
  FROM reservations r JOIN inventory i USING (sku)
 CROSS JOIN LATERAL (
   SELECT coalesce(sum(quantity) FILTER (WHERE status = 'RESERVED'), 0) AS reserved,
          coalesce(sum(quantity) FILTER (WHERE status = 'SHIPPED'), 0) AS shipped,
          (SELECT coalesce(sum(delta), 0) FROM stock_ledger l WHERE l.sku = r.sku) AS given
     FROM reservations o WHERE o.sku = r.sku) s
 WHERE r.order_id = :'order_id'::uuid;

UPDATE reservations SET status = 'RELEASED', updated_at = now()
 WHERE order_id = :'order_id'::uuid AND status <> 'RELEASED';

UPDATE inventory i
   SET available = s.given - s.reserved - s.shipped, reserved = s.reserved, shipped = s.shipped, updated_at = now()
  FROM reservations r
 CROSS JOIN LATERAL (
   SELECT coalesce(sum(quantity) FILTER (WHERE status = 'RESERVED'), 0) AS reserved,
          coalesce(sum(quantity) FILTER (WHERE status = 'SHIPPED'), 0) AS shipped,
          (SELECT coalesce(sum(delta), 0) FROM stock_ledger l WHERE l.sku = r.sku) AS given
     FROM reservations o WHERE o.sku = r.sku) s
 WHERE r.order_id = :'order_id'::uuid AND i.sku = r.sku;

INSERT INTO events (order_id, type)
SELECT :'order_id'::uuid, 'StockReleased'
 WHERE NOT EXISTS (SELECT FROM events WHERE order_id = :'order_id'::uuid AND type = 'StockReleased');
