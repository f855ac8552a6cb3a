"""How a search decides what to try, one strategy per file."""

from collections.abc import Callable

from qsr.calibration.strategies.all_images import AllImages
from qsr.calibration.strategies.base import Strategy
from qsr.calibration.strategies.coverage import Coverage
from qsr.calibration.strategies.greedy import Greedy
from qsr.calibration.strategies.linear import Linear
from qsr.calibration.strategies.random_subsets import RandomSubsets
from qsr.calibration.strategies.range_statistics import RangeStatistics
from qsr.errors import UsageError

STRATEGIES: dict[str, Callable[[], Strategy]] = {
    "linear": Linear,
    "greedy": Greedy,
    "random": RandomSubsets,
    "all": AllImages,
    "coverage": Coverage,
    "ranges": RangeStatistics,
}
"""Name on the command line to what makes the strategy."""


def strategy_named(name: str) -> Strategy:
    """Return the strategy of that name, with its default settings.

    Raises:
        UsageError: no such strategy; the valid names are given.
    """
    if name not in STRATEGIES:
        raise UsageError(f"no strategy named {name!r}; give one of: {', '.join(STRATEGIES)}")
    return STRATEGIES[name]()
