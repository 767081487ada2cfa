"""Prodigy: run many coding agents at once, without losing work or paying twice."""

__version__ = "0.1.0"
