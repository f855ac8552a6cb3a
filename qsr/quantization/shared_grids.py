"""Which tensors of a model TFLite gives one grid, so that they have one range."""

from dataclasses import dataclass

from qsr.calibration.quantize import picture_ranges
from qsr.calibration.ranges import Ranges
from qsr.tflite.graph import Graph
from qsr.tflite.io_grid import AVERAGES, MOVES, Range

KEEPS_GRID = MOVES | AVERAGES | {"MAXIMUM", "MINIMUM"}
"""Operators whose result TFLite stores in their operands' grid."""

STEPS = 255
"""Steps of a grid of 8 bits."""

TANH_RANGE = (-1.0, 127.0 / 128.0)
"""TANH has a grid of its own: scale 1/128, zero point 0."""


@dataclass(frozen=True)
class SharedGrid:
    """Tensors of one grid.

    Attributes:
        tensors: their names.
        minimum: smallest value, in real units, 0 or below.
        maximum: largest value, 0 or above.
        fixed: whether the range is known beforehand: that of a picture, or of TANH; in training,
            whether it stays for any reason.
    """

    tensors: tuple[str, ...]
    minimum: float
    maximum: float
    fixed: bool


def shared_grids(graph: Graph, ranges: Ranges) -> tuple[SharedGrid, ...]:
    """Group the activations of a float model by grid.

    Args:
        graph: a float model.
        ranges: of its activations; those tied to the picture may be missing.

    Returns:
        The groups; every activation is in one. Where a range is known beforehand it is that, and
        else it spans the measured ranges of all tensors in the group, and 0.
    """
    known = picture_ranges(graph)
    measured = {
        name: (float(low), float(high))
        for name, low, high in zip(ranges.tensors, ranges.minimum, ranges.maximum, strict=True)
    }
    of_tanh = _tanh_results(graph)
    groups = []
    for names in _groups(graph):
        fixed = [known[name] for name in names if name in known]
        if not fixed and of_tanh.intersection(names):
            fixed = [TANH_RANGE]
        spans = fixed or [measured[name] for name in names if name in measured]
        lowest = min(0.0, *(low for low, _ in spans))
        highest = max(0.0, *(high for _, high in spans))
        groups.append(SharedGrid(tuple(names), lowest, highest, bool(fixed)))
    return tuple(groups)


def picture_addends(graph: Graph) -> dict[str, Range]:
    """Return, for what is added to a tensor of the picture's grid, the range of the same step.

    With that step the sum is exact, and nothing is rounded twice. With 8 signed bits the range
    holds the steps from -128 to 127, and 0 is one of them.
    """
    known = picture_ranges(graph)
    found: dict[str, Range] = {}
    for operator in graph.operators:
        if operator.kind != "ADD":
            continue
        spans = {known.get(graph.tensors[index].name) for index in operator.outputs}
        names = [graph.tensors[index].name for index in operator.inputs]
        for name, other in zip(names, reversed(names), strict=True):
            span = known.get(other)
            if span is not None and span[0] == 0 and spans == {span} and name not in known:
                step = span[1] / STEPS
                found[name] = -128 * step, 127 * step
    return found


def _groups(graph: Graph) -> list[list[str]]:
    """Return the names of the activations, those of one grid together, in order of execution."""
    group_of: dict[int, list[int]] = {tensor.index: [tensor.index] for tensor in graph.activations}
    for operator in graph.operators:
        if operator.kind not in KEEPS_GRID:
            continue
        tied = [index for index in (*operator.inputs, *operator.outputs) if index in group_of]
        joined = sorted({member for index in tied for member in group_of[index]})
        group_of.update(dict.fromkeys(joined, joined))
    distinct = {id(members): members for members in group_of.values()}
    return [[graph.tensors[index].name for index in members] for members in distinct.values()]


def _tanh_results(graph: Graph) -> set[str]:
    """Return the names of the tensors that TANH makes."""
    return {
        graph.tensors[operator.outputs[0]].name
        for operator in graph.operators
        if operator.kind == "TANH"
    }
