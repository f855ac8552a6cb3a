"""Which tensor of the integer model is taken for which of the float model."""

import pytest
import tf_keras
from ai_edge_litert.interpreter import Interpreter

from qsr import calibration as cal
from qsr.analysis.matching import INPUT, match_tensors
from qsr.tflite import graph
from qsr.tflite.convert import convert_keras
from qsr.tflite.graph import Graph

QUANTIZED_OUTSIDE = {
    "uint8": {"tfl.quantize", "StatefulPartitionedCall:01"},
    "int8": set(),
    "float32": {"serving_default_lr:0", "StatefulPartitionedCall:0"},
}
"""What only the integer model has: the inner side of QUANTIZE, or the outer side if float."""


@pytest.mark.parametrize("io", ["uint8", "int8", "float32"])
def test_everything_found(trained_xcat, quantized, io):
    """Every float tensor has a twin; what the integer model has besides lies around its ends."""
    float_graph, integer_graph = Graph(trained_xcat), Graph(quantized(io=io))
    matches = match_tensors(float_graph, integer_graph)
    assert {match.float_tensor.name for match in matches} == {
        tensor.name for tensor in float_graph.activations
    }
    twins = [match.integer_tensor.name for match in matches]
    assert len(set(twins)) == len(twins)
    besides = {tensor.name for tensor in integer_graph.activations} - set(twins)
    assert besides == QUANTIZED_OUTSIDE[io]


@pytest.mark.parametrize("io", ["uint8", "int8", "float32"])
def test_same_work(trained_xcat, quantized, io):
    """Twins are made by the same operator and of the same shape, except at the ends."""
    integer_graph = Graph(quantized(io=io))
    for match in match_tensors(Graph(trained_xcat), integer_graph)[1:-1]:
        assert integer_graph.producer[match.integer_tensor.index].kind == match.operator
        assert match.integer_tensor.shape == match.float_tensor.shape


def test_split(trained_xcat, quantized):
    """The outputs of a split, which the quantizer renames, are matched in their order."""
    matches = match_tensors(Graph(trained_xcat), Graph(quantized()))
    channels = {
        match.float_tensor.name: match.integer_tensor.shape[-1]
        for match in matches
        if match.operator == "SPLIT_V"
    }
    assert channels == {
        "xcat/block1_split/split": 21,
        "xcat/block1_split/split1": 7,
        "xcat/block2_split/split": 21,
        "xcat/block2_split/split1": 7,
    }


def test_order_of_execution(trained_xcat, quantized):
    """Matches come in the order in which the interpreter runs the float model."""
    details = Interpreter(model_content=trained_xcat)._get_ops_details()
    executed = [
        (int(index), detail["op_name"])
        for detail in details
        for index in detail["outputs"]
        if detail["op_name"] != "DELEGATE"
    ]
    matches = match_tensors(Graph(trained_xcat), Graph(quantized()))
    assert matches[0].operator == INPUT
    assert [(match.float_tensor.index, match.operator) for match in matches[1:]] == executed


def test_other_networks(espcn, fsrcnn, abpn, photographs):
    """Names survive in networks of other projects: TANH, PRELU, TRANSPOSE_CONV, white at 255."""
    for model in (espcn, fsrcnn, abpn):
        integer = cal.quantize(model, cal.collect(model, photographs).merged())
        matches = match_tensors(Graph(model), Graph(integer))
        assert len(matches) == len(Graph(model).activations)


def test_clip_taken_off(trained_xcat, quantized):
    """Without its last clip, the integer output is the float output's twin, and no other's."""
    flat = graph._parse(quantized(io="int8"), "model")
    (subgraph,) = flat.subgraphs
    subgraph.operators = subgraph.operators[:-2]  # MINIMUM and RELU, which copy bytes
    subgraph.outputs = subgraph.operators[-1].outputs
    flat.signatureDefs = None
    float_graph, shorter = Graph(trained_xcat), Graph(graph._pack(flat))
    twins = {
        match.float_tensor.index: match.integer_tensor
        for match in match_tensors(float_graph, shorter)
    }
    assert twins[float_graph.output_index].name == "xcat/depth_to_space/DepthToSpace"
    assert [tensor.index for tensor in twins.values()].count(shorter.output_index) == 1
    assert {tensor.name for tensor in float_graph.activations if tensor.index not in twins} == {
        "xcat/depth_to_space/DepthToSpace",
        "xcat/clipped_relu/Minimum",
    }


def test_only_float_with_integer(trained_xcat, sound):
    """Tensors are twins only where one holds floats and the other integers with a scale."""
    assert match_tensors(Graph(trained_xcat), Graph(trained_xcat)) == ()
    assert match_tensors(Graph(sound), Graph(sound)) == ()


def test_bytes_without_scale(trained_xcat):
    """Bytes that a float network takes as they are, without a scale, are nothing's twin."""
    picture = tf_keras.Input((None, None, 3), dtype="uint8")
    scaled = tf_keras.layers.Rescaling(1 / 255)(picture)
    casting = convert_keras(tf_keras.Model(picture, tf_keras.layers.UpSampling2D(3)(scaled)))
    assert Graph(casting).input.dtype == "uint8"
    assert match_tensors(Graph(trained_xcat), Graph(casting)) == ()


def test_grid(trained_xcat, quantized):
    """The grid of a pinned input is black to white in 256 steps, unsigned and signed."""
    for io, zero_point in (("uint8", 0), ("int8", -128)):
        grid = match_tensors(Graph(trained_xcat), Graph(quantized(io=io)))[0].grid
        assert grid.zero_point == zero_point
        assert grid.scale == pytest.approx(1 / 255)
        assert (grid.minimum, grid.maximum) == pytest.approx((0, 1))
