"""The demo's small programs. They see no more of Prodigy than any program does that a workflow calls."""
