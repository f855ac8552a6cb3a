"""Gives clips that cut values off a grid in which they copy, in a finished integer model.

Where a clip's input has a grid that reaches beyond the clip's bounds, the clip works. But the
values beyond them are cut off anyway: if what writes the clip's input wrote them into a grid that
ends at the bounds, it would saturate there, the clip would copy, and the steps would be finer.

That takes no float model. TFLite's kernels for convolutions and element-wise arithmetic have no
stored multiplier: they compute it from the scales of their inputs and of their output when the
model is loaded, and each keeps its accumulator whatever the output's grid is (the biases' scale is
the input's times the weights'). So the grid of such a result can be changed in the file, as long as
nothing but the clip reads it: a convolution's biases fit only the grid of the input that it has.
See the restrictions of each operator in TFLite's 8-bit quantization specification
(https://www.tensorflow.org/lite/performance/quantization_spec).
"""

from dataclasses import dataclass

import numpy as np

from qsr.tflite.clips import BOUNDED, ClipRun, clip_runs
from qsr.tflite.fold import copies, within
from qsr.tflite.graph import Graph, Operator, Tensor

_WRITERS = {
    "ADD",
    "CONV_2D",
    "DEPTHWISE_CONV_2D",
    "FULLY_CONNECTED",
    "LEAKY_RELU",
    "MUL",
    "PRELU",
    "QUANTIZE",
    "SUB",
    "TRANSPOSE_CONV",
}
"""Operators whose result may have any grid."""

_WHITE = (1.0, 255.0)
"""What white is, in real units; a stored bound says it to half a step of its grid."""

_BYTES = {"int8", "uint8"}
_HAIR = 1e-3


@dataclass(frozen=True)
class GridChange:
    """A tensor that gets another grid.

    Attributes:
        tensor: its name.
        writer: kind of the operator that makes it.
        lowest: smallest value of the grid that it has, in real units.
        highest: its largest value.
    """

    tensor: str
    writer: str
    lowest: float
    highest: float


@dataclass(frozen=True)
class CuttingClip:
    """Clips in a row of which some cut values off, so that they cannot be removed as they are.

    Attributes:
        operators: kinds of those that do.
        lowest: the smallest value that they let through, in real units.
        highest: the largest.
        changes: the tensors that need a grid of just these values for the operators to copy; empty
            if they cannot get it in this file.
        obstacle: why they cannot get it; empty if they can.
    """

    operators: tuple[str, ...]
    lowest: float
    highest: float
    changes: tuple[GridChange, ...]
    obstacle: str


@dataclass(frozen=True)
class _Grid:
    """Steps from a smallest value on, of whatever integer type."""

    scale: float
    steps_below_zero: int

    def zero_point(self, dtype: str) -> int:
        """Return what 0 is in integers of that type."""
        return int(np.iinfo(dtype).min) + self.steps_below_zero

    def ends(self) -> tuple[float, float]:
        """Return the smallest and the largest value of 8 bits, in real units."""
        first = -self.steps_below_zero
        return first * self.scale, (first + 255) * self.scale


@dataclass(frozen=True)
class _Pin:
    """The grid that makes a run's clips copy, and the tensors that have to get it."""

    grid: _Grid
    tensors: tuple[int, ...]


def cutting_clips(graph: Graph) -> tuple[CuttingClip, ...]:
    """Return the clips of an integer model that cut values off, and what would make them copy.

    Args:
        graph: the model.
    """
    found = []
    for run in clip_runs(graph):
        cutting = _cutting(run)
        if not cutting:
            continue
        pin = _pin(run)
        lowest, highest = (run.lowest.value, run.highest.value)
        if isinstance(pin, _Pin):
            lowest, highest = pin.grid.ends()
        found.append(
            CuttingClip(
                operators=tuple(operator.kind for operator in cutting),
                lowest=lowest,
                highest=highest,
                changes=_changes(graph, pin.tensors) if isinstance(pin, _Pin) else (),
                obstacle=pin if isinstance(pin, str) else "",
            )
        )
    return tuple(found)


