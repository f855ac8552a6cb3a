"""What a network computes, apart from grids and clips."""

import math

import numpy as np
import pytest
from rewrites import unfused

from qsr.analysis.dataflow import Dataflow
from qsr.analysis.left_out_clips import clip_bounds, left_out_clips
from qsr.analysis.pair import ModelPair
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


class TestFloat16:
    """A network whose every stored value is float16 and converted before it is read."""

    def test_values(self, trained_xcat, half_xcat):
        """The same is computed of the same stored values, but for numpy's rounding to float16."""
        single, half = Graph(trained_xcat), Graph(half_xcat)
        assert sum(one.kind == "DEQUANTIZE" for one in half.operators) == 17
        values, halves = Dataflow(single).values, Dataflow(half).values
        assert [one.function for one in halves] == [one.function for one in values]
        assert sum(len(one.constants) for one in values) == 16
        for one, other in zip(values, halves, strict=True):
            assert len(one.operands) == len(other.operands)
            for stored, rounded in zip(one.constants, other.constants, strict=True):
                assert half.tensors[rounded].dtype == "float16"
                expected = single.constant(stored).astype(np.float16)
                np.testing.assert_array_equal(half.constant(rounded), expected)

    def test_families(self, trained_xcat, half_xcat):
        """A clip is one, wherever its bound is converted: families and spans are the same."""
        flows = [Dataflow(Graph(model)) for model in (trained_xcat, half_xcat)]
        one, other = (
            [
                [(flow.graph.tensors[index].shape, flow.span(index)) for index in family]
                for family in flow.families.values()
            ]
            for flow in flows
        )
        assert one == other
        assert [[clip.kind for clip in flow.clips] for flow in flows] == [["MINIMUM", "RELU"]] * 2

    def test_clips(self, trained_xcat, half_xcat, sound):
        """Clips of an integer model have the same bounds in a float16 reference as in float32."""
        single, half = (ModelPair(model, sound) for model in (trained_xcat, half_xcat))
        assert left_out_clips(half) == left_out_clips(single) == {}
        assert clip_bounds(half) == clip_bounds(single)
        assert [bound.item() for bound in clip_bounds(half).values()] == [1.0]


def test_ancestors(trained_xcat):
    """The sum of both halves of the network is made of everything before it, and not of itself."""
    graph = Graph(trained_xcat)
    flow = Dataflow(graph)
    addition = next(value for value in flow.values if value.operator.kind == "ADD")
    before = {value.head for value in flow.values if value.operator.index < addition.operator.index}
    assert flow.ancestors[addition.head] == before | {graph.input_index}
