-- What a step changed, also for those who ask after a resume.

ALTER TABLE step ADD COLUMN before_head TEXT;                   -- the boundary at which it began
ALTER TABLE step ADD COLUMN before_snapshot TEXT;
