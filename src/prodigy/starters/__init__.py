"""Workflows that ship with Prodigy."""
