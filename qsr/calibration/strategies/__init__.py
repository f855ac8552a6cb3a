"""How a search decides what to try, one strategy per file."""

from dataclasses import fields
from typing import Any

from qsr.calibration.strategies.all_images import AllImages
from qsr.calibration.strategies.base import Strategy
from qsr.calibration.strategies.coverage import Coverage
from qsr.calibration.strategies.greedy import Greedy
from qsr.calibration.strategies.linear import Linear
from qsr.calibration.strategies.random_subsets import RandomSubsets
from qsr.calibration.strategies.range_statistics import RangeStatistics
from qsr.errors import UsageError

STRATEGIES: dict[str, Any] = {
    "linear": Linear,
    "greedy": Greedy,
    "random": RandomSubsets,
    "all": AllImages,
    "coverage": Coverage,
    "ranges": RangeStatistics,
}
"""Name on the command line to what makes the strategy."""


def strategy_named(text: str) -> Strategy:
    """Return a strategy.

    Args:
        text: its name; settings may follow: ``random:count=50,seed=1``.

    Raises:
        UsageError: no such strategy or setting, or no number where one is needed; the valid ones
            are given.
    """
    name, _, settings = text.partition(":")
    if name not in STRATEGIES:
        raise UsageError(f"no strategy named {name!r}; give one of: {', '.join(STRATEGIES)}")
    given = dict(_setting(name, part) for part in settings.split(",") if part)
    strategy: Strategy = STRATEGIES[name](**given)
    return strategy


def _setting(strategy: str, text: str) -> tuple[str, Any]:
    """Return the name and the value of a setting; ``steps`` is several numbers joined by +."""
    key, _, value = text.partition("=")
    valid = [one.name for one in fields(STRATEGIES[strategy]) if one.name != "name"]
    if key not in valid:
        has = f"; it has: {', '.join(valid)}" if valid else ""
        raise UsageError(f"--strategy {strategy} has no setting {key!r}{has}")
    try:
        if key == "steps":
            return key, tuple(float(step) for step in value.split("+"))
        return key, float(value) if key == "share" else int(value)
    except ValueError as error:
        raise UsageError(f"--strategy {strategy}: {key} is a number, not {value!r}") from error
