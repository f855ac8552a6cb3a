"""Crops, orientations and intensities."""

from collections import Counter

import numpy as np
import pytest
import skimage.data
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from qsr.data.augment import flip_and_turn, random_intensity, random_patch

PHOTOGRAPH = skimage.data.astronaut()[20:44, 170:194]


def noise(height, width):
    """Make an image in which no pixel resembles its neighbours."""
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def repeated(image, scale):
    """Enlarge by repeating pixels: whatever is cut out of both must still be repeated pixels."""
    return image.repeat(scale, axis=0).repeat(scale, axis=1)


class TestPatch:
    """Random crops."""

    @given(
        height=st.integers(4, 12),
        width=st.integers(4, 12),
        size=st.integers(1, 4),
        scale=st.integers(2, 4),
        seed=st.integers(0, 2**32),
    )
    def test_aligned(self, height, width, size, scale, seed):
        """Both crops are squares of the asked size, and show the same pixels."""
        lr = noise(height, width)
        random = np.random.default_rng(seed)
        lr_patch, hr_patch = random_patch(random, lr, repeated(lr, scale), lr_size=size)
        assert lr_patch.shape == (size, size, 3)
        assert np.array_equal(hr_patch, repeated(lr_patch, scale))

    def test_everywhere(self):
        """Crops come from everywhere, edges included, and from nowhere more often."""
        lr = np.zeros((5, 6, 3), np.uint8)
        lr[..., 0], lr[..., 1] = np.mgrid[:5, :6]
        random = np.random.default_rng(1)
        seen = Counter(
            tuple(random_patch(random, lr, repeated(lr, 2), lr_size=3)[0][0, 0, :2].tolist())
            for _ in range(2400)
        )
        assert set(seen) == {(top, left) for top in range(3) for left in range(4)}
        assert min(seen.values()) > 140  # 200 expected, 14 is one standard deviation
        assert max(seen.values()) < 260

    def test_views(self):
        """Nothing is copied."""
        lr, hr = noise(6, 6), noise(12, 12)
        lr_patch, hr_patch = random_patch(np.random.default_rng(2), lr, hr, lr_size=4)
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


class TestIntensity:
    """Factors of brightness."""

    def test_drawn(self):
        """Every factor is drawn about as often as the others, and nothing else is."""
        drawn = random_intensity(np.random.default_rng(3), 3000, (1.0, 0.7, 0.5))
        assert drawn.shape == (3000,)
        assert drawn.dtype == np.float32
        counts = Counter(drawn.tolist())
        assert set(counts) == {1.0, float(np.float32(0.7)), 0.5}
        assert min(counts.values()) > 890  # 1000 expected, 26 is one standard deviation

    def test_one(self):
        """A single factor is drawn always."""
        assert random_intensity(np.random.default_rng(3), 5, (1.0,)).tolist() == [1.0] * 5
