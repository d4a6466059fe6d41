"""The report that training writes for the best checkpoint of each phase."""

from typing import Any


def write_phase_report(setup: Any, run_dir: Any, facts: dict[str, Any]) -> None:
    pass
