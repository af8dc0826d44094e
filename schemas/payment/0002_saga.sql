-- Sagas at the Payment service: the barrier of their steps.

-- What became of a step of a saga, written inside its own transaction: see schemas/order/0002_saga.sql.
CREATE TABLE txc_saga_steps (
  saga_id uuid        NOT NULL,
  step    text        NOT NULL CHECK (length(step) BETWEEN 1 AND 64),
  outcome text        NOT NULL CHECK (outcome IN ('done', 'refused', 'skipped')),
  reason  text        NOT NULL DEFAULT '',
  detail  text        NOT NULL DEFAULT '',
  at      timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (saga_id, step)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
