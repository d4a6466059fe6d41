"""These tests make short runs, as those of training do, and share their fixtures."""

from ..training.conftest import (  # noqa: F401 - fixtures
    _no_sync,
    _one_thread,
    few,
    finished,
    mobilenet_file,
    rare,
    resnet_file,
)
