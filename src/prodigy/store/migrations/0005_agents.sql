-- Which agent did a step, what it used of which model, and what agents are kept from starting.

ALTER TABLE step ADD COLUMN adapter TEXT;                       -- the agent's kind; NULL: its name is the kind
ALTER TABLE step ADD COLUMN reserved_usd REAL;                  -- set aside of the budgets when it started
ALTER TABLE step ADD COLUMN reserved_tokens INTEGER;
ALTER TABLE step ADD COLUMN estimated INTEGER NOT NULL DEFAULT 0; -- the cost is not the agent's own word

CREATE INDEX step_reused ON step (reused_from) WHERE reused_from IS NOT NULL;

CREATE TABLE usage (                                            -- by execution and model
  path TEXT NOT NULL,
  try INTEGER NOT NULL,
  model TEXT NOT NULL,                                          -- '' when the agent does not say
  input INTEGER NOT NULL,
  output INTEGER NOT NULL,
  cache_read INTEGER NOT NULL,
  cache_write INTEGER NOT NULL,
  cost_usd REAL,
  PRIMARY KEY (path, try, model)
) WITHOUT ROWID;

CREATE TABLE gate (                                             -- accounts of which no agent starts now
  account TEXT PRIMARY KEY,
  agent TEXT NOT NULL,
  cause TEXT NOT NULL,
  until REAL NOT NULL,                                          -- UNIX time, seconds
  told INTEGER NOT NULL,
  hits INTEGER NOT NULL,
  message TEXT NOT NULL,
  since TEXT NOT NULL
) WITHOUT ROWID;

-- `agents` of a stored workflow was the list that is `known` now.
UPDATE workflow_version SET workflow = json_set(
  workflow, '$.agents', json_object('known', json(json_extract(workflow, '$.agents')))
) WHERE json_type(workflow, '$.agents') = 'array';
