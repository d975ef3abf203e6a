-- Version 4: a page goes before what waits.

-- 1: tells that an incident has become critical, which somebody is woken for.
ALTER TABLE event ADD COLUMN page INTEGER NOT NULL DEFAULT 0;
CREATE INDEX event_by_page ON event (sequence) WHERE page = 1;

-- Settled by a sink whose cursor has not come to it.
CREATE TABLE ahead (
    sink     TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    PRIMARY KEY (sink, sequence)
) WITHOUT ROWID;
