"""The sums behind every layer's record: against formulas on whole arrays, and parts against all."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from qsr.analysis.grid import Grid
from qsr.analysis.sums import BINS, added, bin_ends, error_sums

HALVES = Grid(scale=0.5, zero_point=2, lowest=0, highest=255)
"""A ``uint8`` grid in steps of 0.5: 0 stands for -1 and 255 for 126.5."""

WIDE = Grid(scale=0.001, zero_point=0, lowest=-32768, highest=32767)


def sums_of(values, codes, dtype=np.uint8, grid=HALVES):
    """Compare two short lists."""
    return error_sums(np.array(values, np.float32), np.array(codes, dtype), grid)


def error_of(values, codes, dtype=np.uint8, grid=HALVES):
    """The record of one channel."""
    return sums_of(
        np.reshape(values, (-1, 1)), np.reshape(codes, (-1, 1)), dtype, grid
    ).tensor_error


def by_formula(values, codes, grid):
    """Every measurement by its definition, on whole arrays in double precision."""
    f = values.astype(np.float64).reshape(-1, values.shape[-1])
    q = grid.scale * (codes.astype(np.float64) - grid.zero_point).reshape(f.shape)
    half = grid.scale / 2
    levels = grid.highest - grid.lowest + 1
    return {
        "sqnr_db": ratio_db((f**2).sum(), ((q - f) ** 2).sum()),
        "mse": ((q - f) ** 2).mean(),
        "mean_error": (q - f).mean(),
        "max_error": np.abs(q - f).max(),
        "cosine": cosine(f.ravel(), q.ravel()),
        "saturated_low": (f < grid.minimum - half).mean(),
        "saturated_high": (f > grid.maximum + half).mean(),
        "used_levels": len(np.unique(codes)) / levels if levels <= 256 else None,
        "channel_sqnr_db": [
            ratio_db((a**2).sum(), ((b - a) ** 2).sum()) for a, b in zip(f.T, q.T, strict=True)
        ],
        "channel_used_levels": [len(np.unique(one)) / levels for one in codes.reshape(f.shape).T]
        if levels <= 256
        else None,
        "channel_mse": ((q - f) ** 2).mean(axis=0),
        "channel_cosine": [cosine(a, b) for a, b in zip(f.T, q.T, strict=True)],
        "channel_saturated_low": (f < grid.minimum - half).mean(axis=0),
        "channel_saturated_high": (f > grid.maximum + half).mean(axis=0),
        "channel_mean_error": (q - f).mean(axis=0),
        "channel_max_error": np.abs(q - f).max(axis=0),
        "channel_gain": [
            a @ b / (a @ a) if a.any() else 0.0 for a, b in zip(f.T, q.T, strict=True)
        ],
    }


def ratio_db(signal, noise):
    """Signal over noise in dB."""
    with np.errstate(divide="ignore"):
        return math.inf if noise == 0 else float(10 * np.log10(signal / noise))


def cosine(f, q):
    """Cosine of two vectors; of two that are zero 1, of one that is 0."""
    lengths = np.linalg.norm(f) * np.linalg.norm(q)
    return f @ q / lengths if lengths else float(not f.any() and not q.any())


def measured(sums):
    """The same measurements of a record."""
    error = sums.tensor_error
    names = (
        *("sqnr_db", "mse", "mean_error", "max_error", "cosine"),
        *("saturated_low", "saturated_high"),
    )
    found = {name: getattr(error, name) for name in (*names, "used_levels")}
    for name in (*names, "used_levels", "gain"):
        found[f"channel_{name}"] = getattr(error.channels, name)
    return found


def assert_same(found, expected):
    """Two sets of measurements are the same but for the order of additions."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if value is None:
            assert found[name] is None
        else:
            np.testing.assert_allclose(found[name], value, rtol=1e-9, atol=1e-12, err_msg=name)


@st.composite
def tensors(draw, rows):
    """A tensor of the reference, and of the tested model, of 1 to 5 channels."""
    shape = (rows, draw(st.integers(1, 5)))
    reals = st.floats(-300, 300, width=32).filter(lambda real: abs(real) > 1e-9 or real == 0)
    values = draw(arrays.arrays(np.float32, shape, elements=reals))
    return values, draw(arrays.arrays(np.uint8, shape))


