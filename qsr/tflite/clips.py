"""Clips in a row: what they let through, and who writes what they read.

A clip to [0, 1] is several operators in a row, such as MINIMUM and RELU, and operators that only
move values, DEPTH_TO_SPACE above all, may stand between them. Such a run is clipped, moved and
changed from grid to grid, and nothing else; it is what can be removed or moved to another grid as
a whole.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from qsr.tflite.graph import Graph, Operator, Tensor

CLIPS = {
    "RELU": (0.0, math.inf),
    "RELU6": (0.0, 6.0),
    "RELU_0_TO_1": (0.0, 1.0),
    "RELU_N1_TO_1": (-1.0, 1.0),
}
"""Smallest and largest value that a clip lets through, in real units."""

BOUNDED = {"MINIMUM", "MAXIMUM"}
"""Operators that clip if one of their operands is stored."""

_MOVES = {
    "DEPTH_TO_SPACE",
    "EXPAND_DIMS",
    "RESHAPE",
    "RESIZE_NEAREST_NEIGHBOR",
    "SLICE",
    "SPACE_TO_DEPTH",
    "SQUEEZE",
    "STRIDED_SLICE",
    "TILE",
    "TRANSPOSE",
}
"""Every value of the result is one of the first operand's; TFLite keeps the grid."""


@dataclass(frozen=True)
class Bound:
    """The value that a MINIMUM or MAXIMUM compares with.

    Attributes:
        value: in real units.
        slack: half a step of the grid that it is stored in: so far may the value that was meant
            lie from it. 0 for a float.
    """

    value: float
    slack: float


@dataclass(frozen=True)
class ClipRun:
    """Operators in a row that clip, move and change the grid, and nothing else.

    Attributes:
        graph: the model.
        operators: in order; each but the first is the only reader of the one before.
    """

    graph: Graph
    operators: tuple[Operator, ...]

    @property
    def clips(self) -> tuple[Operator, ...]:
        """Those of the operators that clip."""
        return tuple(operator for operator in self.operators if is_clip(self.graph, operator))

    @property
    def tensors(self) -> tuple[int, ...]:
        """Numbers of what the first reads, and of what each makes."""
        first, *_ = self.operators
        return (first.inputs[0], *(operator.outputs[0] for operator in self.operators))

    @cached_property
    def lowest(self) -> Bound:
        """The largest of the lower bounds; minus infinity if there is none."""
        return max((bounds(self.graph, clip)[0] for clip in self.clips), key=lambda end: end.value)

    @cached_property
    def highest(self) -> Bound:
        """The smallest of the upper bounds; infinity if there is none."""
        return min((bounds(self.graph, clip)[1] for clip in self.clips), key=lambda end: end.value)


def clip_runs(graph: Graph) -> tuple[ClipRun, ...]:
    """Return the runs of a model, float or integer, in which something is clipped.

    Args:
        graph: the model.
    """
    seen: set[int] = set()
    runs = []
    for operator in graph.operators:
        if operator.index in seen or not _is_link(graph, operator):
            continue
        row = [operator]
        while (following := _only_reader(graph, row[-1])) and _is_link(graph, following):
            row.append(following)
        seen.update(one.index for one in row)
        run = ClipRun(graph, tuple(row))
        if run.clips:
            runs.append(run)
    return tuple(runs)


def is_clip(graph: Graph, operator: Operator) -> bool:
    """Whether an operator cuts values off at bounds that are stored, one for all values.

    Args:
        graph: the model.
        operator: one of its operators.
    """
    if operator.kind in CLIPS:
        return True
    if operator.kind not in BOUNDED or not graph.tensors[operator.inputs[1]].constant:
        return False
    first, bound = (graph.tensors[index] for index in operator.inputs)
    stored = graph.constant(bound.index)
    return (
        stored.size > 0
        and bool((stored == stored.flat[0]).all())
        and spreads(bound, first)
        and (not first.quantized or one_grid(first, bound))
    )


def bounds(graph: Graph, clip: Operator) -> tuple[Bound, Bound]:
    """Return the smallest and the largest value that a clip lets through.

    Args:
        graph: the model.
        clip: one of its operators that :func:`is_clip`.
    """
    if clip.kind in CLIPS:
        lowest, highest = CLIPS[clip.kind]
        return Bound(lowest, 0.0), Bound(highest, 0.0)
    stored = graph.tensors[clip.inputs[1]]
    raw = float(graph.constant(stored.index).flat[0])
    bound = Bound(raw, 0.0)
    if stored.quantized:
        scale, zero_point = float(stored.scale[0]), int(stored.zero_point[0])
        bound = Bound((raw - zero_point) * scale, scale / 2)
    if clip.kind == "MINIMUM":
        return Bound(-math.inf, 0.0), bound
    return bound, Bound(math.inf, 0.0)


def one_grid(first: Tensor, second: Tensor) -> bool:
    """Whether two tensors hold integers that stand for the same real numbers."""
    return (
        first.dtype == second.dtype
        and first.dtype in {"int8", "uint8", "int16"}
        and first.scale.size == second.scale.size == 1
        and np.array_equal(first.scale, second.scale)
        and np.array_equal(first.zero_point, second.zero_point)
    )


def spreads(bound: Tensor, picture: Tensor) -> bool:
    """Whether a bound is spread over a picture, and not the picture over the bound."""
    sides = zip(reversed(bound.shape), reversed(picture.shape), strict=False)
    return len(bound.shape) <= len(picture.shape) and all(
        side in {1, of_picture} for side, of_picture in sides
    )


def _is_link(graph: Graph, operator: Operator) -> bool:
    """Whether an operator makes one tensor of one other, clipped, moved or on another grid."""
    if len(operator.outputs) != 1 or not operator.inputs:
        return False
    first, result = (graph.tensors[index] for index in (operator.inputs[0], operator.outputs[0]))
    if first.constant:
        return False
    others = [index for index in operator.inputs[1:] if index >= 0]
    if operator.kind in _MOVES:
        return all(graph.tensors[index].constant for index in others)
    if operator.kind == "QUANTIZE":
        return first.quantized and result.quantized
    return is_clip(graph, operator)


def _only_reader(graph: Graph, operator: Operator) -> Operator | None:
    """Return what alone reads an operator's result; None for the model's output."""
    (result,) = operator.outputs
    readers = graph.consumers[result]
    if result == graph.output_index or len(readers) != 1:
        return None
    (reader,) = readers
    return reader if reader.inputs.count(result) == 1 and reader.inputs[0] == result else None
