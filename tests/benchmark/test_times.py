"""Times of models that took turns, without models."""

from math import inf

import numpy as np
import pytest
from scipy.stats import quantile_test

from qsr.benchmark.times import in_turns, summary, time_ratio


def test_turns():
    """Everything is measured once in a round, and each round begins with the next."""
    ran, told = [], []
    measures = [lambda name=name: ran.append(name) or f"{name}{len(ran)}" for name in "abc"]
    taken = in_turns(measures, 4, lambda *state: told.append(state))
    assert "".join(ran) == "abc" + "bca" + "cab" + "abc"
    assert taken == [
        ["a1", "a6", "a8", "a10"],
        ["b2", "b4", "b9", "b11"],
        ["c3", "c5", "c7", "c12"],
    ]
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_nothing():
    """Nothing takes no turns."""
    assert in_turns([], 3, pytest.fail) == []


def test_summary():
    """The summary has NumPy's quartiles, and the shortest time."""
    times = [5.0, 1.0, 9.0, 4.0]
    found = summary(times)
    expected = np.percentile(times, [25, 50, 75])
    assert (found.lower_quartile_ms, found.median_ms, found.upper_quartile_ms) == tuple(expected)
    assert (found.fastest_ms, found.rounds) == (1.0, 4)


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
@pytest.mark.parametrize("rounds", [1, 5, 6, 7, 20, 33, 100])
def test_interval(rounds, confidence):
    """The interval is that of SciPy's test of the ratios' median; without one it has no end."""
    random = np.random.default_rng(rounds)
    times, reference = random.uniform(2, 3, rounds), random.uniform(1, 2, rounds)
    found = time_ratio(times, reference, confidence)
    expected = quantile_test(times / reference, q=1, p=0.5).confidence_interval(confidence)
    assert found.median == pytest.approx(np.median(times / reference))
    assert found.confidence == confidence
    if np.isnan(expected.low):
        assert (found.low, found.high) == (0, inf)
    else:
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_common_noise():
    """What slows both models in a round does not change their ratio, nor does a spike."""
    slowness = np.array([1, 5, 2, 9, 3, 4, 1])
    times = 30.0 * slowness
    times[2] *= 100
    found = time_ratio(times, 20.0 * slowness)
    assert found.median == pytest.approx(1.5)
    assert found.low == pytest.approx(1.5)


@pytest.mark.parametrize(("times", "reference"), [([], []), ([1.0], [1.0, 2.0])])
def test_other_rounds(times, reference):
    """Times of other rounds, or none, have no ratio."""
    with pytest.raises(ValueError, match="times of the same rounds"):
        time_ratio(times, reference)
