"""Which files are images: by the suffix of their name, and by their first bytes.

The one list of suffixes. What lists folders asks it what is read, what would be read with an extra
installed, and what is a picture of a kind that catdog does not read, so that no file vanishes unnamed.
"""

import functools
import importlib.util
import os
import re

IMAGE_FORMATS = {  # suffix: the format that it promises
    ".jpg": "JPEG", ".jpeg": "JPEG", ".jpe": "JPEG", ".jfif": "JPEG", ".jif": "JPEG", ".mpo": "JPEG",
    ".png": "PNG", ".apng": "PNG", ".webp": "WEBP", ".gif": "GIF", ".bmp": "BMP",
    ".tif": "TIFF", ".tiff": "TIFF", ".avif": "AVIF",
    ".jp2": "JPEG2000", ".j2k": "JPEG2000", ".jpx": "JPEG2000", ".jpf": "JPEG2000",
    ".j2c": "JPEG2000", ".jpc": "JPEG2000",
    ".ppm": "PPM", ".pgm": "PPM", ".pbm": "PPM", ".pnm": "PPM", ".tga": "TGA",
    ".heic": "HEIF", ".heif": "HEIF", ".hif": "HEIF",
}  # fmt: skip
FORMAT_NAMES = {"WEBP": "WebP", "JPEG2000": "JPEG 2000", "HEIF": "HEIC"}  # in sentences; others as they are
EXTRA_SUFFIXES = {suffix: "heic" for suffix, kind in IMAGE_FORMATS.items() if kind == "HEIF"}
EXTRA_PACKAGES = {"heic": "pillow_heif"}  # what an extra brings
IMAGE_SUFFIXES = frozenset(IMAGE_FORMATS) - frozenset(EXTRA_SUFFIXES)  # read by every installation
UNREAD_SUFFIXES = frozenset(  # pictures, but of a kind that catdog does not read
    (
        *(".svg", ".svgz", ".ai", ".eps", ".emf", ".wmf", ".djvu"),  # drawings and pages
        *(".psd", ".psb", ".xcf", ".ico", ".icns", ".cur", ".dds", ".pcx", ".ras", ".sgi", ".xbm", ".xpm"),
        *(".dib", ".fli", ".flc", ".iff", ".lbm"),
        *(".jxl", ".jxr", ".wdp", ".hdp", ".bpg", ".flif", ".qoi", ".jng", ".mng", ".pfm", ".pam"),
        *(".dng", ".cr2", ".cr3", ".crw", ".nef", ".nrw", ".arw", ".srf", ".sr2", ".orf", ".rw2", ".raf"),
        *(".pef", ".raw", ".exr", ".hdr", ".dcm", ".dicom", ".nii", ".fits", ".fit"),  # cameras and science
    )
)
PICTURE_SUFFIXES = IMAGE_SUFFIXES | frozenset(EXTRA_SUFFIXES) | UNREAD_SUFFIXES
SNIFF_BYTES = 64  # that tell a format

MAGIC = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),  # BigTIFF
    (b"MM\0+", "TIFF"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG2000"),
    (b"\xff\x4f\xff\x51", "JPEG2000"),  # its codestream alone
)
BMP_HEADERS = (12, 16, 40, 52, 56, 64, 108, 124)  # bytes of the second header: a text may begin with "BM"
NETPBM_START = re.compile(rb"P[1-6][ \t\r\n]+(#|[0-9])")
HEIF_BRANDS = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"))
AVIF_BRANDS = frozenset((b"avif", b"avis"))


def image_suffix(name: str) -> str:
    """Return the suffix of a file's name in lower case, its dot included; "" where it has none."""
    return os.path.splitext(name)[1].lower()  # noqa: PTH122 - a path object for each file is slow


def missing_extra(suffix: str) -> str | None:
    """Return the extra that must be installed before files of this suffix are read; None where none must."""
    extra = EXTRA_SUFFIXES.get(suffix)
    return None if extra is None or _is_installed(EXTRA_PACKAGES[extra]) else extra


def is_readable(suffix: str) -> bool:
    """Say whether this installation reads files of this suffix."""
    return suffix in IMAGE_FORMATS and missing_extra(suffix) is None


def is_picture(suffix: str) -> bool:
    """Say whether this is the suffix of a picture, be it of a kind that catdog reads or not."""
    return suffix in PICTURE_SUFFIXES


def sniff_image(first_bytes: bytes | bytearray) -> str | None:
    """Return the format of an image, as IMAGE_FORMATS names it, that begins with these bytes.

    Args:
        first_bytes: SNIFF_BYTES of them, or the whole of a shorter file.

    Returns:
        None where it is no image that catdog knows. TGA, which has no mark, is never told.
    """
    for magic, kind in MAGIC:
        if first_bytes.startswith(magic):
            return kind
    if first_bytes.startswith(b"RIFF") and first_bytes[8:12] == b"WEBP":
        return "WEBP"
    if first_bytes.startswith(b"BM") and int.from_bytes(first_bytes[14:18], "little") in BMP_HEADERS:
        return "BMP"
    if NETPBM_START.match(first_bytes):
        return "PPM"
    return _sniff_container(bytes(first_bytes[:SNIFF_BYTES]))


def _sniff_container(start: bytes) -> str | None:
    """Tell AVIF and HEIC, which share a container, by the brands that its first box lists."""
    if start[4:8] != b"ftyp":
        return None
    end = min(int.from_bytes(start[:4], "big"), len(start))
    brands = {start[8:12], *(start[at : at + 4] for at in range(16, end, 4))}
    if brands & AVIF_BRANDS:
        return "AVIF"
    return "HEIF" if brands & HEIF_BRANDS else None


@functools.cache
def _is_installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None
