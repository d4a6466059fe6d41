"""How image files are called: the suffixes that catdog reads, and the format that each promises."""

IMAGE_FORMATS = {  # suffix: what Pillow calls the format
    ".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP", ".gif": "GIF", ".bmp": "BMP",
    ".tif": "TIFF", ".tiff": "TIFF",
}  # fmt: skip
IMAGE_SUFFIXES = frozenset(IMAGE_FORMATS)