class TestByHand:
    """Numbers that a pencil gives."""

    def test_four_values(self):
        """Errors of 0, 0.5, -0.25 and 0."""
        error = error_of([0.0, 1.0, 2.25, -1.0], [2, 5, 6, 0])  # stand for 0, 1.5, 2, -1
        assert error.sqnr_db == pytest.approx(10 * math.log10(7.0625 / 0.3125))
        assert (error.mse, error.mean_error) == (0.3125 / 4, 0.25 / 4)
        assert error.max_error == 0.5
        assert error.cosine == pytest.approx(7.0 / math.sqrt(7.0625 * 7.25))
        assert error.used_levels == 4 / 256
        assert error.channels.gain == (pytest.approx(7.0 / 7.0625),)

    def test_signed_extremes(self):
        """The smallest and largest ``int8`` are exact with a zero point at either end."""
        for zero_point in (-128, 127):
            grid = Grid(0.25, zero_point, -128, 127)
            values = [(code - zero_point) / 4 for code in (-128, -1, 0, 127)]
            assert error_of(values, [-128, -1, 0, 127], np.int8, grid).mse == 0

    def test_equal(self):
        """The ratio of equal values is infinite, also where all are 0; they point one way."""
        for values, codes in (([0.5, 1.0], [3, 4]), ([0.0], [2])):
            error = error_of(values, codes)
            assert (error.sqnr_db, error.cosine) == (math.inf, pytest.approx(1.0))

    def test_no_signal(self):
        """Noise where the reference has nothing but 0 is a ratio of minus infinity."""
        error = error_of([0.0, 0.0], [2, 3])
        assert (error.sqnr_db, error.cosine) == (-math.inf, 0.0)
        assert error.channels.gain == (0.0,)

    def test_saturated(self):
        """Half a step outside the grid is still rounded onto it; more, on either side, is cut."""
        values = [-1.25, -1.2500001, 126.75, 126.75001, 0.0, 1000.0, -7.0, -8.0]
        error = error_of(values, [0, 0, 255, 255, 2, 255, 0, 0])
        assert (error.saturated_low, error.saturated_high) == (3 / 8, 2 / 8)
        assert error.saturated_share == 5 / 8

    def test_channels(self):
        """A channel that is doubled, one that is off by a step and one that is right."""
        sums = sums_of([[1.0, 4.0, 2.0], [2.0, 5.0, 3.0]], [[6, 11, 6], [10, 13, 8]])
        channels = sums.tensor_error.channels
        assert channels.gain == pytest.approx((2.0, (4 * 4.5 + 5 * 5.5) / 41, 1.0))
        assert channels.mean_error == (1.5, 0.5, 0.0)
        assert channels.max_error == (2.0, 0.5, 0.0)
        assert channels.sqnr_db[2] == math.inf
        assert channels.mse == (2.5, 0.25, 0.0)
        assert channels.cosine == pytest.approx((1.0, 45.5 / math.sqrt(41 * 50.5), 1.0))

    def test_saturated_channels(self):
        """What lies beyond the grid counts for its own channel, and adding up is exact."""
        values = [[-1.25, 130.0, 0.0], [-1.5, 127.0, 0.0], [-9.0, -2.0, 0.0], [0.0, 126.75, 0.0]]
        sums = sums_of(values, np.full((4, 3), 2))
        channels = sums.tensor_error.channels
        assert channels.saturated_low == (2 / 4, 1 / 4, 0.0)
        assert channels.saturated_high == (0.0, 2 / 4, 0.0)
        assert channels.saturated_share == (2 / 4, 3 / 4, 0.0)
        twice = sums + sums_of(np.zeros((3, 3)), np.full((3, 3), 2)) + sums
        assert twice.saturated_low.tolist() == [4, 2, 0]
        assert twice.saturated_high.tolist() == [0, 4, 0]
        assert twice.tensor_error.channels.saturated_low == (4 / 11, 2 / 11, 0.0)

    def test_sixteen_bits(self):
        """The levels of a 16-bit grid are not counted."""
        assert error_of([0.001, 1.0], [1, 1000], np.int16, WIDE).used_levels is None

    def test_not_finite(self):
        """Values that are not finite are told, without a warning."""
        for value in (np.inf, -np.inf, np.nan):
            assert not sums_of([[value, 1.0]], [[4, 4]]).finite
        assert sums_of([[3.0, 1.0]], [[4, 4]]).finite


