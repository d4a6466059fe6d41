"""The lowest point of a function, against scipy's."""

import math

import pytest
from scipy.optimize import minimize_scalar

from catdog_cli.evaluation.brent import minimize

COSTS = {
    "parabola": lambda x: (x - 0.3) ** 2,
    "at an end": lambda x: x,
    "flat": lambda x: 1.0,
    "kink": lambda x: abs(x - 0.1),
    "steep": lambda x: math.exp(5 * x) - 40 * x,
    "waves": lambda x: math.sin(9 * x) + 0.1 * x * x,
    "steps": lambda x: round(4 * (x - 0.2) ** 2, 2),
}


@pytest.mark.parametrize("cost", COSTS.values(), ids=COSTS)
@pytest.mark.parametrize(("low", "high"), [(-1.0, 1.0), (0.25, 0.35), (-3.0, 40.0), (0.5, 0.5)])
def test_it_takes_the_steps_of_scipy(cost, low, high):
    looked, wanted = [], []
    found = minimize(lambda x: looked.append(x) or cost(x), low, high)
    expected = minimize_scalar(
        lambda x: wanted.append(float(x)) or cost(float(x)), bounds=(low, high), method="bounded"
    )
    assert found == expected.x
    assert looked == wanted
