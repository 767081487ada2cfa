-- One run, whole. Tables are the truth; events say how they came to be.

CREATE TABLE run (
    id              TEXT PRIMARY KEY,
    workflow        TEXT NOT NULL,              -- its name
    file            TEXT,                       -- where it came from, for people
    repo            TEXT NOT NULL,              -- the checkout the user stood in
    common_dir      TEXT NOT NULL,
    base            TEXT NOT NULL,              -- commit the run branch began at
    branch          TEXT NOT NULL,              -- full ref of the run branch
    target          TEXT,                       -- full ref the final merge moves; NULL when HEAD was detached
    options         TEXT NOT NULL,              -- JSON: merge choice, max_parallel, where the user stood
    created_at      TEXT NOT NULL,
    status          TEXT NOT NULL DEFAULT 'new',
    stop_reason     TEXT,
    phase           TEXT NOT NULL DEFAULT '',
    error           TEXT,
    merged          TEXT,                       -- commit the target was moved to
    merge_problem   TEXT,
    tip             TEXT NOT NULL,              -- where the run branch is, as far as we moved it
    slot            TEXT,                       -- the run worktree, once it stands at its boundary
    head            TEXT,                       -- the run worktree's last boundary: commit
    snapshot        TEXT                        -- and uncommitted state, NULL when clean
) STRICT;

CREATE TABLE phase (                            -- phases that have begun
    path            TEXT NOT NULL,
    phase           TEXT NOT NULL,
    PRIMARY KEY (path, phase)
) STRICT, WITHOUT ROWID;

CREATE TABLE workflow_version (
    version         INTEGER PRIMARY KEY,
    workflow        TEXT NOT NULL,              -- normalised, JSON
    created_at      TEXT NOT NULL
) STRICT;

CREATE TABLE fanout (
    path            TEXT PRIMARY KEY,
    total           INTEGER NOT NULL,
    duplicates      INTEGER NOT NULL,
    finished        INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE item (
    fanout          TEXT NOT NULL REFERENCES fanout(path),
    ordinal         INTEGER NOT NULL,
    item_id         TEXT NOT NULL,
    label           TEXT NOT NULL,              -- its name for people: one short line
    data            TEXT NOT NULL,              -- JSON
    state           TEXT NOT NULL DEFAULT 'pending'
                    CHECK (state IN ('pending','running','succeeded','failed','dead','skipped')),
    attempt         INTEGER NOT NULL DEFAULT 0, -- newest attempt's number
    tries           INTEGER NOT NULL DEFAULT 0, -- attempts that count against limits
    PRIMARY KEY (fanout, ordinal),
    UNIQUE (fanout, item_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX item_by_state ON item (fanout, state);

CREATE TABLE attempt (
    fanout          TEXT NOT NULL,
    ordinal         INTEGER NOT NULL,
    number          INTEGER NOT NULL,
    state           TEXT NOT NULL CHECK (state IN ('running','succeeded','failed','interrupted')),
    base            TEXT NOT NULL,
    worktree        TEXT NOT NULL,              -- slot it runs in
    workflow        INTEGER NOT NULL REFERENCES workflow_version(version),
    started_at      TEXT NOT NULL,
    ended_at        TEXT,
    kind            TEXT,                       -- error kind, NULL unless failed
    error           TEXT,
    exit_code       INTEGER,
    step            TEXT,                       -- step path that failed
    log             TEXT,                       -- directory with its output, relative to the run
    last_output     TEXT,
    duration_s      REAL,
    head            TEXT,
    merged          TEXT,
    PRIMARY KEY (fanout, ordinal, number),
    FOREIGN KEY (fanout, ordinal) REFERENCES item(fanout, ordinal)
) STRICT, WITHOUT ROWID;

CREATE TABLE step (
    path            TEXT NOT NULL,              -- without its try
    try             INTEGER NOT NULL,
    state           TEXT NOT NULL CHECK (state IN ('started','finished','lost','retired')),
    fingerprint     TEXT NOT NULL,
    started_at      TEXT NOT NULL,
    finished_at     TEXT,
    kind            TEXT,
    message         TEXT,
    exit_code       INTEGER,
    duration_s      REAL,
    head            TEXT,
    snapshot        TEXT,
    reused_from     TEXT,                       -- the execution whose result this is
    PRIMARY KEY (path, try)
) STRICT, WITHOUT ROWID;
CREATE INDEX step_running ON step (state) WHERE state = 'started';

CREATE TABLE dead_letter (
    fanout          TEXT NOT NULL,
    ordinal         INTEGER NOT NULL,
    error_signature TEXT NOT NULL,
    reprocess_eligible INTEGER NOT NULL,
    manual_review_required INTEGER NOT NULL,
    branch          TEXT,                       -- holds the failed work, uncommitted edits included
    worktree_path   TEXT,
    PRIMARY KEY (fanout, ordinal),
    FOREIGN KEY (fanout, ordinal) REFERENCES item(fanout, ordinal)
) STRICT, WITHOUT ROWID;

CREATE TABLE merge_intent (
    one             INTEGER PRIMARY KEY CHECK (one = 1),
    path            TEXT NOT NULL,
    old             TEXT NOT NULL,
    new             TEXT NOT NULL
) STRICT;

CREATE TABLE final_merge_intent (
    one             INTEGER PRIMARY KEY CHECK (one = 1),
    target          TEXT NOT NULL,
    old             TEXT NOT NULL,
    new             TEXT NOT NULL,
    checkout        TEXT
) STRICT;

CREATE TABLE setup_leftover (                   -- untracked files of setup: visible, never committed
    path            BLOB PRIMARY KEY            -- as the file system has it, whatever its encoding
) STRICT, WITHOUT ROWID;

CREATE TABLE event (
    seq             INTEGER PRIMARY KEY,
    id              TEXT NOT NULL,
    at              TEXT NOT NULL,
    type            TEXT NOT NULL,
    data            TEXT NOT NULL
) STRICT;

CREATE TABLE request (                          -- what other processes ask the coordinator for
    id              INTEGER PRIMARY KEY,
    at              TEXT NOT NULL,
    kind            TEXT NOT NULL,
    data            TEXT NOT NULL DEFAULT '{}',
    handled_at      TEXT
) STRICT;
