"""Pictures that were read wrong or refused, with their right pixels (../shared/cases)."""

import numpy as np
import pytest
from PIL import Image

from catdog_cli import read_image
from tests.conftest import SHARED

CASES = SHARED / "cases"
MAX_GAP = 3  # mean, of 255
PAIRS = [(path, path.parent / "right" / f"{path.name}.png") for path in sorted(CASES.glob("images/*.*"))]
PAIRS += [(path, path.with_suffix(".right.png")) for path in sorted(CASES.glob("files/*.bmp"))]


@pytest.mark.real
def test_cases_are_read_right():
    if not PAIRS:
        pytest.skip("../shared/cases with odd pictures and their right pixels is not here")
    wrong = {}
    for path, right in PAIRS:
        with Image.open(right) as image:
            wanted = np.asarray(image.convert("RGB")).astype(int)
        found = read_image(path).astype(int)
        gap = float(np.abs(found - wanted).mean()) if found.shape == wanted.shape else found.shape
        if gap != 0 and (isinstance(gap, tuple) or gap > MAX_GAP):
            wrong[path.name] = gap
    assert len(PAIRS) >= 22
    assert wrong == {}
