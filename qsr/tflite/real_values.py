"""The real numbers that integers stand for, and back."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsr.tflite.graph import Graph, Tensor


def holds_reals(tensor: Tensor) -> bool:
    """Whether a tensor holds real numbers, as floats or as integers that stand for them."""
    return tensor.quantized or tensor.dtype in {"float16", "float32"}


def real_constant(graph: Graph, index: int) -> NDArray[np.float32]:
    """Return what the stored values of a tensor stand for, ``scale * (integer - zero_point)``.

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
    if not tensor.quantized:
        return stored.astype(np.float32)
    along = [1] * stored.ndim
    if tensor.scale.size > 1:
        along[tensor.channel_axis] = tensor.scale.size
    scale = tensor.scale.astype(np.float64).reshape(along)
    return ((stored - tensor.zero_point.reshape(along)) * scale).astype(np.float32)


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
