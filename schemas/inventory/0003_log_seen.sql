-- How far the log had come when recovery last looked, told to this database: if the log goes back
-- (restored, failed over), decisions may be missing from it, and it cannot know.
CREATE TABLE txc_log_seen (
    installation      text PRIMARY KEY,
    system_identifier text        NOT NULL,
    timeline          bigint      NOT NULL,
    lsn               bigint      NOT NULL CHECK (lsn >= 0),
    at                timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 10);