class TestHistogram:
    """Where the reference's values lie on the grid."""

    def test_bins(self):
        """The counts of numpy with ends that are open."""
        values = np.random.default_rng(6).normal(60, 90, (500, 3)).astype(np.float32)
        histogram = sums_of(values, np.zeros((500, 3))).histogram
        edges = np.linspace(histogram.minimum, histogram.maximum, BINS + 1)
        edges[[0, -1]] = -np.inf, np.inf
        assert list(histogram.counts) == np.histogram(values, edges)[0].tolist()
        assert histogram.counts[0] > 0 < histogram.counts[-1]

    def test_middle_half(self):
        """The middle half of the bins is the grid: each holds as many of its values."""
        grid_values = 0.5 * (np.arange(256) - 2.0)
        counts = sums_of(grid_values[:, None], np.zeros((256, 1))).histogram.counts
        assert counts == (0,) * 16 + (8,) * 32 + (0,) * 16
        assert bin_ends(HALVES) == (-1.25 - 64, 126.75 + 64)


class TestWhole:
    """Tensors as they are."""

    @given(tensors(rows=9))
    def test_formulas(self, pair):
        """Every measurement is what its formula gives on the whole array."""
        assert_same(measured(error_sums(*pair, HALVES)), by_formula(*pair, HALVES))

    @pytest.mark.parametrize("channels", [1, 3, 28, 700])
    def test_large_and_cut_out(self, channels):
        """A cut-out of a tensor larger than a chunk gives what numpy gives in one go."""
        random = np.random.default_rng(channels)
        height = 20 + 90_000 // (110 * channels)
        shape = (1, height, 110, channels)
        values = random.normal(5, 40, shape).astype(np.float32)[:, 5:-3, 7:-1]
        codes = random.integers(0, 256, shape, np.uint8)[:, 5:-3, 7:-1]
        sums = error_sums(values, codes, HALVES)
        assert_same(measured(sums), by_formula(values, codes, HALVES))
        assert (sums.minimum, sums.maximum) == (values.min(), values.max())
        assert sum(sums.histogram.counts) == values.size
        for found, own in zip(sums.levels, codes.reshape(-1, codes.shape[-1]).T, strict=True):
            assert found.tolist() == np.bincount(own, minlength=256).tolist()

    def test_shapes(self):
        """Tensors of different shapes, or without values, are refused."""
        for values, codes in ((np.zeros((2, 3)), np.zeros((3, 2))), (np.zeros((0, 3)),) * 2):
            with pytest.raises(ValueError, match="to be compared"):
                sums_of(values, codes)


class TestParts:
    """Sums of parts are sums of the whole."""

    @settings(max_examples=50)
    @given(tensors(rows=12), st.integers(1, 11))
    def test_two_parts(self, pair, cut):
        """The sums of two parts, added, are those of the whole."""
        whole = error_sums(*pair, HALVES)
        first, second = (
            error_sums(*(one[rows] for one in pair), HALVES)
            for rows in (slice(cut), slice(cut, None))
        )
        total = first + second
        assert_same(measured(total), measured(whole))
        assert total.histogram == whole.histogram
        assert (total.minimum, total.maximum) == (whole.minimum, whole.maximum)
        assert (total.count, total.levels.tolist()) == (whole.count, whole.levels.tolist())
        assert total.saturated_low.tolist() == whole.saturated_low.tolist()
        assert total.saturated_high.tolist() == whole.saturated_high.tolist()

    def test_other_grid(self):
        """Sums on different grids, or of other channels, are not added."""
        sums = sums_of([[1.0]], [[4]])
        for other in (sums_of([[1.0]], [[4]], np.int16, WIDE), sums_of([[1.0, 2.0]], [[4, 4]])):
            with pytest.raises(ValueError, match="cannot be added"):
                sums + other

    def test_many_tensors(self):
        """Sums by tensor are added up tensor by tensor, also those that a part lacks."""
        one, other = sums_of([[1.0]], [[4]]), sums_of([[3.0]], [[7]])
        total = added([{1: one}, {2: other}, {1: other, 2: one}])
        assert [total[index].count for index in (1, 2)] == [2, 2]
        assert total[1].signal == total[2].signal == 10.0
        assert added([]) == {}
