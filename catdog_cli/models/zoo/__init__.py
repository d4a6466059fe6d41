"""Where networks come from: the registry, and a small network of our own."""
