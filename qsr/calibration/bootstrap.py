"""How sure a difference is: confidence intervals by resampling."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, sqrt
from statistics import NormalDist

import numpy as np

_RESAMPLES = 10_000
_BLOCK = 1_000
"""Resamples drawn at once, so that memory stays small for many items."""


@dataclass(frozen=True)
class Interval:
    """A mean and its confidence interval, in the units of what was averaged.

    One item says nothing of the others: its interval has no ends, -inf to inf.

    Attributes:
        mean: the mean itself.
        low: lower end.
        high: upper end.
        confidence: how often an interval made like this one holds the true mean, such as 0.95.
        items: number of values averaged.
    """

    mean: float
    low: float
    high: float
    confidence: float
    items: int

    @property
    def excludes_zero(self) -> bool:
        """Whether zero lies outside."""
        return self.low > 0 or self.high < 0


def paired_bootstrap(
    a: Sequence[float], b: Sequence[float], *, confidence: float = 0.95, seed: int = 0
) -> Interval:
    """Return the mean of ``a - b``, item by item, with its bootstrap percentile interval.

    Items are resampled, each with both its scores, so that what makes an item hard for both drops
    out (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, section 13.3). The fewer
    the items, the farther out the percentiles lie, as the plain ones would claim too much: this is
    the "expanded percentile interval" of Hesterberg, "What Teachers Should Know About the
    Bootstrap", The American Statistician 69(4), 2015. Fewer than five items are beyond its help: by
    chance alone all lie on one side of zero once in 2^(n - 1) times.

    Args:
        a: scores of one model.
        b: scores of the other, of the same items in the same order.
        confidence: of the interval.
        seed: of the resampling; the same scores always give the same interval.

    Raises:
        ValueError: no scores, or of different numbers of items.
    """
    if len(a) != len(b) or not len(a):
        raise ValueError(f"paired scores are needed, not {len(a)} and {len(b)}")
    differences = np.asarray(a, np.float64) - np.asarray(b, np.float64)
    if len(differences) == 1:
        return Interval(float(differences[0]), -inf, inf, confidence, 1)
    draws = np.random.default_rng(seed)
    size = (_BLOCK, len(differences))
    means = np.concatenate(
        [
            differences[draws.integers(len(differences), size=size)].mean(axis=1)
            for _ in range(_RESAMPLES // _BLOCK)
        ]
    )
    tail = 100 * _expanded_tail((1 - confidence) / 2, len(differences))
    low, high = np.percentile(means, [tail, 100 - tail])
    return Interval(
        float(differences.mean()), float(low), float(high), confidence, len(differences)
    )


def _expanded_tail(tail: float, items: int) -> float:
    """Return the share of resamples to be left out at each end, for the interval to be honest.

    Args:
        tail: share that is left out for ever so many items.
        items: number of items, at least 2.
    """
    return NormalDist().cdf(-sqrt(items / (items - 1)) * _student(1 - tail, items - 1))


def _student(probability: float, freedom: int) -> float:
    """Return a quantile of Student's t: Abramowitz and Stegun, 26.7.5, to within 0.03 from 3 on."""
    z = NormalDist().inv_cdf(probability)
    return (
        z
        + (z**3 + z) / (4 * freedom)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * freedom**3)
    )
