"""The shell that acts: walks the tree of steps, runs items, merges, reduces."""
