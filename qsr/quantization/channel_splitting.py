"""Channel splitting: a channel that suffers from its grid is computed twice, half a step apart.

All channels of an activation share one 8-bit grid of step s. Where one channel x matters more than
the others, as the brightness of the picture does in a small SR network, its rounding alone may be
most of what 8 bits cost. Two copies of it, x + s/4 and x - s/4, that the next convolution reads
with half the weight each, give back x; and after rounding, by Hermite's identity,

    round((x + s/4) / s) + round((x - s/4) / s) = round(2x / s),

which is what a grid of step s/2 gives: a quarter of the noise. k copies, s/k apart, give one of
step s/k. The network's function stays what it was, but where x is within s/2 of the bend of a ReLU
or PReLU of slope a: what it gives there is off by |1 - a| * s/8 at most. A PReLU's result has a
grid of its own, in which copies are half a step apart only if the two grids have the same step.

Splitting outliers among the weights so is due to Zhao et al., 2019, "Improving Neural Network
Quantization without Retraining using Outlier Channel Splitting"; halves that round to the whole are
their section 3.3, and are used here for the weights that read the copies, where each output channel
has a weight scale of its own.
"""

from collections.abc import Mapping

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from qsr.calibration.ranges import Ranges
from qsr.quantization.chains import BIAS_PLACE, DATA_PLACE, KERNEL_PLACE, bias_of
from qsr.quantization.shared_grids import STEPS, shared_grids
from qsr.tflite.graph import Graph, Operator

Copies = Mapping[int, NDArray[np.intp]]
"""Place of a CONV_2D in the order of execution to the number of copies, 1 or more, of each of its
output channels."""

_WEIGHT_LEVELS = 127
_LAST_AXIS = {3, -1}
_FUSED = schema.ActivationFunctionType
_BENDS = {"RELU", "PRELU"}
_SIZE_PLACE, _SPLIT_AXIS_PLACE = 1, 2


def splittable(graph: Graph) -> tuple[Operator, ...]:
    """Return the convolutions whose output channels can be split, in the order of execution.

    All that they make must come, through ReLU, PReLU, SPLIT_V and CONCATENATION alone, to
    convolutions. (The parts of a SPLIT are equal, and could not grow each by itself.)

    Args:
        graph: a float model.
    """
    return tuple(
        operator
        for operator in graph.operators
        if operator.kind == "CONV_2D"
        and _reads(graph, operator, operator.inputs[0])
        and bias_of(operator) is not None
        and _is_stored(graph, operator.inputs[BIAS_PLACE["CONV_2D"]])
        and operator.options.fusedActivationFunction in {_FUSED.NONE, _FUSED.RELU}
        and _ends_in_convolutions(graph, operator.outputs[0])
    )


def split_channels(graph: Graph, ranges: Ranges, copies: Copies) -> bytes:
    """Return a float model in which some channels are there several times, parts of a step apart.

    Args:
        graph: a float model.
        ranges: of its activations; they say what a step is. Those tied to the picture may be
            missing.
        copies: how often each channel of some :func:`splittable` convolutions is to be there.

    Returns:
        Content of a float ``.tflite`` file. Its activations have the names they had.
    """
    editing = _Splitting(graph, ranges, copies)
    for operator in graph.operators:
        editing.pass_on(operator)
    channels = {index: int(counts.sum()) for index, counts in editing.counts.items()}
    return graph.with_channels(channels, editing.stored)


