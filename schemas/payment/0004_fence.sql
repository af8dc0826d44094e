-- One row for each coordinator that ever wrote here: who of it may still write. What a stopped
-- process could still send is committed together with a check that locks its owner's row; whoever
-- takes over raises the row first, and so waits for what has passed the check. Rows only go up, and
-- are never deleted: a row that is missing locks nothing.
CREATE TABLE txc_fence (
    installation text   COLLATE "C" NOT NULL CHECK (installation ~ '^[0-9a-f]{8}$'),
    coordinator  text   COLLATE "C" NOT NULL CHECK (coordinator ~ '^[a-z0-9]{1,8}$'),
    epoch        bigint NOT NULL CHECK (epoch > 0),
    -- Empty: raised by an adopter, so that nobody of this epoch may write yet.
    incarnation  text   COLLATE "C" NOT NULL CHECK (incarnation ~ '^([0-9a-f]{8})?$'),
    raised_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (installation, coordinator)
) WITH (fillfactor = 10);
