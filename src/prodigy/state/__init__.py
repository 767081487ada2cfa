"""The rules: what may follow what, what remains to be done, what a failure becomes. Pure functions."""
