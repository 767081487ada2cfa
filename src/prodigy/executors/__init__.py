"""Where steps run: durable processes, and the workspaces that hold an attempt's files."""
