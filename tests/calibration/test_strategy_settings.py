"""Strategies as the command line names them."""

import pytest

from qsr import calibration as cal
from qsr.calibration.strategies import strategy_named
from qsr.errors import UsageError


@pytest.mark.parametrize(
    ("text", "strategy"),
    [
        ("linear", cal.Linear()),
        ("greedy:largest=4", cal.Greedy(largest=4)),
        ("random:count=50,seed=1", cal.RandomSubsets(count=50, seed=1)),
        ("coverage:share=0.9", cal.Coverage(share=0.9)),
        ("ranges:steps=0.2+0.1", cal.RangeStatistics(steps=(0.2, 0.1))),
    ],
)
def test_settings(text, strategy):
    """A name may be followed by settings, which are the fields of the strategy."""
    assert strategy_named(text) == strategy


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("best", "no strategy named 'best'; give one of: linear, greedy"),
        ("linear:count=3", "--strategy linear has no setting 'count'"),
        ("greedy:size=3", "--strategy greedy has no setting 'size'; it has: largest"),
        ("random:name=x", "has no setting 'name'"),
        ("random:count=many", "--strategy random: count is a number, not 'many'"),
    ],
)
def test_refused(text, said):
    """What is no strategy, no setting or no number is refused, and the valid ones are named."""
    with pytest.raises(UsageError) as error:
        strategy_named(text)
    assert said in str(error.value)
