"""Data sets: scanned folders, manifests, splits, loaders; knows nothing of networks."""
