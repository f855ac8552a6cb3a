"""Bootstrap intervals, against SciPy's and against what they promise."""

from math import inf, nan

import numpy as np
import pytest
from scipy.stats import bootstrap, norm, t

from qsr.calibration.bootstrap import Interval, paired_bootstrap


@pytest.mark.parametrize("confidence", [0.9, 0.95])
@pytest.mark.parametrize("items", [6, 12, 40])
def test_like_scipy(items, confidence):
    """The interval is SciPy's percentile interval at the confidence that few items call for."""
    draws = np.random.default_rng(items)
    hardness = draws.normal(30, 5, items)
    a = hardness + draws.gamma(1.0, 0.1, items)
    b = hardness + draws.normal(0, 0.05, items)
    interval = paired_bootstrap(a, b, confidence=confidence)
    quantile = t.ppf((1 + confidence) / 2, items - 1)
    expected = bootstrap(
        (a - b,),
        np.mean,
        confidence_level=1 - 2 * norm.cdf(-np.sqrt(items / (items - 1)) * quantile),
        n_resamples=20_000,
        method="percentile",
        random_state=np.random.default_rng(1),
    )
    low, high = expected.confidence_interval
    slack = 0.12 * expected.standard_error
    assert interval.mean == pytest.approx(np.mean(a - b))
    assert interval.low == pytest.approx(low, abs=slack)
    assert interval.high == pytest.approx(high, abs=slack)
    assert (interval.confidence, interval.items) == (confidence, items)


@pytest.mark.parametrize("items", [6, 12, 40])
def test_as_often_as_promised(items):
    """Of many 90 percent intervals of few items or more, about 90 percent hold the true mean."""
    draws = np.random.default_rng(3)
    held = 0
    for _ in range(300):
        hardness = draws.normal(30, 5, items)
        a, b = hardness + draws.normal(0.1, 0.3, items), hardness + draws.normal(0, 0.3, items)
        interval = paired_bootstrap(a, b, confidence=0.9)
        held += interval.low <= 0.1 <= interval.high
    assert 0.86 <= held / 300 <= 0.95


def test_repeatable():
    """The same scores give the same interval; another seed gives almost the same."""
    a, b = np.random.default_rng(0).normal(0, 1, (2, 30))
    assert paired_bootstrap(a, b) == paired_bootstrap(list(a), list(b))
    other = paired_bootstrap(a, b, seed=1)
    assert other != paired_bootstrap(a, b)
    assert other.low == pytest.approx(paired_bootstrap(a, b).low, abs=0.03)


def test_mirrored():
    """The models exchanged, the mean changes sign, and the ends nearly so."""
    a, b = np.random.default_rng(5).normal(0, 1, (2, 25))
    one, other = paired_bootstrap(a, b), paired_bootstrap(b, a)
    assert other.mean == -one.mean
    assert other.low == pytest.approx(-one.high, abs=0.03)


def test_equal():
    """Equal scores differ by nothing, for certain."""
    scores = [30.0, 31.0, 29.5]
    interval = paired_bootstrap(scores, scores)
    assert (interval.mean, interval.low, interval.high) == (0.0, 0.0, 0.0)
    assert not interval.excludes_zero


def test_one_item():
    """One item says nothing of others: its interval has no ends."""
    interval = paired_bootstrap([31.0], [30.0])
    assert (interval.mean, interval.low, interval.high) == (1.0, -inf, inf)
    assert not interval.excludes_zero


def test_not_a_number():
    """Where a score is no number, nothing is claimed."""
    interval = paired_bootstrap([1.0, nan, 2.0], [0.0, 0.0, 0.0])
    assert np.isnan([interval.mean, interval.low, interval.high]).all()
    assert not interval.excludes_zero


@pytest.mark.parametrize(
    ("low", "high", "excludes"),
    [(0.1, 0.2, True), (-0.2, -0.1, True), (-0.1, 0.1, False), (0.0, 0.1, False)],
)
def test_excludes_zero(low, high, excludes):
    """Zero is excluded if it lies on neither side of it nor on an end."""
    assert Interval(0.0, low, high, 0.95, 9).excludes_zero is excludes


@pytest.mark.parametrize(("a", "b"), [([], []), ([1.0], [1.0, 2.0])])
def test_not_paired(a, b):
    """Scores that do not pair are refused."""
    with pytest.raises(ValueError, match="paired scores are needed"):
        paired_bootstrap(a, b)
