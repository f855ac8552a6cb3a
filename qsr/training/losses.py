"""Training losses."""

from typing import TYPE_CHECKING

from qsr.metrics import LUMA

if TYPE_CHECKING:
    import tensorflow as tf

_LUMA = LUMA / LUMA.sum()


def charbonnier(hr: "tf.Tensor", sr: "tf.Tensor", *, epsilon: float) -> "tf.Tensor":
    """Return the mean of ``sqrt((sr - hr)^2 + epsilon^2)``, the smooth L1 (XCAT, section 3.2).

    Args:
        hr: target, ``(N, H, W, 3)`` ``float32`` in [0, 1].
        sr: prediction, of the same shape.
        epsilon: 0.1 in the paper.

    Returns:
        A scalar.
    """
    import tensorflow as tf

    return tf.reduce_mean(tf.sqrt(tf.square(sr - hr) + epsilon**2))


def mse(hr: "tf.Tensor", sr: "tf.Tensor", *, luminance_weight: float = 0.0) -> "tf.Tensor":
    """Return the mean squared error of ``(N, H, W, 3)`` pictures in [0, 1], a scalar.

    Args:
        hr: target, ``float32``.
        sr: prediction, of the same shape.
        luminance_weight: from 0 to 1: how much of the result is the mean squared error of luminance
            (BT.601, as :func:`qsr.metrics.rgb_to_y` but for its scale: a grey error counts the
            same in both parts), which benchmarks are scored in; the rest is that of RGB.
    """
    import tensorflow as tf

    error = sr - hr
    rgb = tf.reduce_mean(tf.square(error))
    if not luminance_weight:
        return rgb
    luminance = tf.reduce_sum(error * tf.constant(_LUMA, error.dtype), axis=-1)
    return (1 - luminance_weight) * rgb + luminance_weight * tf.reduce_mean(tf.square(luminance))


def mae(hr: "tf.Tensor", sr: "tf.Tensor") -> "tf.Tensor":
    """Return the mean absolute error of ``(N, H, W, 3)`` pictures in [0, 1], a scalar."""
    import tensorflow as tf

    return tf.reduce_mean(tf.abs(sr - hr))
