"""Tests of catdog. Small networks gain nothing from threads, and lose much where other work fills cores."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch, which read it once
