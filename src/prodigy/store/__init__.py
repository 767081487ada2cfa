"""State on disk: one directory and one SQLite database a run, an index over all runs, the run lock."""
