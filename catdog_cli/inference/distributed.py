"""Prediction by several processes: the main one deals out the pictures and has the answers, in order.

The parts that go through the network are those of one process, and with them the last bits of every answer.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from ..runtime.distributed import Group

if TYPE_CHECKING:
    from .answer import Answer
    from .predictor import Predictor

ROUND = 32  # parts that each process gets at once
Fetch = Callable[[Any], Any] | None


def predict_in_shares(predictor: "Predictor", sources: Iterable[Any], fetch: Fetch) -> Iterator["Answer"]:
    """Yield one answer for every source, in order; only the main process may call it.

    Raises:
        LostProcessError: another process has ended.
    """
    group, rest = predictor.group, iter(sources)
    while some := list(itertools.islice(rest, predictor.batches[-1] * ROUND * group.size)):
        _give(group, (some, fetch))
        yield from _merge(_answer_round(predictor, some, fetch), group, len(some), predictor.batches[-1])


def answer_shares(predictor: "Predictor") -> None:
    """Work for the main process until it dismisses this one."""
    while (task := predictor.group.from_main(lambda: None)) is not None:
        _answer_round(predictor, *task)


def dismiss(group: Group) -> None:
    """Tell the other processes that there is no more to do; only the main process may call it."""
    _give(group, None)


def _give(group: Group, task: tuple[list[Any], Fetch] | None) -> None:
    group.from_main(lambda: task)


def _answer_round(predictor: "Predictor", some: list[Any], fetch: Fetch) -> list[list["Answer"]]:
    """Return the answers of each process to its parts."""
    mine = [source for part in predictor.group.chunks(some, predictor.batches[-1]) for source in part]
    return predictor.group.gather(lambda: list(predictor.predict_here(mine, fetch)))


def _merge(found: list[list["Answer"]], group: Group, count: int, length: int) -> Iterator["Answer"]:
    """Yield the answers of all processes in the order in which the parts were dealt."""
    each = [iter(answers) for answers in found]
    for number, start in enumerate(range(0, count, length)):
        yield from itertools.islice(each[number % group.size], min(length, count - start))
