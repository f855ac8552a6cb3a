"""Removes from an integer model the operators that are proved to copy bytes.

TFLite gives the two sides of a clip one grid. If that grid cannot hold a value beyond the clip's
bounds, whoever wrote the clip's input has clipped already, and the clip copies. XCAT's clip to
[0, 1] is one: in a grid of black to white it becomes MINIMUM and RELU over the enlarged picture, a
third of the network's run time.
"""

from dataclasses import dataclass

import numpy as np

from qsr.tflite.clips import BOUNDED, CLIPS, one_grid, spreads
from qsr.tflite.graph import Graph, Operator, Tensor

_ROUNDING = 0.25
"""A bound this share of a step inside the grid's end is rounded to that end by every kernel."""


@dataclass(frozen=True)
class Folded:
    """A model without the operators that copied bytes.

    Attributes:
        model: content of the ``.tflite`` file; the one that was given if nothing was removed.
        removed: kinds of the operators that were removed, in the order of execution.
    """

    model: bytes
    removed: tuple[str, ...]


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
    return fold(model).model


def fold(model: bytes, *, source: str = "model") -> Folded:
    """Remove the operators that copy bytes, as :func:`fold_copies`, and tell which.

    Args:
        model: content of a ``.tflite`` file.
        source: named in errors.

    Raises:
        ModelError: damaged, or not a model with one input and one output.
    """
    graph = Graph(model, source=source)
    sources, removed = _joined(graph, copies(graph))
    if not removed:
        return Folded(model, ())
    kinds = tuple(operator.kind for operator in removed)
    return Folded(_without(graph, sources, removed), kinds)


def drop(graph: Graph, operators: tuple[Operator, ...]) -> bytes:
    """Return a model without some operators, whatever they do; their readers read what they read.

    Args:
        graph: the model.
        operators: each makes one tensor, alike in type and shape to the first that it reads. One
            right from the model's input to its output stays.
    """
    sources, removed = _joined(graph, operators)
    return _without(graph, sources, removed) if removed else graph.model


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


def within(tensor: Tensor, lowest: float, highest: float) -> bool:
    """Whether bounds in real units, rounded to a tensor's grid, lie at its ends or beyond.

    Args:
        tensor: of integers, with one scale.
        lowest: the lower bound.
        highest: the upper bound.
    """
    ends = np.iinfo(tensor.dtype)
    scale, zero_point = float(tensor.scale[0]), int(tensor.zero_point[0])
    return (
        lowest / scale <= ends.min - zero_point + _ROUNDING
        and highest / scale >= ends.max - zero_point - _ROUNDING
    )


def _joined(
    graph: Graph, operators: tuple[Operator, ...]
) -> tuple[dict[int, int], tuple[Operator, ...]]:
    """Return what is read in place of each operator's result, and which operators can go."""
    sources: dict[int, int] = {}
    removed = []
    for operator in operators:
        source = sources.get(operator.inputs[0], operator.inputs[0])
        (result,) = operator.outputs
        if result == graph.output_index and source not in graph.producer:
            continue
        sources[result] = source
        removed.append(operator)
    return sources, tuple(removed)


def _without(graph: Graph, sources: dict[int, int], removed: tuple[Operator, ...]) -> bytes:
    """Return the model without operators, given what is read in place of their results."""
    places = _with_output(sources, graph.output_index)
    return graph.rewired(places, without={operator.index for operator in removed})


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
    if first.constant or not one_grid(first, result) or first.shape != result.shape:
        return False
    if operator.kind in CLIPS:
        return within(first, *CLIPS[operator.kind])
    if operator.kind in BOUNDED:
        return _lets_all_through(graph, operator, first)
    if operator.kind == "CONCATENATION":
        return len(operator.inputs) == 1 and not operator.options.fusedActivationFunction
    return operator.kind == "QUANTIZE"


def _lets_all_through(graph: Graph, operator: Operator, first: Tensor) -> bool:
    """Whether the bound of a MINIMUM or MAXIMUM is stored, of the same grid, and at its end."""
    bound = graph.tensors[operator.inputs[1]]
    if not bound.constant or not one_grid(first, bound) or not spreads(bound, first):
        return False
    ends = np.iinfo(first.dtype)
    end = ends.max if operator.kind == "MINIMUM" else ends.min
    return bool((graph.constant(bound.index) == end).all())
