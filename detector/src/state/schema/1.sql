-- Version 1: the memory of the host. Times are nanoseconds since 1970.

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value NOT NULL
) WITHOUT ROWID;

-- The last state of every incident: the whole event, and columns to find it by.
CREATE TABLE incident (
    id         TEXT PRIMARY KEY,
    status     TEXT NOT NULL,           -- open, resolved
    severity   TEXT NOT NULL,
    title      TEXT NOT NULL,
    group_key  TEXT NOT NULL,
    opened     INTEGER NOT NULL,
    updated    INTEGER NOT NULL,
    resolved   INTEGER,
    executable TEXT,
    sha256     TEXT,
    unit       TEXT,
    boot_id    TEXT,                    -- with tgid and start_ns: the process it is about
    tgid       INTEGER,
    start_ns   INTEGER,                 -- since that boot
    event      BLOB NOT NULL,
    digest     INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX incident_by_status ON incident (status, updated);

-- Programs that no package owns, by content and place.
CREATE TABLE executable (
    sha256        BLOB NOT NULL,
    path          BLOB NOT NULL,
    owner_uid     INTEGER,
    first_seen    INTEGER NOT NULL,
    last_seen     INTEGER NOT NULL,
    how           TEXT NOT NULL,        -- first_start, ran
    last_incident INTEGER,
    PRIMARY KEY (sha256, path)
) WITHOUT ROWID;
CREATE INDEX executable_by_age ON executable (last_seen);

-- Where an executable or a service connects to.
CREATE TABLE destination (
    identity   TEXT NOT NULL,
    ip         TEXT NOT NULL,
    port       INTEGER NOT NULL,
    first_seen INTEGER NOT NULL,
    last_seen  INTEGER NOT NULL,
    PRIMARY KEY (identity, ip, port)
) WITHOUT ROWID;
CREATE INDEX destination_by_age ON destination (last_seen);

-- Why a thing is fine, said by a person.
CREATE TABLE acceptance (
    id        INTEGER PRIMARY KEY,
    kind      TEXT NOT NULL,            -- hash, path, unit
    value     BLOB NOT NULL,
    owner_uid INTEGER,                  -- of the file, for kind path
    findings  TEXT NOT NULL,            -- types it covers, separated by spaces
    reason    TEXT NOT NULL,
    incident  TEXT NOT NULL,
    created   INTEGER NOT NULL,
    expires   INTEGER NOT NULL
);

-- What the command line asks of the daemon.
CREATE TABLE request (
    id       INTEGER PRIMARY KEY,
    what     TEXT NOT NULL,             -- resolve
    incident TEXT NOT NULL,
    reason   TEXT NOT NULL,
    created  INTEGER NOT NULL
);

-- Opaque to everybody but the rules that wrote it.
CREATE TABLE baseline (
    identity TEXT PRIMARY KEY,
    version  INTEGER NOT NULL,
    body     BLOB NOT NULL,
    updated  INTEGER NOT NULL
) WITHOUT ROWID;
