-- CloudMart's customers, for the demo (`txcoord migrate --with-cloudmart`). Safe to repeat: what is
-- there stays as it is, and a ledger row is written only for what was inserted (I6).
WITH loaded AS (
    INSERT INTO wallets (customer_id, balance)
    VALUES ('customer-001', 1000000),  -- 田中太郎
           ('customer-002', 1000000),  -- 佐藤花子
           ('customer-003', 1000)      -- 山田一郎: too little for anything in the shop
    ON CONFLICT (customer_id) DO NOTHING
    RETURNING customer_id, balance
)
INSERT INTO wallet_ledger (customer_id, delta, cause)
SELECT customer_id, balance, 'LOAD' FROM loaded;
