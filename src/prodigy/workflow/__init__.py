"""The language: from YAML text to a typed, frozen, normalised workflow. No I/O but reading the file."""
