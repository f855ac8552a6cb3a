"""Losses against numpy."""

import numpy as np
import pytest
import tensorflow as tf

from qsr.training.losses import charbonnier, mae, mse

RANDOM = np.random.default_rng(4)
HR = RANDOM.random((2, 6, 9, 3), np.float32)
SR = RANDOM.random((2, 6, 9, 3), np.float32)


@pytest.mark.parametrize("epsilon", [0.1, 0.5])
def test_charbonnier(epsilon):
    """Charbonnier is the mean of sqrt(x^2 + epsilon^2) over all values."""
    difference = SR.astype(np.float64) - HR
    expected = np.mean(np.sqrt(difference**2 + epsilon**2))
    assert float(charbonnier(HR, SR, epsilon=epsilon)) == pytest.approx(expected, rel=1e-6)


def test_charbonnier_by_hand():
    """A difference of 0.24 with epsilon 0.1 costs 0.26, since 24, 10 and 26 are Pythagorean."""
    hr = tf.fill((1, 2, 2, 3), 0.5)
    assert float(charbonnier(hr, hr + 0.24, epsilon=0.1)) == pytest.approx(0.26)
    assert float(charbonnier(hr, hr, epsilon=0.1)) == pytest.approx(0.1)


def test_mse():
    """MSE is the mean of the squared differences."""
    expected = np.mean((SR.astype(np.float64) - HR) ** 2)
    assert float(mse(HR, SR)) == pytest.approx(expected, rel=1e-6)


def test_luminance_by_hand():
    """An error of grey costs the same whatever the weight; one of blue alone, less in luminance."""
    grey = HR + np.float32(0.1)
    blue = HR + np.array([0, 0, 0.1], np.float32)
    for weight in (0.0, 0.75, 1.0):
        assert float(mse(HR, grey, luminance_weight=weight)) == pytest.approx(0.01, rel=1e-5)
        expected = (1 - weight) * 0.01 / 3 + weight * (0.1 * 24.966 / 219) ** 2
        assert float(mse(HR, blue, luminance_weight=weight)) == pytest.approx(expected, rel=1e-4)


def test_luminance_is_the_metric():
    """With all the weight on luminance, pictures rank as their PSNR in luminance ranks them."""
    from qsr.metrics import mse as metric

    pictures = [HR[0] + scale * (SR[0] - HR[0]) for scale in (0.1, 0.5, 1.0)]
    ratios = [
        float(mse(HR[:1], one[None], luminance_weight=1.0))
        / metric(255 * one, 255 * HR[0], channels="y")
        for one in pictures
    ]
    assert ratios == pytest.approx([ratios[0]] * 3, rel=1e-4)


def test_mae():
    """MAE is the mean of the absolute differences."""
    expected = np.mean(np.abs(SR.astype(np.float64) - HR))
    assert float(mae(HR, SR)) == pytest.approx(expected, rel=1e-6)
