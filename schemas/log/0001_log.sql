-- The log database: decisions, outcomes under their idempotency keys, coordinators.
-- Its commits are the system's commit points: nothing here may be UNLOGGED.

-- Who we are: made once, with the log. Two installations that share a participant's database
-- never touch each other's branches.
CREATE TABLE txc_installation (
    only_row     boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    installation char(8) NOT NULL CHECK (installation ~ '^[0-9a-f]{8}$'),
    made_at      timestamptz NOT NULL DEFAULT now()
);
INSERT INTO txc_installation (installation)
SELECT left(replace(gen_random_uuid()::text, '-', ''), 8);

-- The fence (I11): a decision of epoch n commits only while the row says n. Deciders lock the row
-- FOR SHARE; whoever raises the epoch waits for them, and those who come later find it raised.
CREATE TABLE coordinator_epoch (
    id    text COLLATE "C" PRIMARY KEY CHECK (id ~ '^[a-z0-9]{1,8}$'),
    epoch bigint NOT NULL CHECK (epoch > 0)
) WITH (fillfactor = 10);

-- Apart from the epoch: renewed in one row with it, the lease starved for seconds behind the
-- deciders' row locks. Few rows, updated all the time: room in the page keeps every update HOT.
CREATE TABLE coordinator_lease (
    id         text COLLATE "C" PRIMARY KEY,
    expires_at timestamptz NOT NULL
) WITH (fillfactor = 10);

-- One row for each decided global transaction; no row means abort, once that is proven by a row
-- that says abort (a tombstone) under the same primary key (I3).
CREATE TABLE decisions (
    gid          text COLLATE "C" PRIMARY KEY CHECK (length(gid) <= 64),
    coordinator  text COLLATE "C" NOT NULL,
    epoch        bigint NOT NULL,
    outcome      text NOT NULL CHECK (outcome IN ('commit', 'abort')),
    participants text[] NOT NULL DEFAULT '{}',
    order_ids    uuid[] NOT NULL DEFAULT '{}',
    heuristic    boolean NOT NULL DEFAULT false,
    decided_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    completed_at timestamptz,
    -- There is nothing to do after an abort here: presumed abort.
    CHECK (outcome = 'commit' OR completed_at IS NOT NULL)
) WITH (
    -- Written, completed and deleted within a minute: dead rows must go by their number, not by a
    -- share of a table that was large once, or the index of the incomplete ones grows old entries.
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
    autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 20000,
    autovacuum_vacuum_cost_delay = 0,
    -- The ids of a full group stay in the row: no second table for what lives a minute.
    toast_tuple_target = 8160
);
CREATE INDEX decisions_incomplete ON decisions (decided_at)
    WHERE completed_at IS NULL AND outcome = 'commit';
CREATE INDEX decisions_by_time ON decisions (decided_at);

-- What each operation came to, under its idempotency key (I5, I10). A row is inserted when the
-- vote claims the key, with the outcome that it has if the group commits, so that deciding a group
-- without refusals touches no row again. Partitioned by period: keys are dropped, never deleted.
-- The key leads the index, so that looking into the older periods is one descent for each.
CREATE TABLE operations (
    period          integer NOT NULL,
    scope           text COLLATE "C" NOT NULL,
    idempotency_key text COLLATE "C" NOT NULL,
    fingerprint     bytea NOT NULL CHECK (length(fingerprint) = 32),
    kind            text NOT NULL CHECK (kind IN ('place', 'cancel', 'ship', 'deliver')),
    outcome         text NOT NULL CHECK (outcome IN ('confirmed', 'refused')),
    order_id        uuid NOT NULL,
    gid             text COLLATE "C" NOT NULL, -- empty: refused without a decision
    reason          text NOT NULL DEFAULT '',
    detail          text NOT NULL DEFAULT '',
    answer          text NOT NULL DEFAULT '',
    created_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (idempotency_key, scope, period)
) PARTITION BY LIST (period);
-- For what is decided and not yet applied, and for people; uuid v7 keeps the inserts at its end.
CREATE INDEX operations_by_order ON operations (order_id);

-- The current period is the highest; one ended when the next one started.
CREATE TABLE key_periods (
    period     integer PRIMARY KEY,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- A partition for `new_period`, attached so that nobody is locked out (CREATE … PARTITION OF would
-- wait for every open claim, and every claim for it).
CREATE FUNCTION txc_add_key_period(new_period integer) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    partition text := 'operations_' || new_period;
BEGIN
    IF to_regclass(partition) IS NULL THEN
        -- Inserted once, hardly ever changed, dropped whole within days: vacuuming the inserts to
        -- freeze them would be work for nothing.
        EXECUTE format('CREATE TABLE %I (LIKE operations INCLUDING ALL, CHECK (period = %s))'
                       ' WITH (autovacuum_vacuum_insert_threshold = -1)', partition, new_period);
        EXECUTE format('ALTER TABLE operations ATTACH PARTITION %I FOR VALUES IN (%s)',
                       partition, new_period);
    END IF;
END $$;
SELECT txc_add_key_period(1);
INSERT INTO key_periods (period) VALUES (1);

-- The prepared state of a decided branch was lost, or a person resolved it: never silent, and
-- never trimmed.
CREATE TABLE heuristic_outcomes (
    gid         text COLLATE "C" NOT NULL,
    participant text NOT NULL,
    detail      text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (gid, participant)
);
