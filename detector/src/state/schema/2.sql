-- Version 2: the outbox. Times are nanoseconds since 1970.

-- Events that some sink has not settled.
CREATE TABLE event (
    sequence INTEGER PRIMARY KEY,
    id       TEXT NOT NULL,
    class    TEXT NOT NULL,             -- incident, finding, agent
    severity TEXT,
    subject  TEXT NOT NULL,             -- the incident's id, or empty
    at       INTEGER NOT NULL,
    body     BLOB NOT NULL,
    digest   INTEGER NOT NULL
);
CREATE INDEX event_by_subject ON event (subject, sequence) WHERE subject <> '';

-- How far each sink is: everything up to its cursor is settled.
CREATE TABLE sink (
    name   TEXT PRIMARY KEY,
    cursor INTEGER NOT NULL
) WITHOUT ROWID;

-- What a receiver will never take.
CREATE TABLE dead_letter (
    sink     TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    id       TEXT NOT NULL,
    class    TEXT NOT NULL,
    severity TEXT,
    subject  TEXT NOT NULL,
    at       INTEGER NOT NULL,          -- when it was refused
    reason   TEXT NOT NULL,
    again    INTEGER NOT NULL,          -- 1: somebody asked to send it again
    body     BLOB NOT NULL,
    digest   INTEGER NOT NULL,
    PRIMARY KEY (sink, sequence)
) WITHOUT ROWID;
