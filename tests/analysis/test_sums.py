"""The sums behind every layer's record, on numbers that can be checked by hand."""

import math

import numpy as np
import pytest

from qsr.analysis.sums import ErrorSums, Grid, error_sums

HALVES = Grid(scale=0.5, zero_point=2, minimum=-1.0, maximum=126.5)
"""A ``uint8`` grid in steps of 0.5: 0 stands for -1 and 255 for 126.5."""


def sums_of(values, codes, dtype=np.uint8, grid=HALVES):
    """Compare two short lists."""
    return error_sums(np.array(values, np.float32), np.array(codes, dtype), grid)


def test_by_hand():
    """Four values with errors 0, 0.5, -0.25 and 0 give the sums that a pencil gives."""
    sums = sums_of([0.0, 1.0, 2.25, -1.0], [2, 5, 6, 0])  # stand for 0, 1.5, 2, -1
    assert sums == ErrorSums(
        count=4,
        signal=1.0 + 5.0625 + 1.0,
        noise=0.25 + 0.0625,
        error=0.25,
        saturated=0,
        minimum=-1.0,
        maximum=2.25,
    )
    assert sums.sqnr_db == pytest.approx(10 * math.log10(7.0625 / 0.3125))


def test_signed_extremes():
    """The smallest and largest ``int8`` are exact with a zero point at either end."""
    for zero_point in (-128, 127):
        grid = Grid(0.25, zero_point, -999.0, 999.0)
        values = [(code - zero_point) / 4 for code in (-128, -1, 0, 127)]
        assert sums_of(values, [-128, -1, 0, 127], np.int8, grid).noise == 0


def test_equal():
    """The ratio of equal values is infinite, also where all are 0."""
    assert sums_of([0.5, 1.0], [3, 4]).sqnr_db == math.inf
    assert sums_of([0.0], [2]).sqnr_db == math.inf


def test_no_signal():
    """Noise where the float model has nothing but 0 is a ratio of minus infinity."""
    assert sums_of([0.0, 0.0], [2, 3]).sqnr_db == -math.inf


def test_saturated():
    """Half a step outside the grid is still rounded onto it; more, on either side, is cut off."""
    values = [-1.25, -1.2500001, 126.75, 126.75001, 0.0, 1000.0]
    assert sums_of(values, [0, 0, 255, 255, 2, 255]).saturated == 3


def test_not_finite():
    """Values that are not finite give a signal that is not finite, without a warning."""
    sums = sums_of([np.inf, -np.inf, 1.0], [255, 0, 4])
    assert not math.isfinite(sums.signal)
    assert not math.isfinite(sums_of([np.nan, 1.0], [4, 4]).signal)


def test_large_and_cut_out():
    """A cut-out of a tensor larger than a chunk gives what numpy gives in one go."""
    random = np.random.default_rng(3)
    values = random.normal(5, 40, (1, 90, 110, 28)).astype(np.float32)[:, 5:-3, 7:-1]
    codes = random.integers(0, 256, (1, 90, 110, 28), np.uint8)[:, 5:-3, 7:-1]
    sums = error_sums(values, codes, HALVES)
    f, q = values.astype(np.float64), 0.5 * (codes.astype(np.float64) - 2)
    assert sums.count == f.size
    assert sums.signal == pytest.approx((f**2).sum(), rel=1e-12)
    assert sums.noise == pytest.approx(((q - f) ** 2).sum(), rel=1e-12)
    assert sums.error == pytest.approx((q - f).sum(), rel=1e-9)
    assert sums.saturated == ((f < -1.25) | (f > 126.75)).sum()
    assert (sums.minimum, sums.maximum) == (f.min(), f.max())


def test_parts():
    """The sums of two parts, added, are those of the whole."""
    whole = sums_of([0.0, 1.0, 2.25, -9.0], [2, 5, 6, 0])
    assert sums_of([0.0, 1.0], [2, 5]) + sums_of([2.25, -9.0], [6, 0]) == whole
    assert ErrorSums() + whole == whole
