"""Training losses."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf


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


def mse(hr: "tf.Tensor", sr: "tf.Tensor") -> "tf.Tensor":
    """Return the mean squared error of ``(N, H, W, 3)`` pictures in [0, 1], a scalar."""
    import tensorflow as tf

    return tf.reduce_mean(tf.square(sr - hr))


def mae(hr: "tf.Tensor", sr: "tf.Tensor") -> "tf.Tensor":
    """Return the mean absolute error of ``(N, H, W, 3)`` pictures in [0, 1], a scalar."""
    import tensorflow as tf

    return tf.reduce_mean(tf.abs(sr - hr))
