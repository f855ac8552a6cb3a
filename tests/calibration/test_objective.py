"""Objectives, against values worked out by hand."""

from math import inf, isnan, nan

import pytest

from qsr.calibration.objective import objective_named, objective_value
from qsr.errors import UsageError


@pytest.mark.parametrize(
    ("objective", "value"),
    [
        ("mean", 31.0),
        ("worst", 28.0),
        ("p5", 28.4),  # a fifth of the way from the lowest, 28, to the next, 30
    ],
)
def test_by_hand(objective, value):
    """Each objective has its value, in whatever order the items come."""
    assert objective_value(objective, [32.0, 28.0, 33.0, 30.0, 32.0]) == pytest.approx(value)
    assert objective_value(objective, [28.0, 30.0, 32.0, 32.0, 33.0]) == pytest.approx(value)
    assert objective_value(objective, [7.0]) == 7.0


@pytest.mark.parametrize("objective", ["mean", "worst", "p5"])
def test_not_a_number(objective):
    """One item that is no number makes the value none, wherever it stands."""
    assert isnan(objective_value(objective, [nan, 1.0, 2.0]))
    assert isnan(objective_value(objective, [1.0, 2.0, nan]))


def test_infinite():
    """A perfect item is infinitely good, and the worst is still the worst."""
    assert objective_value("mean", [1.0, inf]) == inf
    assert objective_value("worst", [1.0, inf]) == 1.0
    assert objective_value("worst", [1.0, -inf]) == -inf


def test_names():
    """An objective is found by its name, and an unknown name is refused with the valid ones."""
    assert [objective_named(name) for name in ("mean", "worst", "p5")] == ["mean", "worst", "p5"]
    with pytest.raises(UsageError, match="'median'; give one of: mean, worst, p5"):
        objective_named("median")