def pin_clips(model: bytes, *, source: str = "model") -> bytes:
    """Give the clips that :func:`cutting_clips` tells of, and what feeds them, the grid they need.

    This changes bytes of the output: what was rounded in several grids is now rounded in one, and
    what a grid inside the bounds cut off is let through.

    Args:
        model: content of an integer ``.tflite`` file.
        source: named in errors.

    Returns:
        Content of the model with these grids; the same bytes if no grid can be changed.

    Raises:
        ModelError: damaged, or not a model with one input and one output.
    """
    graph = Graph(model, source=source)
    grids: dict[int, tuple[float, int]] = {}
    ends: dict[int, int] = {}
    for run in clip_runs(graph):
        pin = _pin(run) if _cutting(run) else ""
        if isinstance(pin, str):
            continue
        for index in pin.tensors:
            grids[index] = pin.grid.scale, pin.grid.zero_point(graph.tensors[index].dtype)
        for operator in run.clips:
            if operator.kind in BOUNDED:
                picture, bound = operator.inputs
                limits = np.iinfo(graph.tensors[bound].dtype)
                grids[bound] = grids[picture]
                ends[bound] = int(limits.max if operator.kind == "MINIMUM" else limits.min)
    if not grids:
        return model
    bounds = {index: np.full_like(graph.constant(index), end) for index, end in ends.items()}
    return Graph(graph.with_grids(grids)).with_constants(bounds)


def _cutting(run: ClipRun) -> tuple[Operator, ...]:
    """Return the clips of a run of integers that do not copy."""
    kept = {operator.index for operator in copies(run.graph)}
    return tuple(clip for clip in run.clips if clip.index not in kept)


def _pin(run: ClipRun) -> _Pin | str:
    """Return the grid that makes a run's clips copy, or why its tensors cannot get one."""
    graph = run.graph
    *inner, last = run.tensors
    obstacle = _obstacle(run, inner)
    if obstacle:
        return obstacle
    lowest = run.lowest.value - run.lowest.slack * (1 + _HAIR)
    highest = run.highest.value + run.highest.slack * (1 + _HAIR)
    tail = graph.tensors[last]
    if within(tail, lowest, highest):
        below = int(tail.zero_point[0]) - int(np.iinfo(tail.dtype).min)
        return _Pin(_Grid(float(tail.scale[0]), below), tuple(inner))
    readers = graph.consumers[last]
    if readers:
        return (
            f"its result is read by {readers[0].kind} in the grid that it has, which reaches "
            "beyond what is let through; quantize the float model anew"
        )
    return _Pin(_narrowed(run, tail), run.tensors)


def _narrowed(run: ClipRun, tail: Tensor) -> _Grid:
    """Return the grid of what a run lets through of the model's output."""
    limits = np.iinfo(tail.dtype)
    scale, zero_point = float(tail.scale[0]), int(tail.zero_point[0])
    lowest = max(run.lowest.value, (limits.min - zero_point) * scale)
    highest = min(run.highest.value, (limits.max - zero_point) * scale)
    if highest == run.highest.value:
        slack = run.highest.slack * (1 + _HAIR)
        highest = next((white for white in _WHITE if abs(highest - white) <= slack), highest)
    steps = int(limits.max) - int(limits.min)
    below = round(-lowest / (highest - lowest) * steps)
    sides = ((-lowest, below), (highest, steps - below))
    return _Grid(min(side / count for side, count in sides if count), below)


def _obstacle(run: ClipRun, inner: list[int]) -> str:
    """Say why the tensors before a run's last one cannot get another grid; empty if they can."""
    graph = run.graph
    tensors = [graph.tensors[index] for index in run.tensors]
    if any(tensor.dtype not in _BYTES for tensor in tensors):
        kind = next(tensor.dtype for tensor in tensors if tensor.dtype not in _BYTES)
        meant = "is symmetric around 0" if kind == "int16" else "has no grid"
        return f"it works on {kind}, which {meant}; only 8-bit integers end at a clip's bounds"
    if any(tensor.scale.size != 1 for tensor in tensors):
        return "it works on integers without a scale"
    if any(
        len(graph.consumers[operator.inputs[1]]) != 1
        for operator in run.clips
        if operator.kind in BOUNDED
    ):
        return "its bound is stored for others too"
    return _obstacle_before(graph, inner[0])


def _obstacle_before(graph: Graph, first: int) -> str:
    """Say why what a run reads cannot get another grid; empty if it can."""
    if first not in graph.producer:
        return "it reads the model's input, whose grid is given"
    writer = graph.producer[first]
    if writer.kind not in _WRITERS:
        return f"it reads what {writer.kind} makes, which keeps the grid of its input"
    if first == graph.output_index or len(graph.consumers[first]) != 1:
        return f"what {writer.kind} makes for it is read by others too, in the grid that it has"
    return ""


def _changes(graph: Graph, tensors: tuple[int, ...]) -> tuple[GridChange, ...]:
    """Describe the tensors that get another grid."""
    changes = []
    for index in tensors:
        tensor = graph.tensors[index]
        limits = np.iinfo(tensor.dtype)
        scale, zero_point = float(tensor.scale[0]), int(tensor.zero_point[0])
        changes.append(
            GridChange(
                tensor=tensor.name,
                writer=graph.producer[index].kind,
                lowest=(limits.min - zero_point) * scale,
                highest=(limits.max - zero_point) * scale,
            )
        )
    return tuple(changes)
