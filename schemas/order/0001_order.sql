-- The Order service: orders, what they hold, their history, and the witnesses of its branches.
--
-- No foreign keys: an insert would lock its parent, a wait that the vote did not take. order_items and
-- events are only ever written by the statement that writes their order.

CREATE TABLE orders (
  order_id       uuid        PRIMARY KEY,  -- version 7, made by the coordinator: newest is greatest
  customer_id    text        NOT NULL CHECK (length(customer_id) BETWEEN 1 AND 64),
  status         text        NOT NULL
                 CHECK (status IN ('PENDING', 'CONFIRMED', 'FAILED', 'CANCELLED', 'SHIPPED', 'DELIVERED')),
  mode           text        NOT NULL CHECK (mode IN ('2pc', 'saga')),
  total_amount   bigint      NOT NULL CHECK (total_amount >= 0),  -- minor units
  reason         text,                     -- why a FAILED order failed
  transaction_id text        NOT NULL,     -- of the transaction that placed it
  correlation_id text        NOT NULL,
  created_at     timestamptz NOT NULL,
  updated_at     timestamptz NOT NULL,
  CHECK (updated_at >= created_at)
) WITH (fillfactor = 90);  -- room on the page: a change of status needs no new index entry

CREATE INDEX orders_by_customer ON orders (customer_id, order_id);
-- Finds the rare states. CONFIRMED is left out, so that placing an order pays nothing for it: the
-- newest CONFIRMED orders are found by the primary key.
CREATE INDEX orders_by_status ON orders (status, order_id) WHERE status <> 'CONFIRMED';

CREATE TABLE order_items (
  order_id   uuid    NOT NULL,
  line       integer NOT NULL CHECK (line >= 1),
  sku        text    NOT NULL CHECK (length(sku) BETWEEN 1 AND 64),
  quantity   bigint  NOT NULL CHECK (quantity >= 1),
  unit_price bigint  NOT NULL CHECK (unit_price >= 0),
  PRIMARY KEY (order_id, line)
);

CREATE TABLE events (
  event_id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  order_id       uuid        NOT NULL,
  type           text        NOT NULL,  -- OrderConfirmed, OrderCancelled, OrderShipped, OrderDelivered
  correlation_id text        NOT NULL,
  at             timestamptz NOT NULL
);
CREATE INDEX events_by_order ON events (order_id);

-- The witness: a row written inside a branch's own transaction proves that the branch committed.
CREATE TABLE txc_branch (
  gid text        PRIMARY KEY,
  at  timestamptz NOT NULL DEFAULT now()
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
