"""Removes from an integer model the operators that are proved to copy bytes.

TFLite gives the two sides of a clip one grid. If that grid cannot hold a value beyond the clip's
bounds, whoever wrote the clip's input has clipped already, and the clip copies. XCAT's clip to
[0, 1] is one: in a grid of black to white it becomes MINIMUM and RELU over the enlarged picture, a
third of the network's run time.
"""

import math

import numpy as np

from qsr.tflite.graph import Graph, Operator, Tensor

_CLIPS = {
    "RELU": (0.0, math.inf),
    "RELU6": (0.0, 6.0),
    "RELU_0_TO_1": (0.0, 1.0),
    "RELU_N1_TO_1": (-1.0, 1.0),
}
"""Smallest and largest value that a clip lets through, in real units."""

_ROUNDING = 0.25
"""A bound this share of a step inside the grid's end is rounded to that end by every kernel."""


def fold_copies(model: bytes) -> bytes:
    """Remove the operators that :func:`copies` names; every output byte stays.

    What reads their results reads what they read. Tensors keep their numbers, and input, output and
    signature stay as they are. A copy right from the model's input to its output stays too.

    Args:
        model: content of a ``.tflite`` file.

    Returns:
        Content of the file without them; the same bytes if there are none.

    Raises:
        ModelError: damaged, or not a model with one input and one output.
    """
    graph = Graph(model)
    sources: dict[int, int] = {}
    removed = set()
    for operator in copies(graph):
        source = sources.get(operator.inputs[0], operator.inputs[0])
        (result,) = operator.outputs
        if result == graph.output_index and source not in graph.producer:
            continue
        sources[result] = source
        removed.add(operator.index)
    if not removed:
        return model
    return graph.rewired(_with_output(sources, graph.output_index), without=removed)


def copies(graph: Graph) -> tuple[Operator, ...]:
    """Return the operators whose result is, byte for byte, their first input.

    They are clips that cannot cut anything off, as their input's grid ends within their bounds: the
    RELUs, and MINIMUM and MAXIMUM with a stored bound; changes of grid between two equal grids; and
    concatenations of one tensor. All are read off data types, scales, zero points and stored
    bounds alone; operators on real numbers are none.

    Args:
        graph: an integer model.
    """
    return tuple(operator for operator in graph.operators if _copies(graph, operator))


def _with_output(sources: dict[int, int], output: int) -> dict[int, int]:
    """Return which tensor takes the place of which, so that the output keeps its own."""
    if output not in sources:
        return sources
    first = sources[output]  # what made this makes the output instead
    places = {result: output if source == first else source for result, source in sources.items()}
    return places | {first: output}


def _copies(graph: Graph, operator: Operator) -> bool:
    """Whether an operator's result is its first input, and that input is no constant."""
    if not operator.inputs or len(operator.outputs) != 1:
        return False
    first, result = (graph.tensors[index] for index in (operator.inputs[0], *operator.outputs))
    if first.constant or not _one_grid(first, result) or first.shape != result.shape:
        return False
    if operator.kind in _CLIPS:
        return _within(first, *_CLIPS[operator.kind])
    if operator.kind in {"MINIMUM", "MAXIMUM"}:
        return _lets_all_through(graph, operator, first)
    if operator.kind == "CONCATENATION":
        return len(operator.inputs) == 1 and not operator.options.fusedActivationFunction
    return operator.kind == "QUANTIZE"


def _one_grid(first: Tensor, second: Tensor) -> bool:
    """Whether two tensors hold integers that stand for the same real numbers."""
    return (
        first.dtype == second.dtype
        and first.dtype in {"int8", "uint8", "int16"}
        and first.scale.size == second.scale.size == 1
        and np.array_equal(first.scale, second.scale)
        and np.array_equal(first.zero_point, second.zero_point)
    )


def _within(tensor: Tensor, lowest: float, highest: float) -> bool:
    """Whether bounds in real units, rounded to the tensor's grid, lie at its ends or beyond."""
    ends = np.iinfo(tensor.dtype)
    scale, zero_point = float(tensor.scale[0]), int(tensor.zero_point[0])
    return (
        lowest / scale <= ends.min - zero_point + _ROUNDING
        and highest / scale >= ends.max - zero_point - _ROUNDING
    )


def _lets_all_through(graph: Graph, operator: Operator, first: Tensor) -> bool:
    """Whether the bound of a MINIMUM or MAXIMUM is stored, of the same grid, and at its end."""
    bound = graph.tensors[operator.inputs[1]]
    if not bound.constant or not _one_grid(first, bound) or not _spreads(bound, first):
        return False
    ends = np.iinfo(first.dtype)
    end = ends.max if operator.kind == "MINIMUM" else ends.min
    return bool((graph.constant(bound.index) == end).all())


def _spreads(bound: Tensor, picture: Tensor) -> bool:
    """Whether a bound is spread over a picture, and not the picture over the bound."""
    sides = zip(reversed(bound.shape), reversed(picture.shape), strict=False)
    return len(bound.shape) <= len(picture.shape) and all(
        side in {1, of_picture} for side, of_picture in sides
    )
