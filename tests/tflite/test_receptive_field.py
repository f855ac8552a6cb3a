"""How far a network looks: by hand, and by changing one pixel and seeing what moves."""

from functools import cache

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from qsr.tflite.convert import convert_keras
from qsr.tflite.graph import Graph, _pack
from qsr.tflite.receptive_field import receptive_radius
from qsr.tflite.runtime import LARGEST_TILE, Runner, inspect_model


def conv(features, channels, kernel, **options):
    """One convolution that keeps height and width."""
    import tf_keras

    return tf_keras.layers.Conv2D(channels, kernel, padding="same", **options)(features)


def shuffled(features, block=2):
    """Depth-to-space."""
    import tensorflow as tf

    return tf.nn.depth_to_space(features, block)


def enlarged(picture, block=2):
    """Nearest neighbour, by copies of the picture."""
    import tensorflow as tf

    return shuffled(tf.concat([picture] * block**2, axis=-1), block)


def two_convolutions(picture):
    """A 5x5 and a 3x3 convolution: 2 + 1."""
    return shuffled(0.1 * conv(conv(picture, 8, 5), 12, 3))


def widest_branch(picture):
    """A 7x7 and a 3x3 convolution next to each other: the wider counts."""
    return shuffled(0.1 * conv(picture, 12, 7) + 0.1 * conv(picture, 12, 3))


def dilated(picture):
    """A 3x3 convolution with taps three pixels apart."""
    return shuffled(0.1 * conv(conv(picture, 8, 3, dilation_rate=3), 12, 1))


def depthwise(picture):
    """A 5x5 convolution of each channel alone."""
    import tf_keras

    return shuffled(0.1 * conv(tf_keras.layers.DepthwiseConv2D(5, padding="same")(picture), 12, 1))


def convolution_on_the_large_picture(picture):
    """A 9x9 convolution after x3: 4 of the large picture's pixels are 1 1/3 of the small one's."""
    return 0.1 * conv(enlarged(picture, 3), 3, 9)


def padded_on_one_side(picture):
    """A 5x5 convolution whose padding lies below and right of the picture alone."""
    import tensorflow as tf
    import tf_keras

    padded = tf.pad(picture, [[0, 0], [0, 4], [0, 4], [0, 0]])
    return shuffled(0.1 * tf_keras.layers.Conv2D(12, 5)(padded))


def mirrored(picture):
    """A 3x3 convolution on a picture mirrored at its border."""
    import tensorflow as tf
    import tf_keras

    padded = tf.pad(picture, [[0, 0], [1, 1], [1, 1], [0, 0]], "REFLECT")
    return shuffled(0.1 * tf_keras.layers.Conv2D(12, 3)(padded))


def bilinear(picture):
    """Bilinear interpolation by two, and a 3x3 convolution."""
    import tensorflow as tf

    large = tf.image.resize(picture, tf.shape(picture)[1:3] * 2)
    return 0.1 * conv(large, 3, 3)


def transposed(picture):
    """A 9x9 transposed convolution with stride 3, after a 3x3 convolution."""
    import tf_keras

    layer = tf_keras.layers.Conv2DTranspose(3, 9, strides=3, padding="same")
    return 0.1 * layer(conv(picture, 4, 3))


def strided(picture):
    """A convolution on every other pixel, and back."""
    import tf_keras

    coarse = conv(picture, 8, 3, strides=2)
    back = tf_keras.layers.Conv2DTranspose(12, 4, strides=2, padding="same")(coarse)
    return shuffled(0.1 * back)


def pooled(picture):
    """The mean of 2x2 pixels, and back."""
    import tf_keras

    coarse = tf_keras.layers.AveragePooling2D(2)(picture)
    return 0.1 * tf_keras.layers.Conv2DTranspose(3, 4, strides=4, padding="same")(coarse)


def folded(picture):
    """Space-to-depth before the first convolution."""
    import tensorflow as tf

    return shuffled(0.1 * conv(tf.nn.space_to_depth(picture, 2), 48, 3), 4)


def weighted_by_the_mean(picture):
    """Channels weighted by the mean of the whole picture."""
    import tensorflow as tf

    features = conv(picture, 12, 3)
    weights = tf.sigmoid(tf.reduce_mean(features, axis=[1, 2], keepdims=True))
    return shuffled(0.1 * features * weights)


def by_channels(picture):
    """Channels cut, split and joined again, next to a 3x3 convolution."""
    import tensorflow as tf

    first, second = tf.split(conv(picture, 12, 3), 2, axis=-1)
    joined = tf.concat([first, tf.nn.softmax(second)], axis=-1)
    return shuffled(0.1 * tf.concat([joined[..., 3:], joined[..., :3]], axis=-1))


def upsampled(picture):
    """Keras's own enlargement by three, and a 9x9 convolution on the large picture."""
    import tf_keras

    return 0.1 * conv(tf_keras.layers.UpSampling2D(3)(picture), 3, 9)


def summed_up(picture):
    """A running sum over rows."""
    import tensorflow as tf

    return enlarged(1e-4 * tf.cumsum(picture, axis=1))


def moved(picture):
    """The picture's last row brought to its top."""
    import tensorflow as tf

    return enlarged(1e-4 * tf.concat([picture[:, -1:], picture[:, :-1]], axis=1))


def by_place(picture):
    """Numbers that grow from left to right."""
    import tensorflow as tf

    columns = tf.cast(tf.range(tf.shape(picture)[2]), tf.float32)
    return enlarged(1e-4 * (picture + columns[None, None, :, None]))


