"""What the tests of many inputs share."""

import pytest

from ..conftest import write_images
from .checkpoints import write_checkpoint


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Return the working directory, with pets/ of 20 pictures, a bad one among them, and best.pt."""
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / "pets", {"cats": 11, "dogs": 8})
    (tmp_path / "pets" / "cats" / "7a.jpg").write_bytes(b"bad")
    write_checkpoint(tmp_path / "best.pt")
    return tmp_path
