"""These tests make short runs, as those of training do."""

from ..training.conftest import _one_thread  # noqa: F401 - a fixture
