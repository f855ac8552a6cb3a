"""What a reader is shown of a picture: crops, their difference and a map of the errors."""

from dataclasses import fields
from io import BytesIO

import numpy as np
import pytest
import skimage.data
from PIL import Image

from qsr.analysis.error_map import LEAST_BLOCK, MAP_COLOURS, MAP_SIDE, error_map, map_palette
from qsr.analysis.panels import GREY, panels
from qsr.analysis.records import Crop
from qsr.analysis.worst_crop import CROP_SIDE


def pixels(png):
    """Decode a panel."""
    with Image.open(BytesIO(png)) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"))


@pytest.fixture
def models():
    """LR, the reference's and a tested model's picture, and the original, at x3."""
    hr = skimage.data.astronaut()[20:140, 170:314]
    lr = hr[1::3, 1::3].copy()
    reference = np.clip(np.repeat(np.repeat(lr, 3, axis=0), 3, axis=1), 10, 240)
    tested = reference.copy()
    tested[50:60, 70:80] += np.uint8(5)
    tested[61, 81, 0] -= np.uint8(3)
    return lr, reference, tested, hr


def test_crops(models):
    """Each crop is what its picture has there, and LR pixels lie where they were enlarged."""
    lr, reference, tested, hr = models
    crop = Crop(top=40, left=65, side=31, mse=0.0)
    drawn = panels(lr, reference, tested, crop, hr=hr)
    inside = np.s_[40:71, 65:96]
    enlarged = np.repeat(np.repeat(lr, 3, axis=0), 3, axis=1)
    assert (pixels(drawn.lr) == enlarged[inside]).all()
    assert (pixels(drawn.reference) == reference[inside]).all()
    assert (pixels(drawn.tested) == tested[inside]).all()
    assert (pixels(drawn.hr) == hr[inside]).all()
    assert panels(lr, reference, tested, crop).hr is None


def test_difference(models):
    """The difference is multiplied by the largest gain that clips nothing, around grey."""
    drawn = panels(*models[:3], Crop(top=40, left=60, side=48, mse=0.0))
    assert drawn.gain == 16
    shown = pixels(drawn.difference).astype(int)
    expected = np.full((48, 48, 3), GREY)
    expected[10:20, 10:20] += 16 * 5
    expected[21, 21, 0] -= 16 * 3
    assert (shown == expected).all()


@pytest.mark.parametrize(
    ("largest", "gain"),
    [(0, 32), (3, 32), (4, 16), (63, 2), (64, 1), (127, 1), (128, 0.5), (255, 0.5)],
)
def test_gain(largest, gain):
    """The gain follows the largest difference of either sign, and none is clipped."""
    one = np.zeros((8, 8, 3), np.uint8)
    other = one.copy()
    other[2, 3, 1] = largest
    for reference, tested, sign in [(one, other, 1), (other, one, -1)]:
        drawn = panels(one, reference, tested, Crop(0, 0, 8, 0.0))
        assert drawn.gain == gain
        shown = pixels(drawn.difference)
        assert shown[2, 3, 1] == np.floor(GREY + sign * gain * largest)
        assert shown[0, 0, 0] == GREY


@pytest.mark.parametrize(("scale", "block"), [(1, 4), (2, 4), (3, 6), (4, 4), (5, 5)])
def test_error_map(scale, block):
    """Each level is the mean absolute difference of a block of whole LR pixels, over the top."""
    random = np.random.default_rng(scale)
    reference, tested = random.integers(0, 256, (2, scale * 13, scale * 17, 3), np.uint8)
    found = error_map(reference, tested, scale=scale)
    assert found.block == block
    difference = np.abs(reference.astype(float) - tested)
    means = np.array(
        [
            [
                difference[top : top + block, left : left + block].mean()
                for left in range(0, difference.shape[1], block)
            ]
            for top in range(0, difference.shape[0], block)
        ]
    )
    assert found.top == pytest.approx(means.max())
    assert found.levels == pytest.approx(means / means.max() * 255, abs=0.501)


def test_small_differences_stay_dark():
    """Differences far below one step do not fill the map's colours."""
    reference = np.zeros((40, 40, 3), np.uint8)
    tested = reference.copy()
    tested[0, 0, 0] = 1
    found = error_map(reference, tested, scale=2)
    assert (found.block, found.top) == (LEAST_BLOCK, 1)
    assert found.levels[0, 0] == round(255 / 48)


def test_map_of_a_large_picture():
    """A map has no more than so many blocks a side, however large the picture."""
    large = np.zeros((3000, 900, 3), np.uint8)
    found = error_map(large, large, scale=3)
    assert max(found.levels.shape) <= MAP_SIDE
    assert found.block % 3 == 0


def test_colours():
    """The palette runs through the given colours, and gets lighter throughout."""
    palette = map_palette().astype(float)
    assert palette.shape == (256, 3)
    assert [tuple(palette[place]) for place in (0, 255)] == [MAP_COLOURS[0], MAP_COLOURS[-1]]
    assert palette[127:129].mean(axis=0) == pytest.approx(MAP_COLOURS[1], abs=1)
    linear = (palette / 255) ** 2.2
    assert (np.diff(linear @ [0.2126, 0.7152, 0.0722]) > 0).all()
    assert (np.diff(palette[:, :2].sum(axis=1)) >= 0).all()  # what a blue-blind eye goes by


def test_map_colours(models):
    """The map's file has the palette's colour of each block's level."""
    _, reference, tested, _ = models
    drawn = panels(*models[:3], Crop(0, 0, 48, 0.0))
    levels = error_map(reference, tested, scale=3).levels
    assert (drawn.map_block, drawn.map_top) == (6, pytest.approx(5))
    assert (pixels(drawn.error_map) == map_palette()[levels]).all()


def test_bounded():
    """The files of noise, the worst case for PNG, at the largest map stay below 150 kB."""
    random = np.random.default_rng(7)
    reference, tested = random.integers(0, 256, (2, 4 * MAP_SIDE, 4 * MAP_SIDE, 3), np.uint8)
    crop = Crop(top=0, left=0, side=CROP_SIDE, mse=0.0)
    drawn = panels(reference[::4, ::4], reference, tested, crop, hr=tested)
    assert pixels(drawn.error_map).shape == (MAP_SIDE, MAP_SIDE, 3)
    files = [getattr(drawn, field.name) for field in fields(drawn)]
    assert sum(len(file) for file in files if isinstance(file, bytes)) < 150_000
