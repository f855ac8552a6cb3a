"""Which tensors must share the grid of a model's input or output.

A phone feeds raw bytes and shows raw bytes: byte b means b/255. So the ranges at both ends are
known before any calibration. Operators that move or clip values without computing new ones keep
one grid on both sides, so the known range has to be given to all tensors that they tie together.
"""

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from qsr.tflite.graph import Graph, Operator

_MOVES = {
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

_CLIPS = {"MAXIMUM", "MINIMUM", "PADV2", "RELU", "RELU6", "RELU_0_TO_1"}
"""Clipping, and padding with any value: the grid stays, but the range may be another."""

_KEEP_PICTURES = {schema.ActivationFunctionType.NONE, schema.ActivationFunctionType.RELU}
"""Fused activations that leave a picture, which is nowhere negative, as it is."""


def tensors_tied_to_output(graph: Graph) -> tuple[int, ...]:
    """Return the tensors whose values reach the output unchanged but for clipping and moving.

    A tensor that something else reads as well is left out: clipping it to the output's range would
    change what the other reader gets.

    Returns:
        Tensor numbers, the output first.
    """
    tied = [graph.output_index]
    for index in tied:  # grows while it is walked
        operator = graph.producer.get(index)
        if operator is None or operator.kind not in _MOVES | _CLIPS:
            continue
        for source in _real_inputs(graph, operator):
            if graph.tensors[source].constant:
                continue
            readers = graph.consumers[source]
            if source not in tied and all(set(reader.outputs) <= set(tied) for reader in readers):
                tied.append(source)
    return tuple(index for index in tied if index != graph.input_index)


def tensors_tied_to_input(graph: Graph) -> tuple[int, ...]:
    """Return the tensors that hold nothing but values of the input.

    A convolution whose every output channel copies one input channel counts: XCAT's frozen
    nearest-neighbour kernel is one. What clips does not: its result may span less than the picture.

    Returns:
        Tensor numbers, the input first.
    """
    tied = [graph.input_index]
    for operator in graph.operators:
        if _copies_channels(graph, operator):
            sources = [operator.inputs[0]]
        elif operator.kind in _MOVES and _keeps_pictures(operator):
            sources = _real_inputs(graph, operator)
        else:
            continue
        if sources and set(sources) <= set(tied):
            tied.extend(operator.outputs)
    return tuple(tied)


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


def _copies_channels(graph: Graph, operator: Operator) -> bool:
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
