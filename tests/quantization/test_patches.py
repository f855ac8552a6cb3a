"""What a convolution multiplies its kernel by, against TensorFlow's convolutions."""

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given, settings
from hypothesis import strategies as st

from qsr.quantization.patches import Window, window_of
from qsr.tflite.graph import Graph


@settings(max_examples=60, deadline=None)
@given(
    size=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    strides=st.integers(1, 3),
    dilation=st.integers(1, 2),
    same=st.booleans(),
    picture=st.tuples(st.integers(9, 14), st.integers(9, 14)),
)
def test_as_tensorflow_convolves(size, strides, dilation, same, picture):
    """All patches times the kernel are TensorFlow's convolution, at every output pixel."""
    import tensorflow as tf

    stride = strides if dilation == 1 else 1  # TensorFlow has not both
    random = np.random.default_rng(1)
    values = random.normal(size=(*picture, 3)).astype(np.float32)
    kernel = random.normal(size=(*size, 3, 4)).astype(np.float32)
    expected = tf.nn.conv2d(
        values[None], kernel, stride, "SAME" if same else "VALID", dilations=dilation
    )[0].numpy()
    window = Window(size, (stride, stride), (dilation, dilation), same)
    assert window.output_size(*picture) == expected.shape[:2]
    rows, columns = np.divmod(np.arange(expected[..., 0].size), expected.shape[1])
    found = window.patches(values, rows, columns)
    assert found.shape == (len(rows), *size, 3)
    np.testing.assert_allclose(
        found.reshape(len(rows), -1) @ kernel.reshape(-1, 4),
        expected.reshape(-1, 4),
        atol=1e-4,
    )


def test_too_small_a_picture():
    """Without padding a picture smaller than the kernel has no output pixel."""
    assert Window((5, 5), (1, 1), (1, 1), same=False).output_size(4, 9) == (0, 5)


@pytest.mark.parametrize(("padding", "same"), [("same", True), ("valid", False)])
def test_read_from_a_model(padding, same):
    """Size, stride and padding are those of the operator; the two sides are not mixed up."""
    import tf_keras

    from qsr.tflite.convert import convert_keras

    picture = tf_keras.Input((24, 30, 3))
    layer = tf_keras.layers.Conv2D(4, (3, 5), strides=(2, 3), padding=padding)
    graph = Graph(convert_keras(tf_keras.Model(picture, layer(picture))))
    (operator,) = [one for one in graph.operators if one.kind == "CONV_2D"]
    assert operator.options.padding == getattr(schema.Padding, padding.upper())
    assert window_of(graph, operator) == Window((3, 5), (2, 3), (1, 1), same)
