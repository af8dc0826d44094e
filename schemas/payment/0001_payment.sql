-- Payment: wallets, payments, the ledger that balances are conserved against (I6), card
-- authorisations with their outbox, and witnesses. No foreign keys: see schemas/inventory.

CREATE TABLE wallets (
    customer_id text PRIMARY KEY CHECK (length(customer_id) BETWEEN 1 AND 64),
    balance     bigint      NOT NULL DEFAULT 0 CHECK (balance >= 0),
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);

-- I6: for each customer, balance = the sum of these deltas - captured wallet payments. (A refunded
-- payment was captured and given back: net 0.)
CREATE TABLE wallet_ledger (
    entry_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id text        NOT NULL,
    delta       bigint      NOT NULL CHECK (delta <> 0),
    cause       text        NOT NULL CHECK (cause IN ('PUT', 'LOAD')),
    at          timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX wallet_ledger_customer_id ON wallet_ledger (customer_id);

-- Who changes a payment's status holds its customer's wallet row: the parent, locked first.
CREATE TABLE payments (
    payment_id         uuid PRIMARY KEY,
    order_id           uuid        NOT NULL UNIQUE,
    customer_id        text        NOT NULL,
    amount             bigint      NOT NULL CHECK (amount >= 0),
    payment_method     text        NOT NULL CHECK (payment_method IN ('wallet', 'card')),
    status             text        NOT NULL
                       CHECK (status IN ('AUTHORIZED', 'CAPTURED', 'REFUNDED', 'VOIDED')),
    provider_reference text        NOT NULL DEFAULT '',
    created_at         timestamptz NOT NULL,
    updated_at         timestamptz NOT NULL DEFAULT now(),
    CHECK (payment_method = 'card' OR status IN ('CAPTURED', 'REFUNDED'))
) WITH (fillfactor = 85);
CREATE INDEX payments_customer_id ON payments (customer_id, payment_id DESC);

CREATE TABLE events (
    event_id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    order_id       uuid        NOT NULL,
    type           text        NOT NULL,
    correlation_id text        NOT NULL DEFAULT '',
    at             timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX events_order_id ON events (order_id);

-- Intents: durable BEFORE the card processor is asked, so that nothing authorised is ever
-- forgotten. The branch deletes its intent in its own transaction: an intent that is still here,
-- not being voided and locked by nobody, after its global transaction has ended, was not used.
CREATE TABLE card_authorizations (
    gid        text        NOT NULL,
    payment_id uuid        NOT NULL,
    amount     bigint      NOT NULL CHECK (amount >= 0),
    voiding    boolean     NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (gid, payment_id)
) WITH (autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX card_authorizations_created_at ON card_authorizations (created_at);

-- What the card processor has to be told, written by the branch and so visible only once it is
-- committed; deleted when it is done. In entry_id order for each payment.
CREATE TABLE card_outbox (
    entry_id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    payment_id         uuid        NOT NULL,
    order_id           uuid        NOT NULL,
    customer_id        text        NOT NULL,
    action             text        NOT NULL CHECK (action IN ('CAPTURE', 'REVERSE')),
    provider_reference text        NOT NULL,
    correlation_id     text        NOT NULL DEFAULT '',
    created_at         timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (autovacuum_vacuum_scale_factor = 0.02);

-- The simulated card processor's own books. Nothing else in this database reads them: a real
-- processor is somewhere else and cannot PREPARE.
CREATE TABLE card_processor_authorizations (
    request_key   text PRIMARY KEY,        -- the caller's idempotency key
    authorization_id text    NOT NULL UNIQUE,
    amount        bigint     NOT NULL,
    state         text       NOT NULL
                  CHECK (state IN ('AUTHORIZED', 'DECLINED', 'CAPTURED', 'REFUNDED', 'VOIDED')),
    updated_at    timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE txc_branch (
    gid text PRIMARY KEY,
    at  timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
