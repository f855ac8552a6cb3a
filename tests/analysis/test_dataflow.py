"""What a network computes, apart from grids and clips."""

import math

import pytest
from rewrites import unfused

from qsr.analysis.dataflow import Dataflow
from qsr.tflite.graph import Graph
from qsr.tflite.splits import with_slices


def test_parts(trained_xcat):
    """The parts of a split are those that slices of the same places are."""
    split, sliced = (Dataflow(Graph(model)) for model in (trained_xcat, with_slices(trained_xcat)))
    assert [value.operator.kind for value in split.values].count("SPLIT_V") == 4
    assert [value.operator.kind for value in sliced.values].count("SLICE") == 4
    assert [value.function for value in split.values] == [value.function for value in sliced.values]
    parts = {value.function for value in split.values if value.operator.kind == "SPLIT_V"}
    assert parts == {("SLICE", ((3, 0, 21),)), ("SLICE", ((3, 21, 7),))}


def test_families(trained_xcat):
    """A clip of several operators is one family with what it clips, within its bounds."""
    graph = Graph(trained_xcat)
    flow = Dataflow(graph)
    enlarged, minimum, output = flow.families[flow.head(graph.output_index)]
    assert graph.producer[enlarged].kind == "DEPTH_TO_SPACE"
    assert output == graph.output_index
    assert flow.span(enlarged) == (-math.inf, math.inf)
    assert flow.span(minimum) == (-math.inf, 1.0)
    assert flow.span(output) == (0.0, 1.0)


def test_fused(trained_xcat):
    """A RELU is the same whether it is fused or not; what is computed is the same."""
    fused, apart = (Dataflow(Graph(model)) for model in (trained_xcat, unfused(trained_xcat)))
    assert [value.function for value in fused.values] == [value.function for value in apart.values]
    for one, other in zip(fused.values, apart.values, strict=True):
        spans = [
            [flow.span(index) for index in value.operands]
            for flow, value in ((fused, one), (apart, other))
        ]
        assert spans[0] == spans[1]


@pytest.mark.parametrize("io", ["uint8", "float32"])
def test_conversions(quantized, io):
    """Changes of grid are undone: of the tensors on both sides, one is the other."""
    graph = Graph(quantized(io=io))
    flow = Dataflow(graph)
    conversions = [one for one in graph.operators if one.kind in {"QUANTIZE", "DEQUANTIZE"}]
    assert len(conversions) == 2
    for operator in conversions:
        (source,), (result,) = operator.inputs, operator.outputs
        assert flow.plain(result) == flow.plain(source) == source
        assert flow.conversions[source] == (result,)
        assert result not in flow.by_head


def test_ancestors(trained_xcat):
    """The sum of both halves of the network is made of everything before it, and not of itself."""
    graph = Graph(trained_xcat)
    flow = Dataflow(graph)
    addition = next(value for value in flow.values if value.operator.kind == "ADD")
    before = {value.head for value in flow.values if value.operator.index < addition.operator.index}
    assert flow.ancestors[addition.head] == before | {graph.input_index}
