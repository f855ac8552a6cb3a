"""Which tensors must share the grid of a model's input or output.

A phone feeds raw bytes and shows raw bytes: byte b means b/255. So the ranges at both ends are
known before any calibration. Operators that move, clip or average values keep one grid on both
sides, so the known range has to be given to all tensors that they tie together; and a scaling or a
shift by a stored number, such as the 1/255 of a network that takes 0..255, carries it on.
"""

from dataclasses import dataclass

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from qsr.tflite.graph import Graph, Operator

MOVES = {
    "CONCATENATION",
    "DEPTH_TO_SPACE",
    "EXPAND_DIMS",
    "GATHER",
    "MAX_POOL_2D",
    "MIRROR_PAD",
    "PACK",
    "PAD",
    "RESHAPE",
    "RESIZE_NEAREST_NEIGHBOR",
    "SLICE",
    "SPACE_TO_DEPTH",
    "SPLIT",
    "SPLIT_V",
    "SQUEEZE",
    "STRIDED_SLICE",
    "TILE",
    "TRANSPOSE",
    "UNPACK",
}
"""Every value of the result is one of the operands', or the zero of a padding, which is black."""

AVERAGES = {"AVERAGE_POOL_2D", "RESIZE_BILINEAR"}
"""Every value of the result lies between the operands'; TFLite keeps the grid."""

_CLIPS = {"MAXIMUM", "MINIMUM", "PADV2", "RELU", "RELU6", "RELU_0_TO_1"}
"""Clipping, and padding with any value: the grid stays, but the range may be another."""

_KEEP_PICTURES = {schema.ActivationFunctionType.NONE, schema.ActivationFunctionType.RELU}
"""Fused activations that leave a picture, which is nowhere negative, as it is."""

Range = tuple[float, float]
"""Smallest and largest value, in real units."""


@dataclass(frozen=True)
class _Affine:
    """``scale * x + offset``."""

    scale: float
    offset: float

    def after(self, span: Range) -> Range:
        """Return the range of the result for a range of x."""
        ends = [self.scale * end + self.offset for end in span]
        return min(ends), max(ends)

    def before(self, span: Range) -> Range:
        """Return the range of x that gives a range of the result."""
        ends = [(end - self.offset) / self.scale for end in span]
        return min(ends), max(ends)


def ranges_tied_to_output(graph: Graph, white: float = 1.0) -> dict[int, Range]:
    """Return the ranges that follow from the output's, of tensors that reach it without a mix.

    On the way they may be clipped, moved, averaged, and scaled or shifted by a stored number. A
    tensor that something else reads as well is left out: clipping it to that range would change
    what the other reader gets.

    Args:
        graph: a model from picture to picture.
        white: the output's largest value; its smallest is 0.

    Returns:
        Tensor number to (minimum, maximum), the output first.
    """
    tied: dict[int, Range] = {graph.output_index: (0.0, white)}
    walk = [graph.output_index]
    for index in walk:  # grows while it is walked
        operator = graph.producer.get(index)
        if operator is None:
            continue
        affine = _affine(graph, operator)
        if affine is None and operator.kind not in MOVES | _CLIPS | AVERAGES:
            continue
        for source in _real_inputs(graph, operator):
            if graph.tensors[source].constant or source in tied:
                continue
            readers = graph.consumers[source]
            if all(set(reader.outputs) <= tied.keys() for reader in readers):
                tied[source] = tied[index] if affine is None else affine.before(tied[index])
                walk.append(source)
    tied.pop(graph.input_index, None)
    return tied


def ranges_tied_to_input(graph: Graph, white: float = 1.0) -> dict[int, Range]:
    """Return the ranges that follow from the input's, of tensors that hold nothing else.

    On the way values may be moved, averaged, and scaled or shifted by a stored number. A
    convolution whose every output channel copies one input channel counts as moving: XCAT's frozen
    nearest-neighbour kernel is one. What clips does not count: its result may span less.

    Args:
        graph: a model from picture to picture.
        white: the input's largest value; its smallest is 0.

    Returns:
        Tensor number to (minimum, maximum), the input first.
    """
    tied: dict[int, Range] = {graph.input_index: (0.0, white)}
    for operator in graph.operators:
        affine = _affine(graph, operator)
        sources = _real_inputs(graph, operator)
        if affine is not None:
            sources = [index for index in sources if not graph.tensors[index].constant]
        elif copies_channels(graph, operator):
            sources = [operator.inputs[0]]
        elif operator.kind not in MOVES | AVERAGES or not _keeps_pictures(operator):
            continue
        if not sources or not set(sources) <= tied.keys():
            continue
        lowest = min(tied[index][0] for index in sources)
        highest = max(tied[index][1] for index in sources)
        if operator.kind in {"PAD", "MIRROR_PAD"}:
            lowest, highest = min(lowest, 0.0), max(highest, 0.0)
        found = (lowest, highest) if affine is None else affine.after((lowest, highest))
        tied.update(dict.fromkeys(operator.outputs, found))
    return tied


def _affine(graph: Graph, operator: Operator) -> _Affine | None:
    """Return what an operator does that scales or shifts by one stored number, or None."""
    fused = getattr(operator.options, "fusedActivationFunction", None)
    if operator.kind not in {"ADD", "SUB", "MUL", "DIV"} or fused:
        return None
    stored = [index for index in operator.inputs if graph.tensors[index].constant]
    number = stored[0] if len(stored) == 1 else None
    if number is None or (number == operator.inputs[0] and operator.kind in {"SUB", "DIV"}):
        return None
    values = graph.constant(number)
    if values.size != 1 or not values.all():
        return None
    value = float(values.reshape(()))
    return {
        "ADD": _Affine(1.0, value),
        "SUB": _Affine(1.0, -value),
        "MUL": _Affine(value, 0.0),
        "DIV": _Affine(1.0 / value, 0.0),
    }[operator.kind]


def _real_inputs(graph: Graph, operator: Operator) -> list[int]:
    """Return the inputs that are real numbers, stored ones too, not sizes or indices."""
    return [
        index
        for index in operator.inputs
        if index >= 0 and graph.tensors[index].dtype not in {"int32", "int64", "bool"}
    ]


def _keeps_pictures(operator: Operator) -> bool:
    """Whether the activation fused into an operator, if any, leaves a picture as it is."""
    fused = getattr(operator.options, "fusedActivationFunction", schema.ActivationFunctionType.NONE)
    return fused in _KEEP_PICTURES


def copies_channels(graph: Graph, operator: Operator) -> bool:
    """Whether a convolution only copies channels: 1x1, one weight of 1 per output, nothing more."""
    if operator.kind != "CONV_2D":
        return False
    kernel_index, *bias_index = operator.inputs[1:]
    if not graph.tensors[kernel_index].constant:
        return False
    kernel = graph.constant(kernel_index)
    options = operator.options
    if kernel.shape[1:3] != (1, 1) or (options.strideH, options.strideW) != (1, 1):
        return False
    if not _keeps_pictures(operator):
        return False
    one_hot = np.isin(kernel, (0, 1)).all() and (kernel.sum(axis=(1, 2, 3)) == 1).all()
    biases = [graph.constant(index) for index in bias_index if index >= 0]
    return bool(one_hot) and not any(bias.any() for bias in biases)
