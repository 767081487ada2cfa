"""The demo's job: a repository is made of this folder's `tools`, one of its workflows, and a package's source."""
