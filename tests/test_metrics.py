"""Image quality and challenge score, against scikit-image, published and hand-computed values."""

import math

import numpy as np
import pytest
import skimage.data
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.signal import convolve2d
from skimage.metrics import peak_signal_noise_ratio

from qsr.metrics import challenge_score, mse, psnr_db, rgb_to_y, ssim

PHOTOGRAPH = skimage.data.astronaut()[:120, 100:240]
NOISY = np.clip(
    PHOTOGRAPH + np.random.default_rng(0).normal(0, 12, PHOTOGRAPH.shape), 0, 255
).astype(np.uint8)

image_pairs = st.tuples(*[arrays(np.uint8, (6, 7, 3))] * 2)


def wang_ssim(a, b):
    """Mean SSIM of two planes by whole-window sums, as in the authors' formula."""
    x = np.arange(-5, 6)
    bell = np.exp(-(x**2) / (2 * 1.5**2))
    window = np.outer(bell, bell) / bell.sum() ** 2
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2

    def local_mean(plane):
        return convolve2d(plane, window, mode="valid")

    mean_a, mean_b = local_mean(a), local_mean(b)
    variance_a = local_mean(a * a) - mean_a**2
    variance_b = local_mean(b * b) - mean_b**2
    covariance = local_mean(a * b) - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    structure = (2 * covariance + c2) / (variance_a + variance_b + c2)
    return (luminance * structure).mean()


class TestLuminance:
    """BT.601 luminance in studio range."""

    @pytest.mark.parametrize(
        ("colour", "luminance"),
        [
            ((0, 0, 0), 16),
            ((255, 255, 255), 235),
            ((255, 0, 0), 81),
            ((0, 255, 0), 145),
            ((0, 0, 255), 41),
            ((255, 255, 0), 210),
            ((0, 255, 255), 170),
            ((255, 0, 255), 106),
        ],
    )
    def test_colour_bars(self, colour, luminance):
        """The corners of the colour cube have the 8-bit luminances of BT.601's 100% colour bars."""
        assert round(rgb_to_y(np.uint8([[colour]])).item()) == luminance

    def test_not_rounded(self):
        """Red, at 81.481, keeps its fraction."""
        assert rgb_to_y(np.uint8([255, 0, 0])) == pytest.approx(81.481)


class TestPsnr:
    """PSNR over RGB and luminance."""

    @given(images=image_pairs)
    def test_rgb_as_scikit_image(self, images):
        """Over RGB it equals scikit-image's PSNR, infinity included."""
        a, b = images
        with np.errstate(divide="ignore"):
            expected = peak_signal_noise_ratio(a, b, data_range=255)
        assert psnr_db(a, b) == pytest.approx(expected, rel=1e-12)

    @given(images=image_pairs)
    def test_luminance_as_scikit_image(self, images):
        """Over luminance it equals scikit-image's PSNR of the two luminance planes."""
        planes = [rgb_to_y(image) for image in images]
        assume(not np.array_equal(*planes))
        expected = peak_signal_noise_ratio(*planes, data_range=255)
        assert psnr_db(*images, channels="y") == pytest.approx(expected, rel=1e-9)

    @given(images=image_pairs)
    def test_floats_as_integers(self, images):
        """The same values as float32 or float64, on either side, give the same error."""
        a, b = images
        exact = mse(a, b)
        assert mse(a.astype(np.float32), b) == exact
        assert mse(a, b.astype(np.float64)) == exact

    def test_floats_not_rounded(self):
        """A quarter of a level everywhere counts as a quarter of a level."""
        assert mse(PHOTOGRAPH, PHOTOGRAPH + np.float32(0.25)) == 1 / 16

    @pytest.mark.parametrize("channels", ["rgb", "y"])
    def test_identical(self, channels):
        """Identical images are infinitely close."""
        assert psnr_db(PHOTOGRAPH, PHOTOGRAPH, channels=channels) == math.inf

    @pytest.mark.parametrize(("channels", "expected"), [("rgb", 48.1308), ("y", 49.4527)])
    def test_one_level(self, channels, expected):
        """One level everywhere is 20 log10 255 dB, and 20 log10(255^2 / 219) in luminance."""
        image = np.minimum(PHOTOGRAPH, 254)
        assert psnr_db(image, image + np.uint8(1), channels=channels) == pytest.approx(
            expected, abs=1e-3
        )

    def test_no_overflow(self):
        """Black against white, both ways and over a whole photograph's size, is 255 squared."""
        black = np.zeros((1356, 2040, 3), np.uint8)
        white = np.full_like(black, 255)
        assert mse(black, white) == mse(white, black) == 255**2

    @pytest.mark.parametrize("channels", ["rgb", "y"])
    def test_shave(self, channels):
        """Shaving is the same as cutting the borders off beforehand."""
        inner = np.s_[3:-3, 3:-3]
        assert psnr_db(PHOTOGRAPH, NOISY, shave=3, channels=channels) == psnr_db(
            PHOTOGRAPH[inner], NOISY[inner], channels=channels
        )


