"""Phases, features, metrics: everything that makes a checkpoint."""
