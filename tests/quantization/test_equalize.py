"""Equalization leaves the function of a network alone, and narrows what its grids waste."""

import numpy as np
import pytest

from qsr.calibration import collect, quantize
from qsr.errors import UsageError
from qsr.quantization.chains import find_chains
from qsr.quantization.equalize import equalize
from qsr.tflite.graph import Graph
from qsr.tflite.runtime import Runner


def layers_between(kind):
    """Two convolutions with something between, and the shuffle to a picture."""

    def build(picture):
        import tensorflow as tf
        import tf_keras

        keras = tf_keras.layers
        fused = {"relu": "relu", "relu6": tf.nn.relu6, "tanh": "tanh"}.get(kind)
        features = keras.Conv2D(8, 3, padding="same", activation=fused)(picture)
        if kind == "prelu":
            features = keras.PReLU(shared_axes=[1, 2])(features)
        if kind == "clipped":
            features = tf.minimum(features, 1.0)
        if kind == "depthwise":
            features = keras.DepthwiseConv2D(3, padding="same", activation="relu")(features)
        result = keras.Conv2D(27, 3, padding="same")(features)
        if kind == "read twice":
            result += keras.Conv2D(27, 1)(features)
        return tf.nn.depth_to_space(result, 3)

    return build


@pytest.mark.parametrize("kind", ["linear", "relu", "prelu", "depthwise"])
def test_same_function(converted, photographs, run_bare, kind):
    """A homogeneous activation lets channels change size, and the output stays to 1e-5."""
    model = converted(layers_between(kind))
    equalized = equalize(model, photographs.values())
    assert equalized != model
    assert_same_output(model, equalized, photographs, run_bare)


@pytest.mark.parametrize("kind", ["relu6", "tanh", "clipped", "read twice"])
def test_left_alone(converted, photographs, kind):
    """Nothing changes behind other activations, or where a tensor has two readers."""
    model = converted(layers_between(kind))
    assert equalize(model, photographs.values()) == model


@pytest.mark.parametrize("name", ["trained_xcat", "abpn_of_any_size", "fsrcnn", "uneven_fsrcnn"])
def test_networks_keep_their_function(request, photographs, run_bare, name):
    """The networks of the zoo and of other projects compute what they did."""
    model = request.getfixturevalue(name)
    white = 255.0 if name.startswith("abpn") else 1.0
    equalized = equalize(model, photographs.values())
    assert_same_output(model, equalized, photographs, run_bare, white)


def test_every_layer_of_fsrcnn(uneven_fsrcnn):
    """All convolutions of an FSRCNN are chained, up to the transposed one."""
    kinds = [
        (chain.first.kind, chain.prelu is not None, chain.second.kind)
        for chain in find_chains(Graph(uneven_fsrcnn))
    ]
    body = [("CONV_2D", True, "CONV_2D")] * 4
    assert kinds == [*body, ("CONV_2D", True, "TRANSPOSE_CONV")]


def test_integer_model_comes_closer(uneven_fsrcnn, photographs):
    """Of a network with uneven channels, the mean squared error of the integer model is halved."""
    true = Runner(uneven_fsrcnn)

    def error(model):
        runner = Runner(quantize(model, collect(model, photographs).merged()))
        shown = [
            (runner.upscale(lr).astype(float), true.upscale(lr).astype(float))
            for lr in photographs.values()
        ]
        return np.mean([np.mean((found - wanted) ** 2) for found, wanted in shown])

    equalized = equalize(uneven_fsrcnn, photographs.values())
    assert error(equalized) < error(uneven_fsrcnn) / 2


def test_steep_channels_only_are_negated(uneven_fsrcnn, photographs):
    """Slopes stay or, from one half on, become their inverse."""
    before, after = Graph(uneven_fsrcnn), Graph(equalize(uneven_fsrcnn, photographs.values()))
    turned = 0
    for chain in find_chains(before):
        old = before.constant(chain.prelu.inputs[1]).ravel()
        new = after.constant(chain.prelu.inputs[1]).ravel()
        inverted = new != old
        np.testing.assert_allclose(new[inverted] * old[inverted], 1, rtol=1e-6)
        assert (old[inverted] >= 0.5).all()
        turned += int(inverted.sum())
    assert turned


def test_stored_values_alone_change(uneven_fsrcnn, photographs):
    """Operators, tensors and their names are those of the model."""
    before, after = Graph(uneven_fsrcnn), Graph(equalize(uneven_fsrcnn, photographs.values()))
    assert [tensor.name for tensor in after.tensors] == [tensor.name for tensor in before.tensors]
    assert [step.kind for step in after.operators] == [step.kind for step in before.operators]


def test_black_images(uneven_fsrcnn, run_bare, photographs):
    """Images that leave channels at zero spoil nothing."""
    equalized = equalize(uneven_fsrcnn, [np.zeros((24, 24, 3), np.uint8)])
    assert_same_output(uneven_fsrcnn, equalized, photographs, run_bare)


def test_no_image(uneven_fsrcnn):
    """Without images there is nothing to go by."""
    with pytest.raises(UsageError, match="no images"):
        equalize(uneven_fsrcnn, [])


def assert_same_output(model, equalized, photographs, run_bare, white=1.0):
    """Two float models give the same, to 1e-5 of the largest output."""
    for lr in photographs.values():
        values = as_input(lr) * np.float32(white)
        expected = run_bare(model, values)
        found = run_bare(equalized, values)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def as_input(lr):
    """Return a picture as a float model takes it: ``(1, h, w, 3)`` in 0..1."""
    return lr[None].astype(np.float32) / np.float32(255)
