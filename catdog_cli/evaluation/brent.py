"""The lowest point of a function of one number, by Brent's method: without importing scipy.optimize for it.

Every training ends with a temperature, and the import takes as long as ten epochs of a head. The steps are
those of scipy.optimize.minimize_scalar(method="bounded"), to the bit; a test holds them equal.
"""

import math
from collections.abc import Callable

GOLDEN = 0.5 * (3.0 - math.sqrt(5.0))  # how far into the longer side a golden section cuts
ROOT = math.sqrt(2.2e-16)  # of the precision of a double: no two points closer together tell apart
MOST_STEPS = 499


def minimize(cost: Callable[[float], float], low: float, high: float, tolerance: float = 1e-5) -> float:
    """Return where `cost` is lowest between `low` and `high`, to `tolerance`, if it has one valley there.

    A parabola through the three lowest points says where to look next; where it leads nowhere, a golden
    section does. Source: Brent 1973, "Algorithms for Minimization without Derivatives", chapter 5.
    """
    points = [low + GOLDEN * (high - low)] * 3  # the lowest so far, the second, the second before
    values = [cost(points[0])] * 3
    step = before = 0.0  # the last step, and the one before it
    for _ in range(MOST_STEPS):
        best, middle = points[0], 0.5 * (low + high)
        least = ROOT * abs(best) + tolerance / 3.0  # of a step
        if abs(best - middle) <= 2.0 * least - 0.5 * (high - low):
            break
        vertex = _vertex(points, values, low - best, high - best, before) if abs(before) > least else None
        if vertex is None:
            before = (low if best >= middle else high) - best
            step = GOLDEN * before
        else:
            before, step = step, vertex
            if min(best + step - low, high - (best + step)) < 2.0 * least:
                step = least if middle >= best else -least
        tried = best + (max(step, least) if step >= 0 else min(step, -least))
        found = cost(tried)
        low, high = _narrow(low, high, tried, best, found <= values[0])
        _rank(points, values, tried, found)
    return points[0]


def _vertex(
    points: list[float], values: list[float], left: float, right: float, before: float
) -> float | None:
    """Return the step to the vertex of the parabola through three points, None where it is of no use.

    It has to end between `left` and `right`, seen from the lowest point, and be less than half of `before`.
    """
    (best, second, third), (lowest, at_second, at_third) = points, values
    r = (best - second) * (lowest - at_third)
    q = (best - third) * (lowest - at_second)
    p = (best - third) * q - (best - second) * r
    q = 2.0 * (q - r)
    p, q = -p if q > 0.0 else p, abs(q)
    return p / q if abs(p) < abs(0.5 * q * before) and q * left < p < q * right else None


def _narrow(low: float, high: float, tried: float, best: float, is_lower: bool) -> tuple[float, float]:
    """Return the ends between which the lowest point is, now that `tried` is known beside `best`."""
    end = best if is_lower else tried
    return (end, high) if (tried >= best) == is_lower else (low, end)


def _rank(points: list[float], values: list[float], tried: float, found: float) -> None:
    """Put a new point where it belongs among the three lowest."""
    best, second, third = points
    if found <= values[0]:
        place = 0
    elif found <= values[1] or second == best:
        place = 1
    elif found <= values[2] or third in (best, second):
        place = 2
    else:
        return
    for ranked, new in ((points, tried), (values, found)):
        ranked.insert(place, new)
        ranked.pop()
