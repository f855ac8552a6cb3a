"""What a table of ranges says, against loops over hand-made numbers."""

import numpy as np
import pytest

from qsr.calibration.audit import (
    FINER,
    error_change_db,
    extremes,
    halves_difference,
    narrower_by,
    saturations,
    scaled,
    squared_errors,
    with_margin,
    without_each,
)
from qsr.calibration.ranges import Ranges, RangeTable
from qsr.calibration.saturation import Saturation


def table_of(**images):
    """Return a table of the given images: name to a (minimum, maximum) per tensor."""
    spans = np.array(list(images.values()), np.float32)
    return RangeTable(
        "model",
        "exact",
        tuple(images),
        tuple(images),
        tuple(f"tensor{column}" for column in range(spans.shape[1])),
        spans[..., 0],
        spans[..., 1],
        {},
    )


def holding_zero(ranges):
    """Give grids as the quantizer does for tensors that share none."""
    return Ranges(ranges.tensors, np.minimum(ranges.minimum, 0), np.maximum(ranges.maximum, 0))


def ranges_of(*spans):
    """Return ranges of numbered tensors."""
    low, high = np.array(spans, np.float32).T
    return Ranges(tuple(f"tensor{column}" for column in range(len(spans))), low, high)


@pytest.fixture
def table():
    """Four images: ``far`` alone reaches 4; ``low`` alone reaches -2; tensor 1 is theirs all."""
    return table_of(
        near=[(-1, 1), (0, 5), (3, 3)],
        far=[(-1, 4), (0, 5), (3, 3)],
        low=[(-2, 1), (0, 5), (3, 3)],
        middle=[(-0.5, 2), (0, 4), (3, 3)],
    )


class TestExtremes:
    """Which image sets an end."""

    def test_ends(self, table):
        """Each end has its image, where the next image ends, and the median."""
        minimum, maximum = extremes(table)[0]
        assert (minimum.value, minimum.image, minimum.runner_up) == (-2, "low", -1)
        assert minimum.median == pytest.approx(np.median([-1, -1, -2, -0.5]))
        assert (maximum.value, maximum.image, maximum.runner_up) == (4, "far", 2)
        assert maximum.median == pytest.approx(1.5)

    def test_shared_end(self, table):
        """An end that several images reach is the first one's, and its runner-up as far."""
        _, maximum = extremes(table)[1]
        assert (maximum.value, maximum.image, maximum.runner_up) == (5, "near", 5)

    def test_one_image(self):
        """One image has no runner-up."""
        minimum, maximum = extremes(table_of(only=[(-1, 2)]))[0]
        assert (minimum.runner_up, maximum.runner_up) == (None, None)
        assert (minimum.median, maximum.median) == (-1, 2)


class TestWithout:
    """What dropping an image does."""

    def test_as_measured_again(self):
        """Each image that matters is there, with the grids that the others alone give."""
        random = np.random.default_rng(3)
        ends = np.sort(random.normal(size=(12, 5, 2)), axis=-1)
        table = table_of(**{f"image{row}": list(map(tuple, ends[row])) for row in range(12)})
        found = {one.image: one for one in without_each(table, holding_zero)}
        whole = holding_zero(table.merged())
        assert 0 < len(found) < 12
        for name in table.images:
            rest = holding_zero(table.merged([other for other in table.images if other != name]))
            width = rest.maximum - rest.minimum
            expected = 1 - width / (whole.maximum - whole.minimum)
            if name in found:
                assert np.array_equal(found[name].grids.maximum, rest.maximum)
                assert np.array_equal(found[name].grids.minimum, rest.minimum)
                np.testing.assert_allclose(found[name].narrower, expected, atol=1e-6)
            else:
                assert not expected.any()

    def test_shared_ends(self, table):
        """An image whose ends others reach too changes nothing, and is left out."""
        assert [one.image for one in without_each(table, holding_zero)] == ["far", "low"]

    def test_one_image(self):
        """One image alone cannot be dropped."""
        assert without_each(table_of(only=[(-1, 2)]), holding_zero) == ()

    def test_no_width(self):
        """A grid of no width gets no narrower; one that gets wider counts below zero."""
        before, after = ranges_of((0, 0), (0, 2)), ranges_of((0, 1), (-1, 2))
        assert narrower_by(before, after).tolist() == [0, -0.5]


class TestHalves:
    """How unstable a set is."""

    def test_two_images(self):
        """The halves of two images are the images, in any split."""
        table = table_of(one=[(0, 4), (0, 0)], two=[(0, 3), (0, 0)])
        found = halves_difference(table, holding_zero, splits=5, seed=0)
        np.testing.assert_allclose(found, [[0.25, 0]] * 5)

    def test_one_far_image(self):
        """What one image alone reaches differs in every split; what all reach in none."""
        table = table_of(
            **{f"image{row}": [(0, 1), (0, 1)] for row in range(9)}, far=[(0, 4), (0, 1)]
        )
        found = halves_difference(table, holding_zero, splits=7, seed=1)
        np.testing.assert_allclose(found, [[0.75, 0]] * 7)

    def test_seed(self):
        """A seed gives the same splits again; every image is in one half or the other."""
        random = np.random.default_rng(5)
        table = table_of(**{f"image{row}": [(0, random.random())] for row in range(9)})
        halves = []

        def spy(ranges):
            halves.append(float(ranges.maximum[0]))
            return holding_zero(ranges)

        first = halves_difference(table, spy, splits=8, seed=2)
        again = halves_difference(table, holding_zero, splits=8, seed=2)
        assert np.array_equal(first, again)
        largest = float(table.maximum.max())
        assert all(largest in halves[at : at + 2] for at in range(0, len(halves), 2))
        assert len(np.unique(first)) > 1


