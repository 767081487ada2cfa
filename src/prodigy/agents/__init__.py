"""One module per agent program: how to start it and how to read its output."""
