"""`catdog_cli.load_checkpoint`: a checkpoint as a plain dict, for Python users."""

from pathlib import Path
from typing import Any

from torch import nn

from .checkpoint import build_from_checkpoint, check_head
from .checkpoint import load_checkpoint as _load
from .directory import BEST


def load_checkpoint(
    path: str | Path, name: str = BEST, resume: bool = False, *, head: nn.Module | None = None
) -> dict[str, Any]:
    """Load a checkpoint and check what it holds, without running code of the file.

    Args:
        path: a file or a run directory.
        name: which file of a run directory.
        resume: check all that resuming needs, too.
        head: a module like the one that was trained, where the checkpoint has a custom head: it gets the
            weights.

    Raises:
        CheckpointError: missing, damaged, foreign, or with a custom head that was not given or does not fit.
    """
    content = _load(path, name, resume, head)
    check_head(content, path, head)
    if head is not None:
        trained = build_from_checkpoint(content, path, head).classifier.head
        head.load_state_dict(trained.get_submodule("custom").state_dict())
    return content
