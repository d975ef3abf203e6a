-- Version 3: signals that woke nobody. Times are nanoseconds since 1970.

CREATE TABLE finding (
    id       INTEGER PRIMARY KEY,
    at       INTEGER NOT NULL,
    type     TEXT NOT NULL,             -- execution.new_binary, …
    severity TEXT NOT NULL,
    data     BLOB NOT NULL              -- of the event, as JSON
);
CREATE INDEX finding_by_age ON finding (at);
