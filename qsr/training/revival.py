"""Channels that a ReLU has silenced for good, given new weights.

A channel that is negative before its ReLU on every picture gets no gradient: it stays silent, and
its share of the network is lost, however long the training (Lu et al., 2020, "Dying ReLU and
Initialization"). High learning rates silence channels, and a small network misses each of them.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import tf_keras

_PICTURES_AT_ONCE = 64


def revive_dead_channels(
    model: "tf_keras.Model", lr: NDArray[np.uint8], *, seed: int
) -> dict[str, tuple[int, ...]]:
    """Draw the weights of silent channels anew, with the initializer of their layer; bias 0.

    Silent is a channel of a convolution with a ReLU that is 0 on every pixel of every picture. What
    reads the channel keeps its weights, so that the network's function changes.

    Args:
        model: the network; changed in place.
        lr: pictures ``(n, h, w, 3)`` ``uint8``, many and varied: what none of them wakes is silent.
        seed: of what is drawn.

    Returns:
        The name of each layer to the channels that were silent, layers without any left out.
    """
    import tf_keras

    layers = [layer for layer in model.layers if _is_rectified(layer)]
    if not layers:
        return {}
    reader = tf_keras.Model(model.input, [layer.output for layer in layers])
    largest = [np.zeros(layer.filters, np.float32) for layer in layers]
    for start in range(0, len(lr), _PICTURES_AT_ONCE):
        pictures = lr[start : start + _PICTURES_AT_ONCE].astype(np.float32) / np.float32(255)
        found = reader(pictures, training=False)
        for most, values in zip(largest, found if len(layers) > 1 else [found], strict=True):
            np.maximum(most, np.asarray(values).max(axis=(0, 1, 2)), out=most)
    revived = {}
    random = np.random.default_rng(seed)
    for layer, most in zip(layers, largest, strict=True):
        dead = np.flatnonzero(most == 0)
        if len(dead):
            _draw_anew(layer, dead, int(random.integers(2**31)))
            revived[layer.name] = tuple(dead.tolist())
    return revived


def _is_rectified(layer: "tf_keras.layers.Layer") -> bool:
    """Whether a layer is a convolution with a ReLU of its own, and trained."""
    import tf_keras

    return (
        isinstance(layer, tf_keras.layers.Conv2D)
        and not isinstance(layer, tf_keras.layers.Conv2DTranspose)
        and layer.activation is tf_keras.activations.relu
        and layer.trainable
    )


def _draw_anew(layer: "tf_keras.layers.Conv2D", channels: NDArray[np.intp], seed: int) -> None:
    """Give some output channels of a convolution fresh weights."""
    config = layer.kernel_initializer.get_config()
    if "seed" in config:
        config["seed"] = seed
    initializer = type(layer.kernel_initializer).from_config(config)
    kernel = layer.kernel.numpy()
    kernel[..., channels] = initializer(kernel.shape).numpy()[..., channels]
    layer.kernel.assign(kernel)
    if layer.use_bias:
        bias = layer.bias.numpy()
        bias[channels] = 0
        layer.bias.assign(bias)
