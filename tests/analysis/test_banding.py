"""Banding is seen where steps get fewer and higher, and only there."""

import numpy as np
import pytest
import skimage.data

from qsr.analysis.banding import banding
from qsr.analysis.pictures import picture_error

EVERYWHERE = np.ones((64, 256), bool)


@pytest.fixture
def sky():
    """A gradient that rises by one step every two pixels, slower from top to bottom."""
    rows, columns = np.mgrid[:64, :256]
    values = (columns // 2 + rows // 8 + 20).astype(np.uint8)
    return np.stack([values, values + 10, values + 60], axis=2)


def posterised(picture, levels):
    """Round down to every so many levels."""
    return picture // levels * levels


def test_not_posterised(sky):
    """A gradient that stays as it is has no banding."""
    found = picture_error("sky", sky, sky.copy(), None).banding
    assert (found.smooth_share, found.flattened_share, found.contrast) == (1, 0, 1)


@pytest.mark.parametrize("levels", [2, 4, 8])
def test_posterised(sky, levels):
    """One step is left of as many as there were levels, and as many times as high."""
    found = picture_error("sky", sky, posterised(sky, levels), None).banding
    assert found.smooth_share == 1
    assert found.flattened_share == pytest.approx(1 - 1 / levels, abs=0.03)
    assert found.contrast == pytest.approx(levels, rel=0.03)


@pytest.mark.parametrize("direction", [(0, 1), (1, 0)])
def test_each_direction(direction):
    """Banding is seen in a gradient from left to right as well as in one from top to bottom."""
    rows, columns = np.mgrid[:64, :64]
    values = rows * direction[0] + columns * direction[1] + 30
    slope = np.repeat(values.astype(np.uint8)[..., None], 3, axis=2)
    found = picture_error("slope", slope, posterised(slope, 4), None).banding
    assert found.flattened_share == pytest.approx(0.75, abs=0.02)
    assert found.contrast == pytest.approx(4)


def test_one_channel(sky):
    """Banding in one of three channels counts a third."""
    tested = sky.copy()
    tested[..., 2] = posterised(tested[..., 2], 4)
    found = banding(sky, tested, EVERYWHERE)
    assert found.flattened_share == pytest.approx(0.75 / 3, abs=0.02)


@pytest.mark.parametrize("rough", [np.s_[:, 128:], np.s_[:, :128], np.s_[:32], np.s_[32:]], ids=str)
def test_only_where_smooth(sky, rough):
    """What happens outside the smooth area, or on its border, is none of banding's business."""
    tested = sky.copy()
    tested[rough] = 0
    smooth = EVERYWHERE.copy()
    smooth[rough] = False
    found = banding(sky, tested, smooth)
    assert (found.smooth_share, found.flattened_share, found.contrast) == (0.5, 0, 1)


def test_shifted_and_noisy(sky):
    """Steps that move by a pixel, and noise of one step, are no banding."""
    moved = np.roll(sky, 1, axis=1)
    moved[:, 0] = moved[:, 1]
    assert banding(sky, moved, EVERYWHERE).flattened_share < 0.01
    noise = np.random.default_rng(1).integers(0, 2, sky.shape, np.uint8)
    assert banding(sky, sky + noise, EVERYWHERE).flattened_share == 0


def test_photograph():
    """A photograph's smooth areas show banding when posterised, and none with rounding noise."""
    photograph = skimage.data.astronaut()[:240, :240]
    noise = np.random.default_rng(4).integers(0, 2, photograph.shape, np.uint8)
    harmless = np.minimum(photograph, 250) + noise
    assert picture_error("noise", photograph, harmless, None).banding.flattened_share < 0.1
    harmful = picture_error("banded", photograph, posterised(photograph, 8), None).banding
    assert harmful.flattened_share > 0.5
    assert harmful.contrast > 2


def test_nothing_smooth(sky):
    """Without smooth areas there is no banding."""
    found = banding(sky, posterised(sky, 8), np.zeros_like(EVERYWHERE))
    assert (found.smooth_share, found.flattened_share, found.contrast) == (0, 0, 1)


def test_all_flattened(sky):
    """A gradient that becomes one plateau has lost every step, and has none to be higher."""
    found = banding(sky, np.zeros_like(sky), EVERYWHERE)
    assert (found.flattened_share, found.contrast) == (1, 1)
    back = banding(np.zeros_like(sky), sky, EVERYWHERE)
    assert (back.flattened_share, back.contrast) == (0, 1)
