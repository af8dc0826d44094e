-- Brings the wallet payment of an order that is being undone to REFUNDED, status and balance
-- together, whatever of the two somebody had changed by hand. A card's money is at its processor:
-- refused here.
-- Variable: order_id.
-- docs/operating.md says when. Fails, and changes nothing, if the balance is off by anything else
-- than this payment. May be repeated.
SELECT 1 / (count(*) = 1)::integer AS one_wallet_payment FROM payments
 WHERE order_id = :'order_id'::uuid AND payment_method = 'wallet';

-- I6: the parents first, as everybody who writes here.
SELECT customer_id, balance FROM wallets
 WHERE customer_id = (SELECT customer_id FROM payments WHERE order_id = :'order_id'::uuid)
 FOR NO KEY UPDATE;

-- What the wallet holds beyond what ledger and payments say: nothing, or the one half that is missing.
SELECT 1 / (w.balance - s.balance IN (0, CASE p.status WHEN 'CAPTURED' THEN p.amount ELSE -p.amount END))::integer
       AS no_other_difference
  FROM payments p JOIN wallets w USING (customer_id)
 CROSS JOIN LATERAL (
   SELECT (SELECT coalesce(sum(delta), 0) FROM wallet_ledger l WHERE l.customer_id = p.customer_id)
        - (SELECT coalesce(sum(amount), 0) FROM payments c
            WHERE c.customer_id = p.customer_id AND c.payment_method = 'wallet' AND c.status = 'CAPTURED')
          AS balance) s
 WHERE p.order_id = :'order_id'::uuid;

UPDATE payments SET status = 'REFUNDED', updated_at = now()
 WHERE order_id = :'order_id'::uuid AND status <> 'REFUNDED';

UPDATE wallets w SET balance = s.balance, updated_at = now()
  FROM payments p
 CROSS JOIN LATERAL (
   SELECT (SELECT coalesce(sum(delta), 0) FROM wallet_ledger l WHERE l.customer_id = p.customer_id)
        - (SELECT coalesce(sum(amount), 0) FROM payments c
            WHERE c.customer_id = p.customer_id AND c.payment_method = 'wallet' AND c.status = 'CAPTURED')
          AS balance) s
 WHERE p.order_id = :'order_id'::uuid AND w.customer_id = p.customer_id AND w.balance <> s.balance;

INSERT INTO events (order_id, type)
SELECT :'order_id'::uuid, 'PaymentRefunded'
 WHERE NOT EXISTS (SELECT FROM events WHERE order_id = :'order_id'::uuid AND type = 'PaymentRefunded');
