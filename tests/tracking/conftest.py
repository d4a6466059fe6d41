"""These tests make short runs, as those of training do."""

from ..training.conftest import _no_sync, _one_thread  # noqa: F401 - fixtures
