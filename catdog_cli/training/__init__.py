"""Phases, epochs, steps: everything that makes a checkpoint."""
