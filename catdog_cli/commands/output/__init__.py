"""What the commands print: the terminal, tables, progress."""
