"""Tensors that share the picture's grid: by hand, and by what their values are."""

import numpy as np
import pytest

from qsr.tflite.convert import convert_keras
from qsr.tflite.graph import Graph
from qsr.tflite.io_grid import tensors_tied_to_input, tensors_tied_to_output
from qsr.tflite.runtime import Runner


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
    tied = tensors_tied_to_output(graph)
    assert tied[0] == graph.output_index
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
    tied = tensors_tied_to_input(graph)
    assert tied[0] == graph.input_index
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
        for index in tensors_tied_to_input(graph):
            assert np.isin(runner.tensor(index), picture).all()
        white = np.float32(runner.facts.value_max)
        output = np.sort(runner.tensor(graph.output_index), axis=None)
        for index in tensors_tied_to_output(graph):
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
    assert (made <= set(tensors_tied_to_input(graph))) == tied


def test_read_by_another():
    """A tensor that something else reads too is not clipped to the output's range."""
    import tensorflow as tf
    import tf_keras

    picture = tf_keras.Input((None, None, 3))
    wide = tf_keras.layers.Conv2D(3, 3, padding="same")(picture)
    twice = tf.concat([wide, tf.exp(wide)], axis=2)
    graph = Graph(convert_keras(tf_keras.Model(picture, tf.nn.relu(twice))))
    assert kinds(graph, tensors_tied_to_output(graph)) == ["CONCATENATION", "EXP", "RELU"]


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
    assert (made in tensors_tied_to_input(graph)) == tied
