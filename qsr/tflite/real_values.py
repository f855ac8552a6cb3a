"""The real numbers that integers stand for, and back."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsr.tflite.graph import Graph, Operator, Tensor

_DATA = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 0, "FULLY_CONNECTED": 0, "TRANSPOSE_CONV": 2}
_WEIGHTS = 1
_BIASES = {"CONV_2D": 2, "DEPTHWISE_CONV_2D": 2, "FULLY_CONNECTED": 2, "TRANSPOSE_CONV": 3}


def holds_reals(tensor: Tensor) -> bool:
    """Whether a tensor holds real numbers, as floats or as integers that stand for them."""
    return tensor.quantized or tensor.dtype in {"float16", "float32"}


def holds_biases(graph: Graph, index: int) -> bool:
    """Whether a constant is the biases of integer kernels, with a scale beside them or without.

    Args:
        graph: the model.
        index: the tensor's number.
    """
    return any(
        bias_of(reader) == index and counted_bias_scale(graph, reader) is not None
        for reader in graph.consumers[index]
    )


def bias_of(operator: Operator) -> int | None:
    """Return the number of an operator's bias tensor; None if it has none.

    Args:
        operator: of any model.
    """
    place = _BIASES.get(operator.kind)
    if place is None or place >= len(operator.inputs) or operator.inputs[place] < 0:
        return None
    return operator.inputs[place]


def counted_bias_scale(graph: Graph, operator: Operator) -> NDArray[np.float64] | None:
    """Return the step in which integer kernels count the biases of a convolution.

    They add them to products of what they read with weights, so it is the scale of the one times
    the scale of the other, whatever scale is written beside the biases.

    Args:
        graph: the model.
        operator: one of its operators.

    Returns:
        ``(1,)`` or ``(channels,)``; None without biases, or with those of a kernel that computes
        in float.
    """
    bias = bias_of(operator)
    if bias is None or graph.tensors[bias].dtype not in {"int32", "int64"}:
        return None
    data = graph.tensors[operator.inputs[_DATA[operator.kind]]]
    weights = graph.tensors[operator.inputs[_WEIGHTS]]
    if data.scale.size != 1 or not weights.quantized:
        return None
    return data.scale.astype(np.float64) * weights.scale.astype(np.float64)


def real_constant(graph: Graph, index: int) -> NDArray[np.float32]:
    """Return what the stored values of a tensor stand for, ``scale * (integer - zero_point)``.

    The scale of biases is the one in which the kernels count them, see
    :func:`counted_bias_scale`.

    Args:
        graph: the model.
        index: number of a constant tensor; floats are returned as they are.

    Returns:
        In the tensor's shape.

    Raises:
        ModelError: the tensor is not constant, or of a type that numpy does not have.
    """
    tensor = graph.tensors[index]
    stored = graph.constant(index)
    for reader in graph.consumers[index]:
        counted = counted_bias_scale(graph, reader)
        if counted is not None and bias_of(reader) == index:
            return (stored * counted).astype(np.float32)
    if not tensor.quantized:
        return stored.astype(np.float32)
    return ((stored - spread(tensor, tensor.zero_point)) * spread(tensor, tensor.scale)).astype(
        np.float32
    )


def spread(tensor: Tensor, of_channels: NDArray[Any]) -> NDArray[np.float64]:
    """Return a quantized tensor's scales or zero points, to be spread over its values.

    Args:
        tensor: a quantized one.
        of_channels: its ``scale`` or ``zero_point``.

    Returns:
        Of as many axes as the tensor's values.
    """
    along = [1] * len(tensor.shape)
    if of_channels.size > 1:
        along[tensor.channel_axis] = of_channels.size
    return of_channels.astype(np.float64).reshape(along)


def on_grid(values: NDArray[np.float32], tensor: Tensor) -> NDArray[Any]:
    """Return real numbers as the integers of a tensor's grid, the nearest, half away from 0.

    That is how TFLite's ``QUANTIZE`` rounds.

    Args:
        values: of any shape.
        tensor: one of a single scale.

    Returns:
        In the same shape and the tensor's type; values beyond the grid are at its ends.
    """
    ends = np.iinfo(tensor.dtype)
    steps = values / tensor.scale[0]
    rounded = np.trunc(steps + np.copysign(np.float32(0.5), steps))
    integers: NDArray[Any] = np.clip(rounded + tensor.zero_point[0], ends.min, ends.max)
    return integers.astype(tensor.dtype)
