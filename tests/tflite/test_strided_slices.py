"""Splits and slices as strided slices, against what TFLite's own operators give."""

import numpy as np
import pytest

from qsr import calibration as cal
from qsr.tflite.float_view import float_view
from qsr.tflite.graph import Graph
from qsr.tflite.runtime import Runner, inspect_model
from qsr.tflite.splits import with_slices
from qsr.tflite.strided_slices import StridedSlice, strided_slices


@pytest.fixture(scope="module")
def split(xcat):
    """The first SPLIT_V of an XCAT: the model and the operator."""
    graph = Graph(xcat)
    return graph, next(one for one in graph.operators if one.kind == "SPLIT_V")


def test_split(split):
    """The parts of a split lie behind each other along its axis, and are whole along others."""
    graph, operator = split
    assert strided_slices(graph, operator) == (
        StridedSlice((0, 0, 0, 0), (0, 0, 0, 21), 0b0111),
        StridedSlice((0, 0, 0, 21), (0, 0, 0, 28), 0b0111),
    )


def test_slices(split):
    """A SLICE is the same strided slice as the part of the split that it stands for."""
    graph, operator = split
    sliced = Graph(with_slices(graph.model))
    found = [strided_slices(sliced, one) for one in sliced.operators if one.kind == "SLICE"]
    assert found[:2] == [(part,) for part in strided_slices(graph, operator) or ()]


def test_even_split(even_split):
    """The parts of an even split, whose axis comes first, are as long as each other."""
    graph = Graph(even_split)
    (operator,) = (one for one in graph.operators if one.kind == "SPLIT")
    found = strided_slices(graph, operator)
    assert found is not None
    assert [(part.begin[3], part.end[3]) for part in found] == [(0, 6), (6, 12)]
    assert {part.whole for part in found} == {0b0111}


def test_same_picture(even_split, photographs):
    """A float view, whose splits are strided slices, gives the float model's picture."""
    model = even_split
    ranges = cal.collect(model, photographs).merged()
    graph = Graph(cal.quantize(model, ranges))
    floats = Graph(model)
    names = {tensor.name: tensor.index for tensor in floats.tensors if tensor.constant}
    constants = {
        tensor.index: floats.constant(names[tensor.name])
        for tensor in graph.tensors
        if tensor.constant and tensor.quantized and tensor.name in names
    }
    view = float_view(graph, constants=constants)
    assert "SPLIT" not in {operator.kind for operator in Graph(view).operators}
    facts = inspect_model(model)
    for picture in photographs.values():
        np.testing.assert_allclose(
            Runner(view, facts).upscale_unrounded(picture),
            Runner(model, facts).upscale_unrounded(picture),
            atol=255 * 1e-5,
        )


def test_others(split):
    """Other operators are no slices, and neither are parts whose place is computed."""
    graph, operator = split
    assert strided_slices(graph, graph.operators[0]) is None

    unknown = Graph.__new__(Graph)  # such a model is not sound, but its parts can be asked for
    unknown.__dict__.update(graph.__dict__)
    changed = list(graph.tensors)
    stored = changed[operator.inputs[2]]
    changed[stored.index] = type(stored)(**{**vars(stored), "constant": False})
    unknown.__dict__["tensors"] = tuple(changed)
    assert strided_slices(unknown, operator) is None


@pytest.fixture(scope="module")
def even_split():
    """A float network that splits evenly: x2, halves swapped and joined again."""
    import tensorflow as tf
    import tf_keras

    from qsr.tflite.convert import convert_keras

    picture = tf_keras.Input((None, None, 3))
    features = tf_keras.layers.Conv2D(12, 3, padding="same")(picture)
    first, second = tf.split(features, 2, axis=3)
    joined = tf.concat([second, first], axis=3)
    features = tf_keras.layers.Conv2D(12, 1)(joined)
    model = tf_keras.Model(picture, tf.nn.depth_to_space(features, 2))
    kernel, bias, last, last_bias = model.get_weights()
    random = np.random.default_rng(3)
    kernel = random.normal(0, 0.01, kernel.shape)
    kernel[1, 1] += np.tile(np.eye(3), 4)
    last = random.normal(0, 0.01, last.shape)
    last[0, 0] += np.eye(12)
    model.set_weights([kernel, bias, last, last_bias])
    return convert_keras(model)
