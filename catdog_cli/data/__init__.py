"""Folders of pictures in, tensors out; knows nothing of networks."""
