"""Bytes to pixels: reading, transforming and augmenting images; knows nothing of data sets or networks."""
