"""Clips of the reference that the tested model leaves to the ends of its grids."""

import math

from qsr.analysis.dataflow import Dataflow
from qsr.analysis.grid import grid_of, has_grid
from qsr.analysis.pair import ModelPair
from qsr.tflite.float_view import Bounds
from qsr.tflite.graph import Graph

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
        bounds = (
            lowest if lowest > own_lowest + _slack(lowest) else -math.inf,
            highest if highest < own_highest - _slack(highest) else math.inf,
        )
        if bounds != _NONE:
            found[tested.plain(match.tested.index)] = bounds
    return found


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
    if not has_grid(tensor):
        return _NONE
    grid = grid_of(tensor)
    return grid.minimum, grid.maximum
