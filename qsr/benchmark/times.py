"""Times of models that took turns: their summary, and how they compare."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import comb, inf
from typing import TypeVar

import numpy as np

CHALLENGE_LR_SIZE = (360, 640)
"""Height and width of the input in the Mobile AI challenges: x3 gives Full HD."""

_Taken = TypeVar("_Taken")


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Time that a model takes for one picture, over the rounds of a benchmark.

    Attributes:
        median_ms: half of the rounds took less.
        lower_quartile_ms: a quarter of the rounds took less.
        upper_quartile_ms: a quarter of the rounds took more.
        fastest_ms: the shortest.
        rounds: number of them.
    """

    median_ms: float
    lower_quartile_ms: float
    upper_quartile_ms: float
    fastest_ms: float
    rounds: int


@dataclass(frozen=True, kw_only=True)
class TimeRatio:
    """How many times as long as another model a model takes, round by round.

    Fewer than six rounds are too few for 95 %: their interval has no ends, 0 to inf.

    Attributes:
        median: of the rounds' ratios.
        low: lower end of the median's interval.
        high: upper end.
        confidence: how often at least an interval made like this one holds the true median.
    """

    median: float
    low: float
    high: float
    confidence: float


def in_turns(
    measures: Sequence[Callable[[], _Taken]],
    rounds: int,
    on_round: Callable[[int, int], None] | None = None,
) -> list[list[_Taken]]:
    """Measure again and again, each once in a round, and each round begins with another.

    What slows a machine down for a while, or as it gets warm, slows all of them.

    Args:
        measures: each measures once.
        rounds: number of rounds.
        on_round: called with (done, total) after each round.

    Returns:
        What each of ``measures`` gave, in the order of the rounds.
    """
    taken: list[list[_Taken]] = [[] for _ in measures]
    for done in range(rounds if measures else 0):
        for turn in range(len(measures)):
            index = (done + turn) % len(measures)
            taken[index].append(measures[index]())
        if on_round is not None:
            on_round(done + 1, rounds)
    return taken


def summary(times_ms: Sequence[float]) -> Latency:
    """Summarize times of one model.

    Args:
        times_ms: of each round, at least one.
    """
    lower, median, upper = (float(value) for value in np.percentile(times_ms, [25, 50, 75]))
    return Latency(
        median_ms=median,
        lower_quartile_ms=lower,
        upper_quartile_ms=upper,
        fastest_ms=min(times_ms),
        rounds=len(times_ms),
    )


def time_ratio(
    times_ms: Sequence[float], reference_ms: Sequence[float], confidence: float = 0.95
) -> TimeRatio:
    """Compare times of two models that took turns.

    The interval is that of the sign test (Conover, "Practical Nonparametric Statistics", 1999,
    section 3.2): between two of the ratios, sorted, whatever their distribution is. A spike, which
    times have on any busy machine, does not move it.

    Args:
        times_ms: of a model, round by round.
        reference_ms: of the model that it is compared with, in the same rounds.
        confidence: of the interval.

    Raises:
        ValueError: no times, or of different numbers of rounds.
    """
    if len(times_ms) != len(reference_ms) or not len(times_ms):
        raise ValueError(f"times of the same rounds, not {len(times_ms)} and {len(reference_ms)}")
    ratios = np.sort(np.asarray(times_ms, np.float64) / np.asarray(reference_ms, np.float64))
    left_out = _left_out(len(ratios), (1 - confidence) / 2)
    return TimeRatio(
        median=float(np.median(ratios)),
        low=float(ratios[left_out]) if left_out is not None else 0.0,
        high=float(ratios[-1 - left_out]) if left_out is not None else inf,
        confidence=confidence,
    )


def _left_out(count: int, tail: float) -> int | None:
    """Return how many sorted values may lie beyond each end of the median's interval, or None.

    As many as leave no more than ``tail`` to a binomial of ``count`` and one half.
    """
    below, found = 0, None
    for heads in range((count + 1) // 2):
        below += comb(count, heads)
        if below > tail * 2**count:
            break
        found = heads
    return found
