"""Sizes and times as people say them."""


def show_size(num_bytes: int) -> str:
    """Return a size in bytes, kB, MB or GB of 1,000."""
    if num_bytes < 1000:
        return f"{num_bytes} bytes"
    power = min(len(str(num_bytes)) - 1, 11) // 3
    return f"{num_bytes / 1000**power:.1f} {('kB', 'MB', 'GB')[power - 1]}"


def show_duration(seconds: float) -> str:
    """Return a time in seconds, minutes or hours."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
