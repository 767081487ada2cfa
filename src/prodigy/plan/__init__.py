"""From an input to ordered work items with ids."""
