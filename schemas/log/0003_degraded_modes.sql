-- What an operator switched on while a participant is away: new orders are placed without it. No row:
-- normal. Read by every coordinator with each renewal of its lease.
CREATE TABLE degraded_modes (
    participant text PRIMARY KEY,
    mode        text NOT NULL,
    since       timestamptz NOT NULL DEFAULT now(),
    CHECK ((participant = 'payment' AND mode = 'pay_later')
        OR (participant = 'shipping' AND mode = 'ship_by_hand'))
);
