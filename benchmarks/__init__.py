"""Benchmarks of Prodigy: what an item costs beside simple scripts, and whether that stays so with many of them."""
