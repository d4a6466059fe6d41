"""Where networks come from: a registry of sources, each with its networks, their inputs and their weights."""
