"""WebP, GIF, AVIF, HEIC, JPEG 2000, PPM and TGA; and files told by their content, whatever their name."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from catdog_cli import read_image
from catdog_cli.images.formats import heif
from catdog_cli.images.formats.pillow import _find_class
from catdog_cli.images.read import ImageError
from tests.images.test_bmp import REFUSED as _  # noqa: F401

W, H = 40, 24
RAMP = np.stack(
    [np.tile(np.linspace(0, 255, W), (H, 1)), np.tile(np.linspace(255, 0, H)[:, None], (1, W)), np.full((H, W), 90)], -1
)
IMAGE = Image.fromarray(RAMP.round().astype(np.uint8))


def save(kind: str, image: Image.Image = IMAGE, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def gap(data, wanted: np.ndarray | Image.Image = IMAGE) -> float:
    found = read_image(data).astype(float)
    wanted = np.asarray(wanted)
    assert found.shape[:2] == wanted.shape[:2]
    return float(np.abs(found - (wanted if wanted.ndim == 3 else wanted[..., None])).mean())
