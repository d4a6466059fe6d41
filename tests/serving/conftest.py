"""Checkpoints and pictures that the tests of the service share."""

import io

import pytest

from tests.conftest import draw_image
from tests.inference.checkpoints import write_checkpoint


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """Return a checkpoint of a tiny network."""
    return write_checkpoint(tmp_path_factory.mktemp("served") / "best.pt")


def draw(number, size=(40, 32)):
    """Return the bytes of a PNG, each number another picture."""
    kept = io.BytesIO()
    draw_image(number % 3, number, size).save(kept, "PNG")
    return kept.getvalue()


@pytest.fixture(scope="session")
def pictures():
    """Return the bytes of pictures, no two alike."""
    return [draw(number) for number in range(40)]
