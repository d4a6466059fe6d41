"""Resuming a run: what its checkpoint must hold, and whether its data is still the same."""
