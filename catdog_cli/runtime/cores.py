"""How many processor cores this process may use."""

import os


def usable_cores() -> int:
    """Return the number of cores for this process: its part of those that all of one launch may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    beside = os.environ.get("LOCAL_WORLD_SIZE", "1")  # set by torchrun and accelerate launch
    return max(1, cores // max(1, int(beside))) if beside.isdigit() else cores
