"""Tensors that share the picture's grid: by hand, and by what their values are."""

import numpy as np
import pytest

from qsr import calibration as cal
from qsr.tflite.convert import convert_keras
from qsr.tflite.graph import Graph, end_grids
from qsr.tflite.io_grid import ranges_tied_to_input, ranges_tied_to_output
from qsr.tflite.runtime import Runner, inspect_model


def kinds(graph, tied):
    """Return the kinds of the operators that make the tied tensors."""
    return sorted(graph.producer[index].kind if index in graph.producer else "" for index in tied)


@pytest.mark.parametrize(
    ("network", "made_by"),
    [
        ("xcat", ["ADD", "DEPTH_TO_SPACE", "MINIMUM", "RELU"]),
        ("trained_xcat", ["ADD", "DEPTH_TO_SPACE", "MINIMUM", "RELU"]),
        ("abpn", ["ADD", "DEPTH_TO_SPACE", "MINIMUM", "RELU"]),
        ("espcn", ["CONV_2D", "DEPTH_TO_SPACE"]),
        ("fsrcnn", ["TRANSPOSE_CONV"]),
    ],
)
def test_output(network, made_by, request):
    """The clip, depth-to-space and what they read are tied to the output, and nothing above."""
    graph = Graph(request.getfixturevalue(network))
    tied = ranges_tied_to_output(graph)
    assert next(iter(tied)) == graph.output_index
    assert kinds(graph, tied) == made_by


@pytest.mark.parametrize(
    ("network", "made_by"),
    [
        ("xcat", ["", "CONV_2D"]),
        ("trained_xcat", ["", "CONV_2D"]),
        ("abpn", ["", "CONCATENATION"]),
        ("espcn", [""]),
        ("fsrcnn", [""]),
    ],
)
def test_input(network, made_by, request):
    """The input and its copies are tied to it: XCAT's frozen convolution, ABPN's anchor."""
    graph = Graph(request.getfixturevalue(network))
    tied = ranges_tied_to_input(graph)
    assert next(iter(tied)) == graph.input_index
    assert kinds(graph, tied) == made_by


@pytest.mark.parametrize("network", ["xcat", "trained_xcat", "abpn", "espcn", "fsrcnn"])
def test_values(network, request, photographs):
    """Tied tensors hold the values of the input, or those of the output but for the clip."""
    model = request.getfixturevalue(network)
    graph = Graph(model)
    image = photographs["astronaut"]
    runner = Runner(model, keep_tensors=True)
    for _ in runner.windows(image):
        picture = np.unique(runner.tensor(graph.input_index))
        for index in ranges_tied_to_input(graph):
            assert np.isin(runner.tensor(index), picture).all()
        white = np.float32(runner.facts.value_max)
        output = np.sort(runner.tensor(graph.output_index), axis=None)
        for index in ranges_tied_to_output(graph):
            values = np.sort(runner.tensor(index), axis=None)
            np.testing.assert_array_equal(values.clip(0, white), output.clip(0, white), strict=True)


def convolution(kernel, bias, **options):
    """Return a x1 network: a convolution next to the picture."""
    import tensorflow as tf
    import tf_keras

    picture = tf_keras.Input((None, None, 3))
    layer = tf_keras.layers.Conv2D(kernel.shape[-1], kernel.shape[:2], padding="same", **options)
    copies = layer(picture)
    layer.set_weights([kernel, bias])
    return Graph(convert_keras(tf_keras.Model(picture, tf.maximum(copies, picture))))


COPY = np.eye(3, dtype=np.float32)[None, None]


@pytest.mark.parametrize(
    ("kernel", "bias", "options", "tied"),
    [
        (COPY, np.zeros(3), {}, True),
        (COPY[..., ::-1], np.zeros(3), {}, True),
        (COPY[..., [0, 0, 1]], np.zeros(3), {}, True),
        (COPY, np.array([0, 0.1, 0]), {}, False),
        (0.5 * COPY, np.zeros(3), {}, False),
        (-COPY, np.zeros(3), {}, False),
        (np.ones((1, 1, 3, 3)), np.zeros(3), {}, False),
        (np.ones((1, 1, 3, 3)) - COPY, np.zeros(3), {}, False),
        (np.zeros((1, 1, 3, 3)), np.zeros(3), {}, False),
        (np.pad(COPY, ((1, 1), (1, 1), (0, 0), (0, 0))), np.zeros(3), {}, False),
        (COPY, np.zeros(3), {"activation": "relu"}, True),
        (COPY, np.zeros(3), {"activation": "relu6"}, False),
    ],
)
def test_convolution_that_copies(kernel, bias, options, tied):
    """A convolution is tied to the input only if each of its channels copies one of the input."""
    graph = convolution(kernel, bias, **options)
    made = {index for one in graph.operators if one.kind == "CONV_2D" for index in one.outputs}
    assert len(made) == 1
    assert (made <= set(ranges_tied_to_input(graph))) == tied


