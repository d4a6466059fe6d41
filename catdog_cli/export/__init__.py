"""Trained networks as one file that answers without torch, preprocessing included."""
