-- What a person said of a lost branch that was repaired. Whether a heuristic outcome is open is not
-- kept twice: it is closed by this, or by its commit decision when that is complete (then recovery
-- has found every branch committed, and nobody had to say so).
ALTER TABLE heuristic_outcomes
    ADD COLUMN resolved_at timestamptz,
    ADD COLUMN note text NOT NULL DEFAULT '';
CREATE INDEX heuristic_outcomes_unresolved ON heuristic_outcomes (gid) WHERE resolved_at IS NULL;