class TestErrors:
    """The errors of saturation and rounding."""

    @pytest.fixture
    def values(self):
        """The activations of one tensor on two images, heavy in the tails."""
        random = np.random.default_rng(8)
        return random.laplace(size=(2, 3000)).astype(np.float32)

    @pytest.fixture
    def grids(self):
        """A grid that cuts some of them off."""
        return ranges_of((-3, 4))

    @pytest.fixture
    def measured(self, values, grids):
        """What a run would have counted: the grid, then the narrower ones."""
        sets = [with_margin(grids), *(with_margin(scaled(grids, share)) for share in FINER)]
        low = np.array([one.minimum for one in sets])[None, :, :]
        high = np.array([one.maximum for one in sets])[None, :, :]
        exact = values.astype(np.float64)[:, None, :]
        beyond = exact - np.clip(exact, low, high)
        return Saturation(
            images=("a", "b"),
            tensors=grids.tensors,
            values=np.full((2, 1), values.shape[1]),
            below=(beyond < 0).sum(axis=-1)[..., None],
            above=(beyond > 0).sum(axis=-1)[..., None],
            excess=(beyond**2).sum(axis=-1)[..., None],
        )

    def test_margin(self):
        """What rounds to an end of the grid is not cut off: half a step at either side."""
        limits = with_margin(ranges_of((-1, 254)))
        assert (limits.minimum[0], limits.maximum[0]) == (-1.5, 254.5)

    def test_as_quantized(self, values, grids, measured):
        """Both errors together are, nearly, the error of the values on the grid."""
        step = 7 / 255
        quantized = np.clip(np.rint((values + 3) / step), 0, 255) * step - 3
        clipped, rounding = squared_errors(measured, 0, grids)
        expected = np.mean((quantized - values.astype(np.float64)) ** 2)
        assert clipped[0] + rounding[0] == pytest.approx(expected, rel=0.02)

    def test_rounding(self, values, measured):
        """On a grid that holds every value, the error of rounding is all there is."""
        wide = ranges_of((-30, 30))
        step = 60 / 255
        rounded = np.rint((values + 30) / step) * step - 30
        _, rounding = squared_errors(measured, 0, wide)
        expected = np.mean((rounded - values.astype(np.float64)) ** 2)
        assert rounding[0] == pytest.approx(expected, rel=0.05)

    def test_rows(self, measured, grids):
        """Over some images, the error is that of these alone."""
        alone = squared_errors(measured, 0, grids, rows=[1])[0]
        assert alone[0] == measured.excess[1, 0, 0] / 3000

    def test_shares(self, values, grids, measured):
        """Shares and the worst image are those of a plain count."""
        (found,) = saturations(measured, grids, tuple(enumerate(FINER, start=1)))
        half = 7 / 255 / 2
        assert found.below_share == pytest.approx((values < -3 - half).mean())
        assert found.above_share == pytest.approx((values > 4 + half).mean())
        assert found.share == found.below_share + found.above_share
        per_image = ((values < -3 - half) | (values > 4 + half)).mean(axis=1)
        assert found.worst_share == pytest.approx(per_image.max())
        assert found.worst_image == "ab"[per_image.argmax()]

    def test_best_width(self, values):
        """The best width is that at which the quantized values are closest, when all are tried."""
        wide = ranges_of((-40, 40))
        sets = [scaled(wide, share) for share in (1, *FINER)]
        low = np.array([with_margin(one).minimum for one in sets])[None]
        high = np.array([with_margin(one).maximum for one in sets])[None]
        exact = values.astype(np.float64)[:, None, :]
        beyond = exact - np.clip(exact, low, high)
        measured = Saturation(
            ("a", "b"),
            wide.tensors,
            np.full((2, 1), 3000),
            (beyond < 0).sum(axis=-1)[..., None],
            (beyond > 0).sum(axis=-1)[..., None],
            (beyond**2).sum(axis=-1)[..., None],
        )
        (found,) = saturations(measured, wide, tuple(enumerate(FINER, start=1)))
        assert found.best_width == 0.5
        assert found.gain_db == pytest.approx(20 * np.log10(2), abs=0.01)
        assert found.clipped_to_rounding == 0

    def test_nothing_to_gain(self, grids, measured):
        """A grid that cuts off much already is best at its own width."""
        (found,) = saturations(measured, grids, tuple(enumerate(FINER, start=1)))
        assert (found.best_width, found.gain_db) == (1.0, 0.0)
        assert found.clipped_to_rounding > 1

    def test_change(self):
        """Ten times the error is 10 dB more; none before and after is no change."""
        before = (np.array([1.0, 0.0]), np.array([1.0, 0.0]))
        after = (np.array([15.0, 0.0]), np.array([5.0, 0.0]))
        np.testing.assert_allclose(error_change_db(before, after), [10, 0])

    def test_dead(self):
        """A tensor that is 0 on the set but not on held-out images is all saturation."""
        measured = Saturation(
            ("a",),
            ("tensor0",),
            np.array([[10]]),
            np.zeros((1, 1, 1), np.int64),
            np.full((1, 1, 1), 4),
            np.full((1, 1, 1), 2.0),
        )
        (found,) = saturations(measured, ranges_of((0, 0)), ())
        assert (found.share, found.clipped_to_rounding) == (0.4, np.inf)
