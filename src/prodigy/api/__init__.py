"""What `import prodigy` offers; the names are in `prodigy` itself, which imports them when they are first used."""
