-- Items of more or less weight, attempts whose work waits to be merged, and what tested their merges.

ALTER TABLE item ADD COLUMN priority REAL NOT NULL DEFAULT 0;
ALTER TABLE attempt ADD COLUMN queued TEXT;                     -- commit that waits to be merged, NULL: none does
ALTER TABLE attempt ADD COLUMN queued_at TEXT;
ALTER TABLE attempt ADD COLUMN turn INTEGER;                    -- seq of the event that queued it: their order

CREATE INDEX attempt_queued ON attempt (fanout, turn) WHERE queued IS NOT NULL;

CREATE TABLE merge_check (
    fanout          TEXT NOT NULL,
    number          INTEGER NOT NULL,
    base            TEXT NOT NULL,              -- commit of the run branch
    fingerprint     TEXT NOT NULL,              -- of the steps that check
    members         TEXT NOT NULL,              -- JSON: [[ordinal, attempt, commit], ...] in the order of their merges
    state           TEXT NOT NULL CHECK (state IN ('running','passed','failed','void')),
    started_at      TEXT NOT NULL,
    ended_at        TEXT,
    message         TEXT,                       -- why it did not pass
    step            TEXT,                       -- execution that failed
    PRIMARY KEY (fanout, number)
) STRICT, WITHOUT ROWID;
