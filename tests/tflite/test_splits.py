"""SLICE in the place of SPLIT_V."""

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from qsr.tflite.graph import Graph
from qsr.tflite.splits import with_slices


@pytest.fixture(scope="module")
def split_rows():
    """A x2 network that splits its picture along the rows, and puts it together again."""
    import tensorflow as tf
    import tf_keras

    from qsr.tflite.convert import convert_keras

    picture = tf_keras.Input((24, 30, 3), batch_size=1)
    top, middle, bottom = tf.split(picture, [5, 12, 7], axis=-3)
    moved = tf.concat([bottom, top, middle], axis=1)
    model = tf_keras.Model(picture, tf.nn.depth_to_space(tf.concat([moved] * 4, axis=-1), 2))
    return convert_keras(model)


@pytest.mark.parametrize("network", ["trained_xcat", "split_rows"])
def test_same_picture(network, request, run_bare, photographs):
    """A network that slices gives what it gave when it split, bit by bit, wherever it splits."""
    model = request.getfixturevalue(network)
    assert "SPLIT_V" in kinds(model)
    sliced = with_slices(model)
    assert "SPLIT_V" not in kinds(sliced)
    picture = photographs["rocket"][None, :24, :30].astype(np.float32) / 255
    np.testing.assert_array_equal(run_bare(sliced, picture), run_bare(model, picture))


def test_tensors(trained_xcat):
    """Every tensor keeps its number, its name and its shape."""
    before, after = Graph(trained_xcat).tensors, Graph(with_slices(trained_xcat)).tensors
    for old, new in zip(before, after, strict=False):
        assert (old.index, old.name, old.shape) == (new.index, new.name, new.shape)


def test_unknown_sizes(trained_xcat):
    """A split whose last size is what is left stays, as it is not counted here."""

    def forget(flat):
        graph = Graph(trained_xcat)
        for operator in graph.operators:
            if operator.kind == "SPLIT_V":
                buffer = flat.buffers[flat.subgraphs[0].tensors[operator.inputs[1]].buffer]
                buffer.data = np.frombuffer(np.array([21, -1], np.int32).tobytes(), np.uint8)

    model = Graph(trained_xcat).edited(forget)
    assert kinds(with_slices(model)) == kinds(model)


def test_versions(trained_xcat):
    """The operator that takes the place has an entry of its own in the table of operators."""
    flat = schema.ModelT.InitFromPackedBuf(with_slices(trained_xcat), 0)
    slices = [
        code for code in flat.operatorCodes if code.builtinCode == schema.BuiltinOperator.SLICE
    ]
    assert [(code.version, code.deprecatedBuiltinCode) for code in slices] == [(1, 65)]


def kinds(model):
    """Return the kinds of a model's operators."""
    return [operator.kind for operator in Graph(model).operators]
