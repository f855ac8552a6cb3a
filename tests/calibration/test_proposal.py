"""Proposals: which ranges they stand for."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from ranges_as_model import noisy_table, table_of

from qsr.calibration.proposal import Proposal, from_json, percentile, together
from qsr.errors import UsageError

STATISTICS = ("extremes", "mean", *(percentile(q) for q in (0, 10, 50, 99.9, 100)))


@pytest.fixture(scope="module")
def table():
    """Ranges of nine images."""
    return noisy_table(9, 4)


def test_extremes(table):
    """Images together have the smallest minimum and the largest maximum of each tensor."""
    proposal = together(["c", "a", "h"])
    ranges = proposal.ranges(table)
    rows = [2, 0, 7]
    assert ranges.tensors == table.tensors
    assert np.array_equal(ranges.minimum, np.min(table.minimum[rows], axis=0))
    assert np.array_equal(ranges.maximum, np.max(table.maximum[rows], axis=0))
    assert proposal.is_data_set


def test_in_any_order(table):
    """Rows are found by name, whatever the table's order."""
    turned = table.subset(["h", "c", "a"])
    assert np.array_equal(together(["c"]).ranges(turned).maximum, table.maximum[2])
    assert np.array_equal(together(["h"]).ranges(turned).minimum, table.minimum[7])


def test_mean(table):
    """The mean is that of the minima and that of the maxima, of the images named alone."""
    ranges = Proposal(("b", "e", "i"), "mean").ranges(table)
    rows = [1, 4, 8]
    np.testing.assert_allclose(ranges.minimum, np.mean(table.minimum[rows], axis=0), rtol=1e-6)
    np.testing.assert_allclose(ranges.maximum, np.mean(table.maximum[rows], axis=0), rtol=1e-6)
    assert not Proposal(("b",), "mean").is_data_set


@pytest.mark.parametrize("q", [0, 12.5, 50, 99, 100])
def test_percentile(table, q):
    """Percentile Q is numpy's of the maxima, and 100 - Q of the minima."""
    ranges = Proposal(table.images, percentile(q)).ranges(table)
    lowest = np.percentile(table.minimum, 100 - q, axis=0)
    np.testing.assert_allclose(ranges.minimum, lowest, rtol=1e-5)
    np.testing.assert_allclose(
        ranges.maximum, np.maximum(np.percentile(table.maximum, q, axis=0), lowest), rtol=1e-5
    )


def test_all_the_way_is_the_extremes(table):
    """Percentile 100 of the images is their extremes."""
    ranges = Proposal(table.images, percentile(100)).ranges(table)
    assert np.array_equal(ranges.minimum, table.minimum.min(axis=0))
    assert np.array_equal(ranges.maximum, table.maximum.max(axis=0))


def test_low_percentile_of_ranges_apart():
    """Where a low percentile puts the maximum below the minimum, the range is a point."""
    table = table_of([[0.0], [10.0]], [[1.0], [12.0]])
    ranges = Proposal(("a", "b"), percentile(0)).ranges(table)
    assert (ranges.minimum.tolist(), ranges.maximum.tolist()) == ([10.0], [10.0])


def test_factors(table):
    """Factors multiply the ends of their tensor alone, after the statistic."""
    factors = (("tensor1", 0.5, 2.0), ("tensor3", 1.0, 0.25))
    for statistic in STATISTICS:
        plain = Proposal(table.images, statistic).ranges(table)
        moved = Proposal(table.images, statistic, factors).ranges(table)
        assert np.array_equal(moved.minimum, plain.minimum * np.float32([1, 0.5, 1, 1]))
        expected = np.maximum(moved.minimum, plain.maximum * np.float32([1, 2, 1, 0.25]))
        assert np.array_equal(moved.maximum, expected)
    assert not Proposal(("a",), factors=factors).is_data_set


def test_the_table_stays_as_it_was(table):
    """Ranges are made beside the table, not in it."""
    before = table.minimum.copy(), table.maximum.copy()
    for statistic in STATISTICS:
        Proposal(("a",), statistic, (("tensor0", 3.0, 3.0),)).ranges(table)
    assert np.array_equal(table.minimum, before[0])
    assert np.array_equal(table.maximum, before[1])


@given(
    ends=arrays(np.float32, (3, 2, 2), elements=st.floats(-1e6, 1e6, width=32)),
    statistic=st.sampled_from(STATISTICS),
    factors=st.tuples(st.just("tensor1"), st.floats(0.1, 10), st.floats(0.1, 10)),
)
def test_always_ranges(ends, statistic, factors):
    """Whatever the table holds, a maximum is never below its minimum."""
    ends = np.sort(ends, axis=-1)
    table = table_of(ends[..., 0], ends[..., 1])
    for proposal in (
        Proposal(("a", "b", "c"), statistic),
        Proposal(("a", "b", "c"), statistic, (factors,)),
    ):
        ranges = proposal.ranges(table)
        assert ranges.minimum.dtype == ranges.maximum.dtype == np.float32
        assert np.isfinite(ranges.minimum).all()
        assert np.isfinite(ranges.maximum).all()
        assert (ranges.minimum <= ranges.maximum).all()


@pytest.mark.parametrize(
    ("proposal", "named"),
    [
        (together([]), "at least one image"),
        (together(["a", "z"]), "no ranges of an image named 'z'"),
        (Proposal((), "mean"), "at least one image"),
        (Proposal(("a",), "median"), "no statistic named 'median'; give extremes, mean"),
        (Proposal(("a",), "percentile"), "no statistic named 'percentile'"),
        (Proposal(("a",), "percentile most"), "no statistic named 'percentile most'"),
        (Proposal(("a",), "percentile 101"), "no statistic named .*; give .* from 0 to 100"),
        (Proposal(("a",), "percentile -1"), "no statistic named"),
        (Proposal(("a",), "percentile nan"), "no statistic named"),
        (Proposal(("a",), factors=(("tensor9", 1.0, 1.0),)), "no ranges of a tensor named"),
    ],
)
def test_refused(table, proposal, named):
    """What cannot be made into ranges is refused in words."""
    with pytest.raises(UsageError, match=named):
        proposal.ranges(table)


@pytest.mark.parametrize(
    "proposal",
    [
        together(["a", "b"]),
        Proposal(("a",), percentile(99.9), (("tensor1", 1 / 3, 1.1), ("tensor0", 1.0, 2.0))),
    ],
)
def test_through_json(proposal):
    """A proposal comes back from JSON as it went."""
    assert from_json(json.loads(json.dumps(asdict(proposal)))) == proposal
