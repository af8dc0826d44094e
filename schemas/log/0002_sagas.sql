-- Sagas: their state, durable before the next step (I8), and every state they were in. Also the
-- outbox of what was accepted before it was tried: its worker takes the unfinished rows.

-- A row is written when a saga starts, in the transaction that claims its key, then once for each
-- state. What changes with each state is changed in place (HOT): no index below holds a column
-- that changes before the saga ends, but for those that change when something went wrong.
CREATE TABLE saga_instances (
    saga_id          uuid PRIMARY KEY, -- v7: ordered by time
    saga_type        text NOT NULL,
    order_id         uuid NOT NULL,
    correlation_id   text COLLATE "C" NOT NULL,
    -- Its key: operations (period, scope, idempotency_key), pending until the saga has ended.
    period           integer NOT NULL,
    scope            text COLLATE "C" NOT NULL,
    idempotency_key  text COLLATE "C" NOT NULL,
    accepted         boolean NOT NULL, -- answered before it was tried
    created_at       timestamptz NOT NULL DEFAULT now(),
    -- The owner: changed only by adoption. Rows of a fenced epoch have nobody who works on them.
    coordinator      text COLLATE "C" NOT NULL,
    epoch            bigint NOT NULL,
    barriers_trimmed boolean NOT NULL DEFAULT false,
    ended_at         timestamptz,
    updated_at       timestamptz NOT NULL DEFAULT now(), -- of the last state
    -- How far it has come; grows with each state. What was recorded late changes nothing.
    progress         integer NOT NULL DEFAULT 0,
    status           text NOT NULL,
    current_step     text NOT NULL, -- to run or to undo next; empty when ended
    reason           text NOT NULL DEFAULT '', -- why it is being undone; set once
    detail           text NOT NULL DEFAULT '',
    -- What people see while a step is tried again; nothing depends on it.
    attempts         integer NOT NULL DEFAULT 0,
    next_retry_at    timestamptz,
    stuck_since      timestamptz, -- needs a person
    last_error       text NOT NULL DEFAULT '',
    -- All that is needed to go on after a crash: an address and a card's token are in it, so it is
    -- emptied when the saga ends, by the same statement.
    payload          text NOT NULL,
    CHECK (ended_at IS NULL OR payload = ''),
    CHECK ((ended_at IS NULL) = (current_step <> ''))
) WITH (
    -- Six versions of a row within a tenth of a second: room for them beside it, pruned in passing.
    fillfactor = 50,
    -- One row out of place for each saga that ended, and one when its barriers were trimmed.
    autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_cost_delay = 0
);
-- A long one goes out of line as it is, and updates leave it there.
ALTER TABLE saga_instances ALTER COLUMN payload SET STORAGE EXTERNAL;

-- Whose sagas are unfinished, and which of them are of a fenced epoch.
CREATE INDEX saga_instances_unfinished ON saga_instances (coordinator, epoch)
    WHERE ended_at IS NULL;
CREATE INDEX saga_instances_by_order ON saga_instances (order_id);
CREATE INDEX saga_instances_by_correlation ON saga_instances (correlation_id, saga_id)
    WHERE correlation_id <> '';
CREATE INDEX saga_instances_refused ON saga_instances (saga_id) WHERE reason <> '';
CREATE INDEX saga_instances_stuck ON saga_instances (stuck_since) WHERE stuck_since IS NOT NULL;
CREATE INDEX saga_instances_ended ON saga_instances (barriers_trimmed, ended_at)
    WHERE ended_at IS NOT NULL;

-- Every state that a saga was in, inserted by the statement that writes the state, so that neither
-- is there without the other; never changed. The primary key lets no state in twice.
CREATE TABLE saga_history (
    saga_id uuid NOT NULL,
    n       integer NOT NULL, -- the state's progress: 0 is the start
    status  text NOT NULL,
    step    text NOT NULL,
    at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (saga_id, n)
) WITH (
    autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 20000,
    autovacuum_vacuum_cost_delay = 0
);

-- A key is pending from the start of its saga until the saga has ended (I5, I10); `accepted`: its
-- first answer was 202. Last in this file, since it waits for open claims, and claims for it.
-- NOT VALID spares the look at every row, all of which passed a narrower check.
ALTER TABLE operations
    ADD COLUMN accepted boolean NOT NULL DEFAULT false,
    DROP CONSTRAINT operations_outcome_check,
    ADD CONSTRAINT operations_outcome_check
        CHECK (outcome IN ('confirmed', 'refused', 'pending')) NOT VALID;
