"""Networks, their blocks and their heads; knows nothing of pictures."""
