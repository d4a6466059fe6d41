"""Puts labels right: which pictures are worth a look, a page to decide on, and a file of what was decided."""
