-- A run that its user holds: nothing new starts in it.

ALTER TABLE run ADD COLUMN held_by TEXT;                        -- who, NULL: nobody holds it
ALTER TABLE run ADD COLUMN held_at TEXT;
