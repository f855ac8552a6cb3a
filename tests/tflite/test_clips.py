"""Clips in a row, as a graph has them."""

import math

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from chains import BLACK_TO_WHITE, BYTE, chain

from qsr import calibration as cal
from qsr.tflite.clips import clip_runs
from qsr.tflite.graph import Graph, _pack

CLIPPED_XCAT = ["DEPTH_TO_SPACE", "MINIMUM", "RELU"]


def kinds(run):
    """Return the kinds of a run's operators."""
    return [operator.kind for operator in run.operators]


@pytest.mark.parametrize("network", ["xcat", "trained_xcat"])
def test_clip_at_the_end(network, request):
    """The end of a float XCAT is one run that lets 0 to 1 through, bounds without slack."""
    (run,) = clip_runs(Graph(request.getfixturevalue(network)))
    assert kinds(run) == CLIPPED_XCAT
    assert [clip.kind for clip in run.clips] == ["MINIMUM", "RELU"]
    assert (run.lowest.value, run.highest.value) == (0, 1)
    assert run.lowest.slack == run.highest.slack == 0


def test_integers(trained_xcat, photographs):
    """In its integer model the change to uint8 is part of it, and the bound has half a step."""
    ranges = cal.collect(trained_xcat, photographs).merged()
    graph = Graph(cal.quantize(trained_xcat, ranges))
    (run,) = clip_runs(graph)
    assert kinds(run) == [*CLIPPED_XCAT, "QUANTIZE"]
    assert run.tensors[-1] == graph.output_index
    assert (run.lowest.value, run.highest.value) == pytest.approx((0, 1))
    assert run.highest.slack == pytest.approx(1 / 255 / 2)


@pytest.mark.parametrize("network", ["espcn", "fsrcnn"])
def test_none(network, request):
    """A network that clips nothing has none, though values are moved in it."""
    assert clip_runs(Graph(request.getfixturevalue(network))) == ()


def test_tightest():
    """Of several clips the tightest bounds count."""
    row = ["RELU6", "MINIMUM", "RELU_N1_TO_1", "RELU"]
    (run,) = clip_runs(Graph(chain(row, [(0.1, 0)] * 6, bound=3)))
    assert kinds(run) == row
    assert (run.lowest.value, run.highest.value) == pytest.approx((0, 0.3))


def test_one_sided():
    """A clip on one side lets everything through on the other."""
    (run,) = clip_runs(Graph(chain(["MAXIMUM"], [(0.1, 0)] * 3, bound=-20)))
    assert (run.lowest.value, run.highest.value) == pytest.approx((-2.0, math.inf))


def test_other_readers():
    """A run ends before a tensor that more than one operator reads, and at the output."""
    flat = schema.ModelT.InitFromPackedBuf(chain(["RELU", "RELU6", "ADD"], [BLACK_TO_WHITE] * 5), 0)
    *_, clip, second, addition = flat.subgraphs[0].operators
    addition.inputs = [clip.outputs[0], second.outputs[0]]
    assert [kinds(run) for run in clip_runs(Graph(_pack(flat)))] == [["RELU"], ["RELU6"]]
    flat.subgraphs[0].outputs = clip.outputs
    addition.inputs = [second.outputs[0], second.outputs[0]]
    assert [kinds(run) for run in clip_runs(Graph(_pack(flat)))] == [["RELU"], ["RELU6"]]


@pytest.mark.parametrize("change", ["values", "grid", "not stored"])
def test_no_clip(change):
    """A MINIMUM with many bounds, one of another grid, or none that is stored clips nothing."""
    flat = schema.ModelT.InitFromPackedBuf(chain(["MINIMUM"], [BLACK_TO_WHITE] * 3), 0)
    subgraph = flat.subgraphs[0]
    *_, operator = subgraph.operators
    bound = subgraph.tensors[operator.inputs[1]]
    if change == "values":
        bound.shape = [1]
        flat.buffers[bound.buffer].data = np.array([3], np.int8).view(np.uint8)
        assert len(clip_runs(Graph(_pack(flat)))) == 1
        subgraph.tensors[operator.inputs[0]].shape = [1, 1, 1, 2]
        subgraph.tensors[operator.inputs[0]].shapeSignature = [1, -1, -1, 2]
        bound.shape = [2]
        flat.buffers[bound.buffer].data = np.array([3, 4], np.int8).view(np.uint8)
    elif change == "grid":
        bound.quantization.scale = [2 * BYTE]
    else:
        operator.inputs = [operator.inputs[0], subgraph.inputs[0]]
    assert clip_runs(Graph(_pack(flat))) == ()
