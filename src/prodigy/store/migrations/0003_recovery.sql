-- Items that are retried, skipped or continued from a failed step, edited workflows, runs that moved house.

ALTER TABLE attempt ADD COLUMN start_head TEXT;                 -- where it began; NULL: at its base
ALTER TABLE attempt ADD COLUMN start_snapshot TEXT;
ALTER TABLE attempt ADD COLUMN retry_delay_s REAL;              -- pause before the item's next attempt, NULL: none follows
ALTER TABLE dead_letter ADD COLUMN snapshot TEXT;               -- commit with the uncommitted edits, NULL without any
ALTER TABLE step ADD COLUMN unfinished TEXT;                  -- git operation left half done, NULL without one
