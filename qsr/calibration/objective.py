"""What a search maximises: one number from the scores of all validation items."""

from collections.abc import Callable, Sequence
from math import isnan, nan
from typing import Literal, get_args

import numpy as np

from qsr.errors import UsageError

Objective = Literal["mean", "worst", "p5"]
"""Mean over the items, the lowest score of any item, or the 5th percentile of all."""

_REDUCTIONS: dict[Objective, Callable[[Sequence[float]], float]] = {
    "mean": lambda scores: float(np.mean(scores)),
    "worst": lambda scores: float(np.min(scores)),
    "p5": lambda scores: float(np.percentile(scores, 5)),
}


def objective_named(name: str) -> Objective:
    """Return the objective of that name.

    Raises:
        UsageError: no such objective; the valid names are given.
    """
    for objective in get_args(Objective):
        if name == objective:
            found: Objective = objective
            return found
    raise UsageError(f"no objective named {name!r}; give one of: {', '.join(_REDUCTIONS)}")


def objective_value(
    objective: Objective, scores: Sequence[float], *, reference: Sequence[float] | None = None
) -> float:
    """Return the value of an objective; NaN if any score is NaN.

    Args:
        objective: which.
        scores: of every item; higher is better.
        reference: what is taken off each first, if anything.

    Raises:
        UsageError: there are not as many reference scores.
    """
    if reference is not None:
        if len(reference) != len(scores):
            raise UsageError(f"{len(reference)} reference scores for {len(scores)} items")
        scores = np.subtract(scores, reference).tolist()
    return nan if any(isnan(score) for score in scores) else _REDUCTIONS[objective](scores)