class _Splitting:
    """Walks a graph in the order of execution, and takes down what changes."""

    def __init__(self, graph: Graph, ranges: Ranges, copies: Copies) -> None:
        self.graph = graph
        self.copies = copies
        self.steps = {
            name: (grid.maximum - grid.minimum) / STEPS
            for grid in shared_grids(graph, ranges)
            for name in grid.tensors
        }
        self.counts: dict[int, NDArray[np.intp]] = {}  # of tensors whose channels have copies
        self.stored: dict[tuple[int, int], NDArray[np.generic]] = {}

    def pass_on(self, operator: Operator) -> None:
        """Take down what becomes of an operator."""
        if operator.kind in DATA_PLACE:
            self._convolution(operator)
            return
        if not self.counts.keys() & set(operator.inputs):
            return
        if operator.kind == "CONCATENATION":
            joined = [self._counts(index) for index in operator.inputs]
            self.counts[operator.outputs[0]] = np.concatenate(joined)
        elif operator.kind == "SPLIT_V":
            sizes = self.graph.constant(operator.inputs[_SIZE_PLACE])
            parts = np.split(self.counts[operator.inputs[0]], np.cumsum(sizes)[:-1])
            self.counts.update(zip(operator.outputs, parts, strict=True))
            grown = np.array([part.sum() for part in parts], sizes.dtype)
            self.stored[operator.index, _SIZE_PLACE] = grown
        elif operator.kind in _BENDS:
            counts = self.counts[operator.outputs[0]] = self.counts[operator.inputs[0]]
            if operator.kind == "PRELU":
                slopes = self.graph.constant(operator.inputs[1])
                self.stored[operator.index, 1] = slopes.repeat(counts, axis=-1)

    def _convolution(self, operator: Operator) -> None:
        """Have a convolution read copies, and make some."""
        data = operator.inputs[DATA_PLACE[operator.kind]]
        if data not in self.counts and operator.index not in self.copies:
            return
        kernel = self.graph.constant(operator.inputs[KERNEL_PLACE])
        if data in self.counts:
            kernel = _shared_out(kernel, self.counts[data])
        if operator.index in self.copies:
            counts = self.counts[operator.outputs[0]] = self.copies[operator.index]
            kernel = kernel.repeat(counts, axis=0)
            place = BIAS_PLACE[operator.kind]
            bias = self.graph.constant(operator.inputs[place])
            step = self.steps[self.graph.tensors[operator.outputs[0]].name]
            moved = bias.repeat(counts) + step * _offsets(counts)
            self.stored[operator.index, place] = moved.astype(np.float32)
        self.stored[operator.index, KERNEL_PLACE] = kernel.astype(np.float32)

    def _counts(self, index: int) -> NDArray[np.intp]:
        """Return how often each channel of a tensor is there by now."""
        once = np.ones(self.graph.tensors[index].shape[-1], np.intp)
        return self.counts.get(index, once)


def _shared_out(kernel: NDArray[np.float32], counts: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return a kernel ``(out, height, width, in)`` that reads copies of its input channels.

    The parts of a weight are spread as copies are, so that rounded they sum up to it, rounded.
    Which part is the larger alternates from weight to weight: copies differ, too, and what the two
    differences make together would else add up over a kernel.
    """
    shares = (kernel.astype(np.float64) / counts).repeat(counts, axis=-1)
    step = abs(shares).max(axis=(1, 2, 3), keepdims=True) / _WEIGHT_LEVELS
    signs = np.where(np.indices(kernel.shape).sum(axis=0) % 2, 1.0, -1.0).repeat(counts, axis=-1)
    parts: NDArray[np.float64] = shares + signs * step * _offsets(counts)
    return parts


def _offsets(counts: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return by how many steps each copy is off: evenly spread, and 0 in the mean."""
    return np.concatenate([(np.arange(count) - (count - 1) / 2) / count for count in counts])


def _is_stored(graph: Graph, index: int) -> bool:
    """Whether a tensor holds stored ``float32``."""
    return graph.tensors[index].constant and graph.tensors[index].dtype == "float32"


def _ends_in_convolutions(graph: Graph, index: int) -> bool:
    """Whether a tensor is read by convolutions alone, or by what passes its channels on to them."""
    readers = [reader for reader in graph.consumers[index] if reader.kind != "SHAPE"]
    return (
        bool(readers)
        and index != graph.output_index
        and all(
            _reads(graph, reader, index)
            if reader.kind in DATA_PLACE
            else _passes_on(graph, reader)
            and all(_ends_in_convolutions(graph, result) for result in reader.outputs)
            for reader in readers
        )
    )


def _reads(graph: Graph, operator: Operator, index: int) -> bool:
    """Whether an operator is a convolution over all channels of a tensor, with a stored kernel."""
    if operator.kind not in {"CONV_2D", "TRANSPOSE_CONV"}:
        return False
    kernel = operator.inputs[KERNEL_PLACE]
    return (
        operator.inputs[DATA_PLACE[operator.kind]] == index
        and _is_stored(graph, kernel)
        and graph.tensors[kernel].shape[3] == graph.tensors[index].shape[-1]  # else it has groups
    )


def _passes_on(graph: Graph, operator: Operator) -> bool:
    """Whether an operator passes channels on, each by itself and in their order."""
    if operator.kind == "CONCATENATION":
        plain = operator.options.fusedActivationFunction == _FUSED.NONE
        return plain and operator.options.axis in _LAST_AXIS
    if operator.kind == "SPLIT_V":
        axis = graph.tensors[operator.inputs[_SPLIT_AXIS_PLACE]]
        sizes = graph.tensors[operator.inputs[_SIZE_PLACE]]
        return (
            axis.constant
            and sizes.constant
            and int(graph.constant(axis.index).reshape(())) in _LAST_AXIS
            and bool((graph.constant(sizes.index) > 0).all())  # -1: what is left
        )
    if operator.kind == "PRELU":
        slopes = operator.inputs[1]
        channels = graph.tensors[operator.outputs[0]].shape[-1]
        return _is_stored(graph, slopes) and graph.tensors[slopes].shape[-1:] == (channels,)
    return operator.kind == "RELU"
