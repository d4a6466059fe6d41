"""The form of a frozen network that computes fastest."""
