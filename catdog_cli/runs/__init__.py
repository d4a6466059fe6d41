"""Run directories: checkpoints, the lock, comparing two runs."""
