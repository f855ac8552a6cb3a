"""What is said of one picture by two models, on planted differences."""

import math

import numpy as np
import pytest
import skimage.data
from skimage.metrics import peak_signal_noise_ratio

from qsr.analysis.pictures import picture_error
from qsr.analysis.worst_crop import CROP_SIDE, worst_crop
from qsr.errors import ImageError


@pytest.fixture
def photograph():
    """A photograph whose values can be moved by a few steps: (120, 144, 3)."""
    return np.clip(skimage.data.astronaut()[20:140, 170:314], 20, 230)


def test_same(photograph):
    """Equal pictures have no error of any kind."""
    error = picture_error("same", photograph, photograph.copy(), photograph)
    assert error.name == "same"
    assert error.between_db == error.reference_psnr_db == error.tested_psnr_db == math.inf
    assert (error.drop_db, error.largest_difference) == (0, 0)
    assert error.colour_shift == (0, 0, 0)
    assert (error.banding.flattened_share, error.banding.contrast) == (0, 1)
    assert error.worst_crop.mse == 0
    assert {error.regions.flat, error.regions.texture, error.regions.edge} == {0}


@pytest.mark.parametrize("offset", [-7, 1, 12])
def test_colour_shift(photograph, offset):
    """A constant offset in one channel is that channel's shift, exactly, and no other's."""
    tested = photograph.copy()
    tested[..., 1] = (tested[..., 1].astype(int) + offset).astype(np.uint8)
    error = picture_error("green", photograph, tested, None)
    assert error.colour_shift == (0, offset, 0)
    assert error.largest_difference == abs(offset)
    assert error.between_db == pytest.approx(10 * math.log10(255**2 * 3 / offset**2))
    for region in (error.regions.flat, error.regions.texture, error.regions.edge):
        assert region == pytest.approx(offset**2 / 3)
    assert error.banding.flattened_share == 0


def test_against_original(photograph):
    """PSNR against the original leaves out one pixel, as scikit-image has it; drop is their gap."""
    random = np.random.default_rng(5)
    noisy = [
        np.clip(photograph + random.normal(0, sigma, photograph.shape), 0, 255).astype(np.uint8)
        for sigma in (4, 9)
    ]
    error = picture_error("noisy", *noisy, photograph)
    expected = [
        peak_signal_noise_ratio(photograph[1:-1, 1:-1], picture[1:-1, 1:-1]) for picture in noisy
    ]
    assert [error.reference_psnr_db, error.tested_psnr_db] == pytest.approx(expected)
    assert error.drop_db == pytest.approx(expected[0] - expected[1])
    assert error.between_db == pytest.approx(peak_signal_noise_ratio(*noisy))


def test_without_original(photograph):
    """Without an original there is nothing to measure a drop against."""
    error = picture_error("alone", photograph, photograph, None)
    assert (error.reference_psnr_db, error.tested_psnr_db, error.drop_db) == (None, None, None)


def test_drop_is_finite(photograph):
    """A picture that equals its original counts as 100 dB in the drop."""
    off = photograph + np.uint8(1)
    error = picture_error("best", off, photograph, photograph)
    assert error.tested_psnr_db == math.inf
    assert error.drop_db == pytest.approx(20 * math.log10(255) - 100)


def test_damaged_square(photograph):
    """The worst crop holds the whole of a damaged square, and only its error."""
    tested = photograph.copy()
    tested[70:90, 95:120] += np.uint8(20)
    crop = picture_error("damaged", photograph, tested, None).worst_crop
    assert crop.side == CROP_SIDE
    assert crop.top <= 70
    assert crop.top + crop.side >= 90
    assert crop.left <= 95
    assert crop.left + crop.side >= 120
    assert crop.mse == pytest.approx(400 * 20 * 25 / CROP_SIDE**2)


@pytest.mark.parametrize("shape", [(61, 83), (48, 90), (90, 48), (48, 48), (20, 90), (7, 5)])
def test_worst_of_all_crops(shape):
    """No other square of that size has a larger error; the first of equals is taken."""
    squares = np.random.default_rng(shape).integers(0, 4, shape).astype(np.uint32) * 65_025
    side = min(CROP_SIDE, *shape)
    sums = {
        (top, left): int(squares[top : top + side, left : left + side].sum())
        for top in range(shape[0] - side + 1)
        for left in range(shape[1] - side + 1)
    }
    crop = worst_crop(squares)
    assert (crop.top, crop.left) == max(sums, key=sums.get)
    assert crop.mse == pytest.approx(max(sums.values()) / (3 * side**2))
    assert crop.side == side


def test_largest_squares():
    """Black against white everywhere is 65 025 squared steps, in the first of all crops."""
    black, white = np.zeros((60, 60, 3), np.uint8), np.full((60, 60, 3), 255, np.uint8)
    error = picture_error("inverted", black, white, None)
    assert (error.worst_crop.top, error.worst_crop.left) == (0, 0)
    assert error.worst_crop.mse == error.regions.flat == 65_025
    assert error.colour_shift == (255, 255, 255)


def test_too_small():
    """A picture of which shaving leaves nothing is refused by name."""
    two = np.zeros((2, 30, 3), np.uint8)
    with pytest.raises(ImageError, match=r"thin: 30x2 pixels .* too small"):
        picture_error("thin", two, two, None)
    three = np.zeros((3, 3, 3), np.uint8)
    assert picture_error("least", three, three, three).worst_crop.side == 3
