-- Sagas that this log has lost (it was restored, or failed over) and that the participants' databases
-- still tell of, half done: each needs a person until it is resolved. What is at risk is as it was when
-- it was last looked at.
CREATE TABLE lost_sagas (
    saga_id         uuid PRIMARY KEY,
    saga_type       text NOT NULL,   -- of the plan that a resolution follows
    order_id        uuid,            -- null: its barriers were written by a version that did not say
    order_status    text NOT NULL DEFAULT '', -- empty: there is no such order
    customer_id     text NOT NULL DEFAULT '',
    money_taken     bigint NOT NULL DEFAULT 0, -- minor units
    payment_status  text NOT NULL DEFAULT '',
    stock_held      text NOT NULL DEFAULT '', -- "1 book-123, 2 book-789"
    shipment_status text NOT NULL DEFAULT '',
    may_compensate  boolean NOT NULL,
    may_complete    boolean NOT NULL,
    found_at        timestamptz NOT NULL DEFAULT now(),
    looked_at       timestamptz NOT NULL DEFAULT now(),
    resolved_at     timestamptz,
    -- compensate, complete: a person asked for it. by_itself: nothing is at risk any more.
    resolution      text NOT NULL DEFAULT '' CHECK (resolution IN ('', 'compensate', 'complete', 'by_itself')),
    resolution_key  text COLLATE "C" NOT NULL DEFAULT '', -- the Idempotency-Key that asked
    CHECK ((resolved_at IS NULL) = (resolution = ''))
);
CREATE INDEX lost_sagas_open ON lost_sagas (saga_id) WHERE resolved_at IS NULL;
CREATE INDEX lost_sagas_by_order ON lost_sagas (order_id);
CREATE INDEX lost_sagas_resolved ON lost_sagas (resolved_at) WHERE resolved_at IS NOT NULL;
