"""Crops and orientations."""

import numpy as np
import pytest
import skimage.data
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from qsr.data.augment import cut, flip_and_turn, keeps_rows

PHOTOGRAPH = skimage.data.astronaut()[20:44, 170:194]


def noise(height, width):
    """Make an image in which no pixel resembles its neighbours."""
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def repeated(image, scale):
    """Enlarge by repeating pixels: whatever is cut out of both must still be repeated pixels."""
    return image.repeat(scale, axis=0).repeat(scale, axis=1)


class TestCut:
    """Crops."""

    @given(
        height=st.integers(4, 12),
        width=st.integers(4, 12),
        size=st.integers(1, 4),
        scale=st.integers(2, 4),
        data=st.data(),
    )
    def test_aligned(self, height, width, size, scale, data):
        """Both crops are squares of the asked size at the asked place, and show the same pixels."""
        lr = noise(height, width)
        top = data.draw(st.integers(0, height - size))
        left = data.draw(st.integers(0, width - size))
        lr_patch, hr_patch = cut(
            lr, repeated(lr, scale), top=top, left=left, lr_size=size, scale=scale
        )
        box = Image.fromarray(lr).crop((left, top, left + size, top + size))
        assert np.array_equal(lr_patch, np.asarray(box))
        assert np.array_equal(hr_patch, repeated(lr_patch, scale))

    def test_views(self):
        """Nothing is copied."""
        lr, hr = noise(6, 6), noise(12, 12)
        lr_patch, hr_patch = cut(lr, hr, top=1, left=2, lr_size=4, scale=2)
        assert np.shares_memory(lr_patch, lr)
        assert np.shares_memory(hr_patch, hr)


class TestOrientation:
    """Flips and quarter turns."""

    @pytest.mark.parametrize(
        ("orientation", "steps"),
        [
            (0, []),
            (1, [Image.Transpose.ROTATE_90]),
            (2, [Image.Transpose.ROTATE_180]),
            (3, [Image.Transpose.ROTATE_270]),
            (4, [Image.Transpose.FLIP_LEFT_RIGHT]),
            (5, [Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.ROTATE_90]),
            (6, [Image.Transpose.FLIP_TOP_BOTTOM]),
            (7, [Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.ROTATE_270]),
        ],
    )
    def test_pillow(self, orientation, steps):
        """Each orientation is what Pillow's flips and turns give."""
        expected = Image.fromarray(PHOTOGRAPH)
        for step in steps:
            expected = expected.transpose(step)
        assert np.array_equal(flip_and_turn(PHOTOGRAPH, orientation), np.asarray(expected))

    def test_distinct(self):
        """The eight orientations differ from each other."""
        assert len({flip_and_turn(PHOTOGRAPH, index).tobytes() for index in range(8)}) == 8

    @pytest.mark.parametrize("orientation", range(8))
    def test_aligned(self, orientation):
        """LR and HR that were turned alike still show the same pixels."""
        turned = flip_and_turn(PHOTOGRAPH, orientation)
        assert np.array_equal(
            flip_and_turn(repeated(PHOTOGRAPH, 3), orientation), repeated(turned, 3)
        )

    @pytest.mark.parametrize("orientation", range(8))
    def test_rows(self, orientation):
        """Exactly the orientations that keep rows have every row of the image, as it runs."""
        rows = {row.tobytes() for row in PHOTOGRAPH}
        turned = flip_and_turn(PHOTOGRAPH, orientation)
        assert keeps_rows(orientation) == ({row.tobytes() for row in turned} == rows)

    def test_view(self):
        """Nothing is copied."""
        for orientation in range(8):
            assert np.shares_memory(flip_and_turn(PHOTOGRAPH, orientation), PHOTOGRAPH)
