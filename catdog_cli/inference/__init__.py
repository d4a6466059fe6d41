"""Answers with a checkpoint: one picture and a million go through the same code."""