def resized_by_half(picture):
    """Bilinear interpolation to half the size, and back by a transposed convolution."""
    import tensorflow as tf
    import tf_keras

    coarse = tf.image.resize(picture, tf.shape(picture)[1:3] // 2)
    return 0.1 * tf_keras.layers.Conv2DTranspose(3, 4, strides=4, padding="same")(coarse)


def resized_corner_to_corner(picture):
    """An interpolation in which the whole picture's size tells where the pixels lie."""
    import tensorflow as tf

    size = tf.shape(picture)[1:3] * 2
    return 0.1 * tf.compat.v1.image.resize_bilinear(picture, size, align_corners=True)


RADII = {
    two_convolutions: (2, 3),
    widest_branch: (2, 3),
    dilated: (2, 3),
    depthwise: (2, 2),
    convolution_on_the_large_picture: (3, 2),
    padded_on_one_side: (2, 4),
    mirrored: (2, 1),
    bilinear: (2, 2),
    transposed: (3, 3),
    by_channels: (2, 1),
    upsampled: (3, 3),
}
"""Network to its scale, and to the radius by hand, rounded up."""

WITHOUT_A_RADIUS = [
    strided,
    pooled,
    folded,
    weighted_by_the_mean,
    summed_up,
    moved,
    by_place,
    resized_by_half,
    resized_corner_to_corner,
]


@pytest.mark.parametrize("network", RADII, ids=lambda network: network.__name__)
def test_by_hand(network):
    """The radius is what adding up the kernels by hand gives."""
    scale, radius = RADII[network]
    assert receptive_radius(Graph(converted(network, scale))) == radius


@pytest.mark.parametrize(
    ("network", "radius"), [("xcat", 5), ("espcn", 3), ("abpn", 2), ("fsrcnn", 3)]
)
def test_known_networks(network, radius, request):
    """XCAT looks through five 3x3 convolutions; the others through what their fixtures say."""
    assert receptive_radius(Graph(request.getfixturevalue(network))) == radius


@pytest.mark.parametrize("network", WITHOUT_A_RADIUS, ids=lambda network: network.__name__)
def test_none(network):
    """A network that looks at everything, or on a coarser grid, has no radius and is not cut."""
    scale = 2
    facts = inspect_model(converted(network, scale))
    assert facts.receptive_radius is None
    assert facts.smallest_side == 1
    runner = Runner(converted(network, scale), facts)
    sides = (LARGEST_TILE * 2, 4)
    (piece,) = runner.pieces(np.zeros((*sides, 3), np.uint8))
    assert piece.shape == (*sides, 3)


def test_unknown_operator(espcn):
    """A network with an operator that is not known has no radius."""
    flat = schema.ModelT.InitFromPackedBuf(espcn, 0)
    (tanh,) = [
        code for code in flat.operatorCodes if code.builtinCode == schema.BuiltinOperator.TANH
    ]
    assert receptive_radius(Graph(_pack(flat))) == 3
    tanh.builtinCode = tanh.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    tanh.customCode = b"Unheard"
    assert receptive_radius(Graph(_pack(flat))) is None


@pytest.mark.parametrize(
    ("sides", "radius"), [((24, 24), 1), ((18, 18), None), ((6, 6), None), ((24, 36), None)]
)
def test_stored_size(sides, radius):
    """A resize to a stored size is followed if it enlarges both sides by one integer."""
    import tensorflow as tf
    import tf_keras

    picture = tf_keras.Input((12, 12, 3), batch_size=1)
    model = convert_keras(tf_keras.Model(picture, tf.image.resize(picture, sides)))
    assert receptive_radius(Graph(model)) == radius


@pytest.mark.parametrize(("sides", "radius"), [((1, 1), 0), ((12, 1), None), ((1, 12), None)])
def test_stored_map(sides, radius):
    """A network that weighs each row or column by a stored number of its own has no radius."""
    import tf_keras

    weights = np.random.default_rng(0).random((1, *sides, 3), np.float32)
    picture = tf_keras.Input((12, 12, 3), batch_size=1)
    model = convert_keras(tf_keras.Model(picture, picture * weights))
    assert receptive_radius(Graph(model)) == radius


@pytest.mark.parametrize("network", RADII, ids=lambda network: network.__name__)
def test_nothing_farther_moves(network, run_bare):
    """No output pixel farther than the radius moves when one input pixel changes."""
    scale, radius = RADII[network]
    seen = farthest_change(converted(network, scale), scale, run_bare)
    assert seen <= radius
    assert seen >= radius - 1  # counted in whole pixels, and the kernel may lie aside


def test_nothing_farther_moves_in_xcat(trained_xcat, run_bare):
    """XCAT's output moves at most five pixels away from a changed input pixel.

    In truth four: channels that went through one block's 3x3 convolution miss that of the next.
    """
    assert farthest_change(trained_xcat, 3, run_bare) == 4


def farthest_change(model, scale, run_bare):
    """Return how many LR pixels away from a changed pixel the output still moves."""
    size = 25
    picture = np.random.default_rng(0).random((1, size, size, 3), dtype=np.float32)
    before = run_bare(model, picture)
    farthest = 0
    for y, x in ((12, 12), (12, 13), (13, 12)):
        changed = picture.copy()
        changed[0, y, x] += 100
        moved = np.abs(run_bare(model, changed) - before)[0].max(axis=-1) > 1e-4
        rows, columns = np.nonzero(moved)
        distances = np.abs(rows // scale - y), np.abs(columns // scale - x)
        farthest = max(farthest, *(int(distance.max()) for distance in distances))
    return farthest


@cache
def converted(network, scale):
    """Return a network on top of nearest neighbour, with fresh weights, as a float model."""
    import tf_keras

    tf_keras.utils.set_random_seed(5)
    picture = tf_keras.Input((None, None, 3))
    return convert_keras(tf_keras.Model(picture, enlarged(picture, scale) + network(picture)))
