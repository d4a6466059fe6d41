"""How much shared memory there is for the pictures that loading processes hand over.

They lie in /dev/shm, of which a container often has 64 MB: where it runs out, a batch is lost without a word.
"""

import math
import os

SHARED = "/dev/shm"
AHEAD = 2  # batches that each process loads before they are asked for, as torch has it
QUEUE_BYTES = 2**16  # of semaphores, for each worker
SPARE = 1.25  # of what is needed: other programs use shared memory, too


def free_bytes() -> float:
    """Return the shared memory that is free for this process, infinite where there is no such limit."""
    try:
        room = os.statvfs(SHARED)
    except (OSError, AttributeError):  # another system than Linux
        return math.inf
    beside = os.environ.get("LOCAL_WORLD_SIZE", "1")  # processes of the same launch, which load as well
    return room.f_bavail * room.f_frsize / (max(1, int(beside)) if beside.isdigit() else 1)


def needed_bytes(workers: int, batch_size: int, image_size: int) -> int:
    """Return what the batches of all loading processes take at once: (B, 3, size, size) uint8 each."""
    return (AHEAD * workers + 2) * batch_size * 3 * image_size**2  # 2: the one in use, and the one before


def usable_workers(workers: int) -> int:
    """Return `workers`, or 0 where there is no room for the queues between them and this process."""
    return workers if free_bytes() >= QUEUE_BYTES * (workers + 1) else 0


def is_short(workers: int, batch_size: int, image_size: int) -> bool:
    """Tell whether shared memory may run out, so that batches must go another way."""
    return workers > 0 and SPARE * needed_bytes(workers, batch_size, image_size) > free_bytes()


def describe_shortage(workers: int, batch_size: int, image_size: int) -> str | None:
    """Return a sentence on too little shared memory, None where there is enough."""
    if not is_short(workers, batch_size, image_size):
        return None
    room, needed = free_bytes() / 1e6, SPARE * needed_bytes(workers, batch_size, image_size) / 1e6
    way = "they hand over pictures through pipes" if usable_workers(workers) else "there are none"
    return (
        f"{SHARED} has {room:,.0f} MB free, of which {workers} loading processes need {needed:,.0f}: {way}, "
        "which is slower. Give the container more (docker run --shm-size=2g), or choose fewer --workers."
    )
