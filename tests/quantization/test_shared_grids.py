"""Tensors that TFLite stores in one grid have one range, and known ranges stay."""

import numpy as np
import pytest

from qsr.calibration import collect, quantize
from qsr.quantization.shared_grids import TANH_RANGE, shared_grids
from qsr.tflite.graph import Graph


@pytest.mark.parametrize("name", ["trained_xcat", "espcn", "abpn_of_any_size", "fsrcnn"])
def test_as_the_quantizer_groups_them(request, photographs, name):
    """In the quantizer's own integer model, all tensors of a group have the grid of its range."""
    model = request.getfixturevalue(name)
    graph, ranges = Graph(model), collect(model, photographs).merged()
    grids = shared_grids(graph, ranges)
    assert sorted(name for grid in grids for name in grid.tensors) == sorted(
        tensor.name for tensor in graph.activations
    )
    spans = {name: (grid.minimum, grid.maximum) for grid in grids for name in grid.tensors}
    integer = Graph(quantize(model, ranges.with_known(spans)))
    found = {tensor.name: tensor for tensor in integer.tensors}
    for grid in grids:
        scales = {float(found[name].scale[0]) for name in grid.tensors if name in found}
        for scale in scales:
            assert scale == pytest.approx((grid.maximum - grid.minimum) / 255, rel=1e-3)


def test_operands_of_a_concatenation_share_their_range(trained_xcat, photographs):
    """What is concatenated, its result, and the parts it is split into again have one range."""
    graph, ranges = Graph(trained_xcat), collect(trained_xcat, photographs).merged()
    group_of = {name: grid for grid in shared_grids(graph, ranges) for name in grid.tensors}
    measured = dict(zip(ranges.tensors, ranges.maximum, strict=True))
    joins = [operator for operator in graph.operators if operator.kind == "CONCATENATION"]
    assert joins
    for operator in joins:
        names = [graph.tensors[index].name for index in (*operator.inputs, *operator.outputs)]
        (group,) = {id(group_of[name]): group_of[name] for name in names}.values()
        assert group.maximum == max(measured[name] for name in names if name in measured)


def test_what_is_known_is_fixed(espcn, photographs):
    """Input and output have a picture's range, TANH has its own, and the rest is measured."""
    graph, ranges = Graph(espcn), collect(espcn, photographs).merged()
    grids = shared_grids(graph, ranges)
    of_tanh = {
        graph.tensors[operator.outputs[0]].name
        for operator in graph.operators
        if operator.kind == "TANH"
    }
    for grid in grids:
        span = (grid.minimum, grid.maximum)
        if {graph.input.name, graph.output.name}.intersection(grid.tensors):
            assert (span, grid.fixed) == ((0.0, 1.0), True)
        elif of_tanh.intersection(grid.tensors):
            assert (span, grid.fixed) == (TANH_RANGE, True)
        else:
            assert not grid.fixed
            assert np.diff(span) > 0