def test_read_by_another():
    """A tensor that something else reads too is not clipped to the output's range."""
    import tensorflow as tf
    import tf_keras

    picture = tf_keras.Input((None, None, 3))
    wide = tf_keras.layers.Conv2D(3, 3, padding="same")(picture)
    twice = tf.concat([wide, tf.exp(wide)], axis=2)
    graph = Graph(convert_keras(tf_keras.Model(picture, tf.nn.relu(twice))))
    assert kinds(graph, ranges_tied_to_output(graph)) == ["CONCATENATION", "EXP", "RELU"]


def relu6_of_bytes(picture):
    """A clip far below white, which is 255."""
    import tensorflow as tf

    return tf.nn.relu6(picture), "RELU6", False


def relu(picture):
    """A clip that does nothing to a picture; clips are left out one and all."""
    import tensorflow as tf

    return tf.nn.relu(picture), "RELU", False


def not_below(picture):
    """The larger of the picture and a stored number."""
    import tensorflow as tf

    return tf.maximum(picture, 0.25), "MAXIMUM", False


def not_above(picture):
    """The smaller of the picture and a stored number."""
    import tensorflow as tf

    return tf.minimum(picture, 0.25), "MINIMUM", False


def next_to_stored_values(picture):
    """The picture joined with stored numbers beyond white."""
    import tensorflow as tf

    return tf.concat([picture, tf.fill((1, 8, 8, 3), 999.0)], 3), "CONCATENATION", False


def twice(picture):
    """The picture joined with itself."""
    import tensorflow as tf

    return tf.concat([picture, picture], 3), "CONCATENATION", True


def framed_in_black(picture):
    """The picture with zeros around it."""
    import tensorflow as tf

    return tf.pad(picture, [[0, 0], [1, 1], [1, 1], [0, 0]]), "PAD", True


def framed_in_another_value(picture):
    """The picture with a number beyond white around it."""
    import tensorflow as tf

    paddings = [[0, 0], [1, 1], [1, 1], [0, 0]]
    return tf.pad(picture, paddings, constant_values=999.0), "PADV2", False


@pytest.mark.parametrize(
    "network",
    [
        relu6_of_bytes,
        relu,
        not_below,
        not_above,
        next_to_stored_values,
        twice,
        framed_in_black,
        framed_in_another_value,
    ],
    ids=lambda network: network.__name__,
)
def test_nothing_but_the_picture(network):
    """A tensor is tied to the input only if its values are the picture's, or a frame of black."""
    import tensorflow as tf
    import tf_keras

    picture = tf_keras.Input((8, 8, 3), batch_size=1)
    result, kind, tied = network(picture)
    graph = Graph(convert_keras(tf_keras.Model(picture, tf.exp(result))))
    (made,) = [index for one in graph.operators if one.kind == kind for index in one.outputs]
    assert (made in ranges_tied_to_input(graph)) == tied


def test_scaled_and_shifted():
    """A stored scaling or shift carries the picture's range on, to the values that it gives."""
    import tensorflow as tf
    import tf_keras

    picture = tf_keras.Input((None, None, 3))
    centred = picture / 255.0 - 0.5
    # Joined, or the converter would put the scaling into the convolution.
    features = tf_keras.layers.Conv2D(12, 1)(tf.concat([centred, centred], axis=-1))
    shuffled = tf.nn.depth_to_space(features, 2)
    model = tf_keras.Model(picture, (shuffled + 0.5) * 255.0)
    model.set_weights([np.tile(np.eye(3) / 2, (2, 4))[None, None], np.zeros(12)])
    content = convert_keras(model)
    graph = Graph(content)
    before = {
        kind(graph, index): span for index, span in ranges_tied_to_input(graph, 255.0).items()
    }
    after = {
        kind(graph, index): span for index, span in ranges_tied_to_output(graph, 255.0).items()
    }
    assert before[""] == (0.0, 255.0)
    assert before["CONCATENATION"] == pytest.approx((-0.5, 0.5))
    scaled = next(name for name in ("MUL", "DIV") if name in before)
    assert before[scaled] == pytest.approx((0.0, 1.0))
    assert after["MUL"] == (0.0, 255.0)
    assert after["ADD"] == pytest.approx((0.0, 1.0))
    assert after["DEPTH_TO_SPACE"] == after["CONV_2D"] == pytest.approx((-0.5, 0.5))
    black_and_white = np.stack([np.zeros((8, 8), np.uint8), np.full((8, 8), 255, np.uint8)] * 3)
    runner = Runner(content, keep_tensors=True)
    for _ in runner.windows(black_and_white[:3].transpose(1, 2, 0).copy()):
        for index, span in ranges_tied_to_input(graph, 255.0).items():
            values = runner.tensor(index)
            assert (values.min(), values.max()) == pytest.approx(span, abs=1e-6)
            del values


