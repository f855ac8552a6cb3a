"""Clips that the two models differ in: left to the ends of grids, or with other bounds."""

import math
from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from qsr.analysis.dataflow import Dataflow
from qsr.analysis.grid import grid_of, has_grid
from qsr.analysis.pair import ModelPair
from qsr.tflite.clips import BOUNDED, bounds
from qsr.tflite.float_view import Bounds
from qsr.tflite.graph import Graph, Operator

_NONE: Bounds = (-math.inf, math.inf)
_SAME = 1e-6


def left_out_clips(pair: ModelPair) -> dict[int, Bounds]:
    """Return where the tested model must be clipped to be the reference in float arithmetic.

    The ends of an integer reference's grids are clips, too.

    Args:
        pair: the two models.

    Returns:
        Number of the tested model's tensor to the smallest and the largest value, in real units.
    """
    reference, tested = Dataflow(pair.reference_graph), Dataflow(pair.tested_graph)
    found = {}
    for match in pair.alignment.matches:
        lowest, highest = reference.span(match.reference.index)
        minimum, maximum = grid_ends(pair.reference_graph, match.reference.index)
        lowest, highest = max(lowest, minimum), min(highest, maximum)
        own_lowest, own_highest = tested.span(match.tested.index)
        cut = (
            lowest if lowest > own_lowest + _slack(lowest) else -math.inf,
            highest if highest < own_highest - _slack(highest) else math.inf,
        )
        if cut != _NONE:
            found[tested.plain(match.tested.index)] = cut
    return found


def clip_bounds(pair: ModelPair) -> dict[int, NDArray[np.float32]]:
    """Return the reference's values for the stored bounds of the tested model's clips.

    A bound that lies beyond its grid was stored as the grid's end: where the reference clips at 1,
    a model whose grid ends at 0.7 clips there. Bounds are paired in their order between the same
    tensors; one that the reference has none for lets everything through.

    Args:
        pair: the two models.

    Returns:
        Number of the tested model's stored bound to the reference's, in real units, of its shape.
    """
    reference, tested = Dataflow(pair.reference_graph), Dataflow(pair.tested_graph)
    heads = {
        tested.head(match.tested.index): reference.head(match.reference.index)
        for match in pair.alignment.matches
    }
    theirs: dict[tuple[int, str], list[float]] = defaultdict(list)
    for operator in _compares(reference):
        lowest, highest = bounds(reference.graph, operator)
        value = highest.value if operator.kind == "MINIMUM" else lowest.value
        theirs[reference.head(operator.outputs[0]), operator.kind].append(value)
    found = {}
    for operator in _compares(tested):
        head = heads.get(tested.head(operator.outputs[0]))
        if head is not None:
            left = theirs[head, operator.kind]
            none = math.inf if operator.kind == "MINIMUM" else -math.inf
            shape = tested.graph.tensors[operator.inputs[1]].shape
            found[operator.inputs[1]] = np.full(shape, left.pop(0) if left else none, np.float32)
    return found


def _compares(flow: Dataflow) -> list[Operator]:
    """Return the clips of a model whose bound is stored, in the order of execution."""
    return [one for one in flow.clips if one.kind in BOUNDED]


def _slack(bound: float) -> float:
    """Return by how much bounds may differ that were meant to be one."""
    return _SAME * max(1.0, abs(bound)) if math.isfinite(bound) else 0.0


def grid_ends(graph: Graph, index: int) -> Bounds:
    """Return the smallest and the largest value that a tensor can hold; infinite for a float.

    Args:
        graph: the model.
        index: the tensor's number.
    """
    tensor = graph.tensors[index]
    return grid_of(tensor).ends if has_grid(tensor) else _NONE
