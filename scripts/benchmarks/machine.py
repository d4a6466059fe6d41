"""What a measurement was made on, in words."""

import os
import platform
import shutil
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path


def describe() -> dict[str, str]:
    """Return processor, GPU, load, versions, date and command."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "processor": f"{_processor()}, {cores} cores",
        "GPU": _gpu(),
        "load": " ".join(f"{load:.1f}" for load in os.getloadavg()) + " (1, 5, 15 minutes, at the start)",
        "versions": f"torch {version('torch')}, torchvision {version('torchvision')}, "
        f"Python {platform.python_version()}, {platform.system()}",
        "date": time.strftime("%Y-%m-%d %H:%M %Z"),
        "command": " ".join(["scripts/bench", *sys.argv[1:]]),
    }


def _processor() -> str:
    """Return the processor's name; platform's own answer is empty on many Linux machines."""
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text().splitlines() if facts.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _gpu() -> str:
    """Return the GPUs' names as the driver knows them."""
    if not shutil.which("nvidia-smi"):
        return "none"
    asked = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    said = subprocess.run(asked, capture_output=True, text=True)
    return ", ".join(said.stdout.split("\n")).strip(", ") if not said.returncode else "none that answers"
