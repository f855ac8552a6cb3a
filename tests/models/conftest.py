"""The networks of the paper's tables and of the zoo, each distinct one built once."""

from functools import cache

import numpy as np
import pytest


@pytest.fixture(scope="session")
def built():
    """Give the model of a config: the same fresh weights each time, and biases that are not 0."""
    import tf_keras

    from qsr.models.xcat import build_xcat

    models = {}

    def build(config):
        if config not in models:
            tf_keras.utils.set_random_seed(5)
            models[config] = build_xcat(config)
            random = np.random.default_rng(5)
            for weight in models[config].trainable_weights:
                if "bias" in weight.name:
                    weight.assign(random.normal(0, 0.1, weight.shape))
        return models[config]

    return build


@pytest.fixture(scope="session")
def upscaler():
    """Give a network of the zoo by name and scale, as Keras model: the picture and some noise.

    Where there is no anchor, the first three channels of every layer carry the picture.
    """
    import tf_keras

    from qsr.models.zoo import ZOO, build

    @cache
    def make(name, scale):
        model = build(name, ZOO[name].config(scale=scale))
        anchored = "anchor" in [layer.name for layer in model.layers]
        gain = 0.7 if anchored else 0.05
        random = np.random.default_rng(3)
        for weight in model.trainable_weights:
            fan_in = np.prod(weight.shape[:-1]) if len(weight.shape) == 4 else 400
            start = weight.numpy() if "alpha" in weight.name else 0
            weight.assign(start + random.normal(0, gain / np.sqrt(fan_in), weight.shape))
        if not anchored:
            for layer in model.layers:
                if isinstance(layer, tf_keras.layers.Conv2D):
                    _carry_picture(layer, scale)
        return model

    return make


def _carry_picture(layer, scale):
    """Let three channels of a convolution copy its first three; the last one enlarges them."""
    kernel, bias = layer.get_weights()
    height, width, *_ = kernel.shape
    if layer.name == "output_deconv":
        first = (height - scale) // 2  # of the taps that TensorFlow puts on the pixel's own block
        kernel[first : first + scale, first : first + scale, :, :3] += np.eye(3)
    else:
        copies = scale**2 if layer.name == "output_conv" else 1
        kernel[height // 2, width // 2, :3, : 3 * copies] += np.tile(np.eye(3), copies)
    layer.set_weights([kernel, bias])


@pytest.fixture(scope="session")
def float_upscaler(upscaler):
    """Give the float ``.tflite`` file of such a network."""
    from qsr.tflite.convert import convert_keras

    return cache(lambda name, scale: convert_keras(upscaler(name, scale)))


@pytest.fixture(scope="session")
def picture():
    """A crop of a photograph of odd, unequal sides in [0, 1]: ``(1, 7, 13, 3)`` ``float32``."""
    import skimage.data

    return skimage.data.chelsea()[None, 100:107, 120:133].astype(np.float32) / 255
