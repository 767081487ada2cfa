-- Steps that are skipped, retried, checked and handled, and agents that cost money.

ALTER TABLE step ADD COLUMN ended INTEGER;                      -- seq of the event that ended it: their order
ALTER TABLE step ADD COLUMN skipped INTEGER NOT NULL DEFAULT 0; -- its condition did not hold
ALTER TABLE step ADD COLUMN settled INTEGER NOT NULL DEFAULT 0; -- its step counts as done
ALTER TABLE step ADD COLUMN cost_usd REAL;                      -- NULL: no agent, or it could not tell
ALTER TABLE step ADD COLUMN tokens INTEGER;
ALTER TABLE step ADD COLUMN agent TEXT;                         -- the agent program it ran
ALTER TABLE step ADD COLUMN session TEXT;                       -- the agent's own name for its conversation
ALTER TABLE run ADD COLUMN failed_path TEXT;                    -- the step that failed the run

UPDATE step SET settled = 1 WHERE state = 'finished' AND kind IS NULL;
