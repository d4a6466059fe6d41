"""The groups of rows that scripts/bench knows, by name."""

from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import classes
import exported
import flattery
import floor
import gpu
import growth
import networks
import peers
import precision
import predict
import start
import training
import tuned
import tutorial
import unknown
from table import Found, Row


@dataclass(frozen=True)
class Group:
    """Some rows: one round's numbers (None: not here), the rows made of all rounds, what they need."""

    measure: Callable[[Namespace], dict[str, float] | None]
    rows: Callable[[Namespace, Found], list[Row]]
    needs: tuple[str, ...] = ()
    by_default: bool = True
    missing: str = ""


def _peer(name: str) -> Group:
    missing = f"{name} is not installed in .venv."
    return Group(partial(peers.measure, name), partial(peers.rows, name), by_default=False, missing=missing)


GROUPS = {
    "floor": Group(floor.measure, floor.rows),
    "train": Group(training.measure_train, training.train_rows, ("floor",)),
    "tutorial": Group(tutorial.measure, tutorial.rows),
    "partial": Group(training.measure_partial, training.partial_rows),
    "predict": Group(predict.measure, predict.rows, ("floor",)),
    "precision": Group(
        precision.measure, precision.rows, missing="this processor has no bfloat16 of its own."
    ),
    "start": Group(start.measure, start.rows),
    "export": Group(exported.measure, exported.rows, by_default=False),
    "growth": Group(growth.measure, growth.rows, by_default=False),
    "networks": Group(
        networks.measure,
        networks.rows,
        by_default=False,
        missing="weights of EfficientNet-Lite are not in the shared folder.",
    ),
    "strangers": Group(unknown.measure, unknown.rows, by_default=False),
    "classes": Group(classes.measure, classes.rows, by_default=False),
    "tune": Group(tuned.measure, tuned.rows, by_default=False),
    "flattery": Group(flattery.measure, flattery.rows, by_default=False),
    **{name: _peer(name) for name in peers.SAID},
    "gpu": Group(gpu.measure, gpu.rows, by_default=False, missing="torch finds no CUDA GPU here."),
}
BY_DEFAULT = [name for name, group in GROUPS.items() if group.by_default]
CHOICES = {**{name: [name] for name in GROUPS}, "peers": list(peers.SAID)}  # a word: the groups that it means
