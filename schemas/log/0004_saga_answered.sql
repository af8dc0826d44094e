-- A saga that answers its client before its end (degraded modes): who adopts it while it is being
-- undone must not answer again. Set with the state that confirms, and never taken back.
ALTER TABLE saga_instances ADD COLUMN answered boolean NOT NULL DEFAULT false;
