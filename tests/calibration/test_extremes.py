"""Smallest and largest values, against numpy's own."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qsr.calibration import extremes as extremes_module
from qsr.calibration.extremes import extremes


@given(
    shape=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    block=st.integers(1, 400),
    seed=st.integers(0, 99),
)
def test_any_shape(shape, block, seed):
    """They are numpy's minimum and maximum, whatever the shape and however it is cut."""
    values = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(extremes_module, "_BLOCK", block)
        assert extremes(values) == (values.min(), values.max())


def test_part_of_an_array():
    """A part of a larger array, not contiguous, counts alone."""
    values = np.arange(2 * 500 * 400 * 3, dtype=np.float32).reshape(2, 500, 400, 3)
    part = values[:1, 20:480, 7:390]
    assert extremes(part) == (part[0, 0, 0, 0], part[0, -1, -1, -1])


@pytest.mark.parametrize("place", [0, 70_000, 599_999])
def test_not_a_number(place):
    """A single NaN anywhere makes both NaN."""
    values = np.zeros(600_000, np.float32)
    values[place] = np.nan
    assert np.isnan(extremes(values.reshape(1, 500, 400, 3))).all()