def kind(graph, index):
    """Return the kind of the operator that makes a tensor; nothing makes the input."""
    return graph.producer[index].kind if index in graph.producer else ""


@pytest.mark.parametrize("method", ["bilinear", "average"])
def test_averaged(method, photographs):
    """What averages keeps the grid: the integer model of a network that ends so is pinned."""
    import tensorflow as tf
    import tf_keras

    picture = tf_keras.Input((None, None, 3))
    features = tf_keras.layers.Conv2D(3, 1)(picture)
    if method == "bilinear":
        last = tf_keras.layers.UpSampling2D(2, interpolation="bilinear")(features)
    else:
        larger = tf_keras.layers.Conv2DTranspose(3, 2, strides=2, name="larger")(features)
        last = tf.nn.avg_pool2d(larger, 3, 1, "SAME")
    model = tf_keras.Model(picture, last)
    weights = [np.eye(3)[None, None], np.zeros(3)]
    if method == "average":
        weights += [np.broadcast_to(np.eye(3), (2, 2, 3, 3)), np.zeros(3)]
    model.set_weights(weights)
    content = convert_keras(model)
    integer = cal.quantize(content, cal.collect(content, photographs).merged())
    white = inspect_model(content).value_max
    for grid in end_grids(integer):
        assert (grid.scale, grid.zero_point) == (pytest.approx(white / 255), 0)


def bilinear_skip(picture, features):
    """A bilinear enlargement added, the sum framed, clipped and cropped."""
    import tensorflow as tf

    enlarged = tf.image.resize(picture, (192, 256))
    framed = tf.pad(tf.nn.depth_to_space(features, 2) + enlarged, [[0, 0], [2, 2], [2, 2], [0, 0]])
    return tf.minimum(framed, 1.0)[:, 2:-2, 2:-2, :]


def nearest_skip(picture, features):
    """A nearest-neighbour enlargement added, then a clip."""
    import tensorflow as tf

    enlarged = tf.image.resize(picture, (192, 256), method="nearest")
    return tf.clip_by_value(tf.nn.depth_to_space(features, 2) + enlarged, 0.0, 1.0)


def tiled_skip(picture, features):
    """The picture repeated along the channels added, then depth-to-space."""
    import tensorflow as tf

    return tf.nn.depth_to_space(features + tf.tile(picture, [1, 1, 1, 4]), 2)


@pytest.mark.parametrize(
    ("end", "operators"),
    [
        (bilinear_skip, ["ADD", "MINIMUM", "PAD", "RESIZE_BILINEAR", "STRIDED_SLICE"]),
        (nearest_skip, ["ADD", "MINIMUM", "RELU", "RESIZE_NEAREST_NEIGHBOR"]),
        (tiled_skip, ["ADD", "DEPTH_TO_SPACE", "TILE"]),
    ],
)
def test_integer_model(end, operators, photographs):
    """In the integer model of a network of one size, all that is tied has the picture's grid."""
    import tf_keras

    picture = tf_keras.Input((96, 128, 3), batch_size=1)
    features = tf_keras.layers.SeparableConv2D(12, 3, padding="same", activation="relu")(picture)
    features = tf_keras.layers.Conv2D(12, 3, padding="same")(features)
    model = tf_keras.Model(picture, end(picture, features))
    random = np.random.default_rng(15)
    model.set_weights([random.normal(0, 0.05, one.shape) for one in model.get_weights()])
    content = convert_keras(model)
    graph = Graph(content)
    white = inspect_model(content).value_max
    tied = ranges_tied_to_input(graph, white) | ranges_tied_to_output(graph, white)
    assert kinds(graph, tied) == ["", *operators]
    names = {graph.tensors[index].name for index in tied}
    integer = cal.quantize(content, cal.collect(content, photographs).merged())
    found = [tensor for tensor in Graph(integer).tensors if tensor.name in names]
    assert len(found) == len(names)
    for tensor in found:
        assert tensor.scale == pytest.approx(white / 255), tensor.name
        assert tensor.zero_point == (0 if tensor.dtype == "uint8" else -128), tensor.name
