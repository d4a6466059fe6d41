"""Where a network is weakest: classes by how sure that is, and the pairs that it mixes up most."""

from typing import Any

from .intervals import wilson_interval

ENOUGH = 5  # pictures of a class without which its share of right ones is hardly evidence
WORST, PAIRS = 20, 10  # shown where there are many classes


def recall_interval(row: dict[str, Any]) -> list[float]:
    """Return the 95 % Wilson interval of the share of a class's pictures that are found."""
    return wilson_interval(round(row["recall"] * row["support"]), row["support"])


def find_weakest(classes: dict[str, dict[str, Any]]) -> str | None:
    """Return the class that is most surely weak: the one whose interval ends lowest.

    A class of one picture that was missed is no evidence; classes of fewer than ENOUGH count only where all
    are as small. None where no class of several pictures has a mistake, or there is but one class.
    """
    shown = {name: row for name, row in classes.items() if row["support"]}
    known = {name: row for name, row in shown.items() if row["support"] >= ENOUGH}
    known = known or {name: row for name, row in shown.items() if row["support"] > 1}
    if len(shown) < 2 or not known:
        return None
    weakest = min(known, key=lambda name: (recall_interval(known[name])[1], known[name]["recall"]))
    return weakest if known[weakest]["recall"] < 1 else None


def list_worst(classes: dict[str, dict[str, Any]], count: int = WORST) -> list[tuple[str, dict[str, Any]]]:
    """Return the `count` classes with pictures whose intervals begin lowest, that one first."""
    shown = [(name, row) for name, row in classes.items() if row["support"]]
    return sorted(shown, key=lambda pair: (recall_interval(pair[1])[0], pair[1]["recall"]))[:count]


def list_confused(
    confusion: list[list[int]], class_names: list[str], count: int = PAIRS
) -> list[tuple[str, str, int, float]]:
    """Return (class, what it was taken for, how often, share of the class), what occurs most often first."""
    found = [
        (class_names[i], class_names[j], number, number / sum(row))
        for i, row in enumerate(confusion)
        for j, number in enumerate(row)
        if i != j and number
    ]
    return sorted(found, key=lambda pair: (-pair[2], -pair[3]))[:count]
