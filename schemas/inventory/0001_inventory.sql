-- Inventory: stock, reservations, the ledger that stock is conserved against (I6), and witnesses.
-- No foreign keys: a key check would lock a parent row that the vote did not lock, and so make a
-- cycle of waits across databases that no server can see.

CREATE TABLE inventory (
    sku                 text PRIMARY KEY CHECK (length(sku) BETWEEN 1 AND 64),
    title               text        NOT NULL DEFAULT '',
    category            text        NOT NULL DEFAULT '',
    unit_price          bigint      NOT NULL DEFAULT 0 CHECK (unit_price >= 0),
    available           bigint      NOT NULL DEFAULT 0 CHECK (available >= 0),
    reserved            bigint      NOT NULL DEFAULT 0 CHECK (reserved >= 0),
    shipped             bigint      NOT NULL DEFAULT 0 CHECK (shipped >= 0),
    low_stock_threshold bigint      NOT NULL DEFAULT 0 CHECK (low_stock_threshold >= 0),
    updated_at          timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
-- Half-empty pages keep the many updates of a hot row on its own page (HOT), without index entries.

CREATE TABLE reservations (
    reservation_id uuid PRIMARY KEY,
    order_id       uuid        NOT NULL,
    sku            text        NOT NULL,
    quantity       bigint      NOT NULL CHECK (quantity > 0),
    status         text        NOT NULL CHECK (status IN ('RESERVED', 'RELEASED', 'SHIPPED')),
    expires_at     timestamptz,            -- null under two-phase commit: it is part of an order
    created_at     timestamptz NOT NULL,
    updated_at     timestamptz NOT NULL DEFAULT now(),
    UNIQUE (order_id, sku)
);

-- I6: for each SKU, available + reserved + shipped = the sum of these deltas. A PUT and a restock
-- write their row in their own transaction; reserve, release and ship only move between columns.
CREATE TABLE stock_ledger (
    entry_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sku      text        NOT NULL,
    delta    bigint      NOT NULL CHECK (delta <> 0),
    cause    text        NOT NULL CHECK (cause IN ('PUT', 'RESTOCK', 'LOAD')),
    at       timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX stock_ledger_sku ON stock_ledger (sku);

CREATE TABLE events (
    event_id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    order_id       uuid        NOT NULL,
    type           text        NOT NULL,
    correlation_id text        NOT NULL DEFAULT '',
    at             timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX events_order_id ON events (order_id);

-- Idempotency keys of restocks: claimed in the transaction that adds the stock (I5).
CREATE TABLE request_keys (
    scope       text        NOT NULL,
    key         text        NOT NULL,
    fingerprint bytea       NOT NULL,
    answer      jsonb,                     -- the stock row as answered; null: unknown SKU
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (scope, key)
);
CREATE INDEX request_keys_created_at ON request_keys (created_at);

-- The witness: a row here proves that the branch of this global transaction committed.
CREATE TABLE txc_branch (
    gid text PRIMARY KEY,
    at  timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
