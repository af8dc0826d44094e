-- A lease is judged by what an adopter itself has seen, not by clocks: any change of (renewals,
-- expires_at) is life. A coordinator of the version before changes expires_at alone.
--   renewals  grows with each start, renewal, end and take-over, so that no pair ever comes back
--   ended_at  equal to expires_at: given up at a clean stop. An older coordinator that starts on the
--             row sets another expires_at, and thereby takes the end back
--   lease_ms  how long its owner may be silent; null: an older coordinator
ALTER TABLE coordinator_lease
    ADD COLUMN renewals bigint NOT NULL DEFAULT 0,
    ADD COLUMN ended_at timestamptz,
    ADD COLUMN lease_ms bigint;
