"""Channels that are split and joined between convolutions are found, and can be scaled."""

import numpy as np
import pytest
import skimage.data
from test_equalize import assert_same_output

from qsr.calibration import collect, quantize
from qsr.models.zoo import build, load, pretrained_path
from qsr.quantization.equalize import equalize
from qsr.quantization.meshes import find_meshes
from qsr.tflite.convert import convert_keras
from qsr.tflite.graph import Graph
from qsr.tflite.runtime import Runner


def crossed(kind):
    """Split, convolve and join, as XCAT does; or something that must not be scaled."""

    def build_layers(picture):
        import tensorflow as tf
        import tf_keras

        def conv(channels, size, activation="relu"):
            return tf_keras.layers.Conv2D(channels, size, padding="same", activation=activation)

        activation = {"relu6": tf.nn.relu6, "linear": None}.get(kind, "relu")
        features = conv(9, 3, activation)(picture)
        x, y = tf.split(features, [6, 3], axis=-1)
        joined = tf.concat([conv(6, 3)(x), conv(3, 3)(y)], axis=-1)
        result = conv(27, 3, None)(joined)
        if kind == "read by an addition":
            result += 0.01 * tf.tile(joined, [1, 1, 1, 3])
        if kind == "with the picture":
            result = conv(27, 3, None)(tf.concat([joined, picture], axis=-1))
        return tf.nn.depth_to_space(result, 3)

    return build_layers


@pytest.mark.parametrize("kind", ["relu", "linear"])
def test_same_function(converted, photographs, run_bare, kind):
    """Both meshes of the block are scaled, and the output stays to 1e-5."""
    model = converted(crossed(kind))
    assert len(find_meshes(Graph(model))) == 2
    equalized = equalize(model, photographs.values())
    changed = [
        tensor.name
        for tensor in Graph(model).tensors
        if tensor.constant
        and tensor.dtype == "float32"
        and np.any(Graph(model).constant(tensor.index) != Graph(equalized).constant(tensor.index))
    ]
    assert len(changed) >= 4
    assert_same_output(model, equalized, photographs, run_bare)


@pytest.mark.parametrize(
    ("kind", "meshes"), [("relu6", 1), ("read by an addition", 1), ("with the picture", 1)]
)
def test_left_alone(converted, photographs, run_bare, kind, meshes):
    """A mesh with another activation, another reader or the picture in it is none."""
    model = converted(crossed(kind))
    assert len(find_meshes(Graph(model))) == meshes
    assert_same_output(model, equalize(model, photographs.values()), photographs, run_bare)


def test_channels_of_xcat(trained_xcat):
    """The channels that each convolution of a block reads are those of the paper's figure 3.

    The first 21 of the first convolution go to x, the last 7 to y; from there on y comes first, so
    that x of the second block reads y's 7 and the first 14 of x.
    """
    first, second, third = find_meshes(Graph(trained_xcat))
    (x, y) = (channels.tolist() for _, channels in first.readers)
    assert (x, y) == (list(range(21)), list(range(21, 28)))
    joined = [*range(21, 28), *range(21)]
    (x, y) = (channels.tolist() for _, channels in second.readers)
    assert (x, y) == (joined[:21], joined[21:])
    ((_, channels),) = third.readers
    assert channels.tolist() == joined


@pytest.mark.parametrize(("name", "meshes"), [("xcat", 3), ("xlsr", 8), ("abpn", 0), ("espcn", 0)])
def test_networks_of_the_zoo(name, meshes):
    """XCAT's and XLSR's channels are split and joined; those of plain networks never."""
    keras = build(name)
    random = np.random.default_rng(5)
    for weight in keras.trainable_weights:
        weight.assign(weight + random.normal(0, 0.01, weight.shape))
    assert len(find_meshes(Graph(convert_keras(keras)))) == meshes


def test_integer_model_comes_closer():
    """The mean squared error of the shipped XCAT's integer model falls by a quarter at least."""
    crops = {
        "astronaut": skimage.data.astronaut()[:160, 120:280],
        "coffee": skimage.data.coffee()[100:260, 200:360],
        "chelsea": skimage.data.chelsea()[60:220, 100:260],
        "motorcycle": skimage.data.stereo_motorcycle()[0][100:260, 300:460],
    }
    shipped = convert_keras(load(pretrained_path("xcat")))
    true = Runner(shipped)

    def error(model):
        runner = Runner(quantize(model, collect(model, crops).merged()))
        pictures = [(runner.upscale(lr).astype(float), true.upscale(lr)) for lr in crops.values()]
        return np.mean([np.square(found - wanted).mean() for found, wanted in pictures])

    assert error(equalize(shipped, crops.values())) < error(shipped) * 3 / 4
