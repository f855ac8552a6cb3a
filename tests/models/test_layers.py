"""The layers that Keras does not have, against numpy."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from qsr.models.layers import (
    ChannelSplit,
    ClippedReLU,
    CrossConcatenation,
    DepthToSpace,
    NearestNeighborConv,
)


def noise(*shape):
    """Make reproducible values around zero, some beyond 1."""
    return np.random.default_rng(3).normal(0, 1, shape).astype(np.float32)


def depth_to_space(image, block):
    """Move channel (dy * block + dx) * C + c of every pixel to row dy, column dx, channel c."""
    height, width, channels = image.shape
    colours = channels // block**2
    moved = np.empty((height * block, width * block, colours), image.dtype)
    for dy in range(block):
        for dx in range(block):
            first = (dy * block + dx) * colours
            moved[dy::block, dx::block] = image[:, :, first : first + colours]
    return moved


def test_split():
    """The first part has the first channels, and the parts joined are the input."""
    image = noise(1, 3, 5, 28)
    x, y = ChannelSplit((21, 7))(image)
    assert np.array_equal(x, image[..., :21])
    assert np.array_equal(y, image[..., 21:])


@pytest.mark.parametrize(("x", "y"), [(21, 7), (16, 12), (7, 21), (56, 8)])
def test_cross_concatenation(x, y):
    """Cross concatenation turns the channels around by the size of the second part."""
    image = noise(1, 3, 5, x + y)
    crossed = CrossConcatenation()([image[..., :x], image[..., x:]])
    assert np.array_equal(crossed, np.roll(image, y, axis=-1))


def test_cross_concatenation_quarter():
    """With the paper's split, a channel of the 3x3 convolution comes first and 1x1 follows."""
    channels = np.arange(28, dtype=np.float32)[None, None, None]
    crossed = CrossConcatenation()([channels[..., :21], channels[..., 21:]])
    assert np.asarray(crossed).ravel().tolist() == [*range(21, 28), *range(21)]


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_nearest_neighbor(scale):
    """The frozen convolution and depth-to-space repeat every pixel, to the last bit."""
    image = noise(1, 4, 7, 3)
    enlarged = DepthToSpace(scale)(NearestNeighborConv(scale)(image))
    assert np.array_equal(enlarged, image.repeat(scale, axis=1).repeat(scale, axis=2))


def test_nearest_neighbor_kernel():
    """Output channel i copies input channel i mod 3, without a bias."""
    layer = NearestNeighborConv(3)
    layer.build((None, None, None, 3))
    (kernel,) = layer.get_weights()
    assert kernel.shape == (1, 1, 3, 27)
    assert kernel.sum() == 27
    assert all(kernel[0, 0, i % 3, i] == 1 for i in range(27))


@pytest.mark.parametrize("block", [2, 3])
def test_depth_to_space(block):
    """Channels become pixels in the order row, column, colour, as in TensorFlow."""
    image = noise(1, 3, 5, 3 * block**2)
    moved = DepthToSpace(block)(image)
    assert np.array_equal(moved[0], depth_to_space(image[0], block))
    assert np.array_equal(moved, tf.nn.depth_to_space(image, block))


@pytest.mark.parametrize("top", [1.0, 6.0])
def test_clipped_relu(top):
    """Values below 0 and above the bound are moved to it; all others stay as they are."""
    beside = np.nextafter(np.float32(top), [0, 99], dtype=np.float32)
    values = np.concatenate([[-9, -1e-9, 0, 1e-9, 0.5, top, 99], beside, noise(50)])
    values = values.astype(np.float32)
    assert np.array_equal(ClippedReLU(top)(values), np.clip(values, 0, np.float32(top)))


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (ChannelSplit((5, 4), name="split"), (1, 2, 2, 9)),
        (NearestNeighborConv(2, trainable_kernel=True, name="anchor"), (1, 2, 2, 3)),
        (DepthToSpace(3, name="d2s"), (1, 2, 2, 9)),
        (ClippedReLU(0.5, name="clip"), (1, 2, 2, 3)),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_config(layer, shape):
    """A layer that was serialised and rebuilt is of the same class, name and options."""
    rebuilt = tf_keras.layers.deserialize(tf_keras.layers.serialize(layer))
    assert type(rebuilt) is type(layer)
    assert rebuilt.get_config() == layer.get_config()
    for again, once in zip(rebuilt(noise(*shape)), layer(noise(*shape)), strict=True):
        assert np.array_equal(again, once)
