-- CloudMart's catalogue, for the demo (`txcoord migrate --with-cloudmart`). Safe to repeat: what is
-- there stays as it is, and a ledger row is written only for what was inserted (I6).
WITH loaded AS (
    INSERT INTO inventory (sku, title, category, unit_price, available, low_stock_threshold)
    VALUES ('book-123', 'クラウド設計パターン集', 'books', 3500, 5, 2),
           ('book-456', '限定版アートブック', 'books', 8000, 0, 1),
           ('book-789', 'プログラミング入門', 'books', 2800, 10, 3)
    ON CONFLICT (sku) DO NOTHING
    RETURNING sku, available
)
INSERT INTO stock_ledger (sku, delta, cause)
SELECT sku, available, 'LOAD' FROM loaded WHERE available <> 0;