class TestSsim:
    """SSIM with its authors' settings."""

    def test_identical(self):
        """Identical images have SSIM 1."""
        assert ssim(PHOTOGRAPH, PHOTOGRAPH) == 1

    def test_luminance_as_published(self):
        """By default it is the published formula on the luminance, where the window fits."""
        expected = wang_ssim(rgb_to_y(PHOTOGRAPH)[3:-3, 3:-3], rgb_to_y(NOISY)[3:-3, 3:-3])
        assert ssim(PHOTOGRAPH, NOISY, shave=3) == pytest.approx(expected, rel=1e-9)

    def test_rgb_is_the_mean(self):
        """Over RGB it is the mean of the published formula on each channel."""
        a, b = PHOTOGRAPH.astype(float), NOISY.astype(float)
        expected = np.mean([wang_ssim(a[:, :, i], b[:, :, i]) for i in range(3)])
        assert ssim(PHOTOGRAPH, NOISY, channels="rgb") == pytest.approx(expected, rel=1e-9)

    def test_too_small(self):
        """Fewer pixels than the window, after shaving, are a ValueError."""
        with pytest.raises(ValueError, match="11 pixels"):
            ssim(PHOTOGRAPH[:16], NOISY[:16], shave=3)


@pytest.mark.parametrize("measure", [mse, psnr_db, ssim])
class TestArguments:
    """What every measure refuses, as ValueError."""

    def test_shapes_differ(self, measure):
        """Images of different shapes are never broadcast."""
        with pytest.raises(ValueError, match="different shapes"):
            measure(PHOTOGRAPH, PHOTOGRAPH[:1])

    def test_not_rgb(self, measure):
        """A single plane is not an image."""
        with pytest.raises(ValueError, match=r"\(H, W, 3\)"):
            measure(PHOTOGRAPH[:, :, 0], NOISY[:, :, 0])

    @pytest.mark.parametrize("shave", [-1, 60, 1000])
    def test_shave_out_of_range(self, measure, shave):
        """A negative shave, or one that leaves nothing, is refused."""
        with pytest.raises(ValueError, match=f"shaving {shave} pixels off 140 x 120"):
            measure(PHOTOGRAPH, NOISY, shave=shave)

    def test_unknown_channels(self, measure):
        """Channels other than "rgb" and "y" are refused rather than taken as either."""
        with pytest.raises(ValueError, match="'Y'"):
            measure(PHOTOGRAPH, NOISY, channels="Y")


class TestChallengeScore:
    """The challenge's score."""

    @pytest.mark.parametrize(
        ("psnr", "latency_ms", "published"),
        [
            (29.81, 320, 240),
            (29.84, 340, 235),
            (29.96, 780, 121),
            (29.45, 205, 228),
            (29.15, 298, 103),
        ],
    )
    def test_published(self, psnr, latency_ms, published):
        """Rows of Table 1 of the XCAT paper come out within what rounding of their PSNR leaves."""
        assert challenge_score(psnr, latency_ms) == pytest.approx(published, rel=0.01)

    def test_unit(self):
        """30 dB in 1 ms scores 100 000, by the formula."""
        assert challenge_score(30, 1) == pytest.approx(100_000)

    @pytest.mark.parametrize("latency_ms", [0, -1])
    def test_no_time(self, latency_ms):
        """A latency that is not above 0 is a ValueError."""
        with pytest.raises(ValueError, match="not above 0"):
            challenge_score(30, latency_ms)
