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

UPDATE step SET ended = finished.seq
FROM (SELECT json_extract(data, '$.path') AS path, max(seq) AS seq FROM event WHERE type = 'step_finished' GROUP BY 1)
    AS finished
WHERE step.state = 'finished' AND finished.path = coalesce(step.reused_from, step.path || '/t' || step.try);

UPDATE run SET failed_path = (
    SELECT path FROM step WHERE state = 'finished' AND kind IS NOT NULL AND path NOT GLOB '*/i[0-9]*'
    ORDER BY finished_at DESC LIMIT 1
) WHERE status = 'failed';
