"""Tests of catdog. Where they share the cores, each process keeps to one of them."""

import os

if "PYTEST_XDIST_WORKER" in os.environ:  # before numpy and torch, which read it once
    os.environ.setdefault("OMP_NUM_THREADS", "1")
