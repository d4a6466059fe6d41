"""How large an image may say that it is: looked at before memory is taken for its pixels."""

from . import FormatError

MAX_PIXELS = 300_000_000  # a 200-megapixel telephone passes; RGB pixels stay under 1 GB
MAX_HEAVY_PIXELS = 55_000_000  # at 16 bytes each 0.9 GB; a camera of 50 megapixels passes
MAX_SIDE_PX = 65_500  # libjpeg's own limit


def check_size(width: int, height: int) -> None:
    """Raise FormatError if a picture of these sides (px) is none, or would fill the memory."""
    if not width or not height:
        raise FormatError(f"it declares {width} x {height} px, which is not a picture")
    if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE_PX:
        limits = f"{MAX_PIXELS // 10**6} megapixels or a side of {MAX_SIDE_PX:,} px"
        raise FormatError(f"it declares {width:,} x {height:,} px, more than {limits}")


def check_heavy(width: int, height: int, name: str) -> None:
    """Raise FormatError where a decoder that needs much for each pixel would fill the memory."""
    if width * height > MAX_HEAVY_PIXELS:
        limit = f"{MAX_HEAVY_PIXELS // 10**6} megapixels"
        raise FormatError(
            f"it declares {width:,} x {height:,} px, more than the {limit} for {name} (its decoder takes "
            "four times the memory of others'; a JPEG or PNG may have 300)"
        )
