"""Stored numbers of a model in real units."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsr.tflite.graph import Graph

CHANNEL_AXIS = {"CONV_2D": 0, "TRANSPOSE_CONV": 0, "DEPTHWISE_CONV_2D": 3}
"""Operator to the axis of output channels in its kernel, the one that may have a scale each."""


def real_constant(graph: Graph, index: int) -> NDArray[np.float64] | None:
    """Return stored numbers in real units; None if they are not stored.

    Args:
        graph: a model, float or integer.
        index: tensor number. Scales per channel are of its first axis, or of its last if that alone
            has as many entries.
    """
    tensor = graph.tensors[index]
    if not tensor.constant:
        return None
    stored: NDArray[Any] = graph.constant(index)
    values = stored.astype(np.float64)
    if tensor.scale.size == 0:
        return values
    return (values - _along(tensor.zero_point, values)) * _along(tensor.scale, values)


def _along(numbers: NDArray[Any], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return one number, or one per channel, in a shape that fits the values."""
    real = numbers.astype(np.float64)
    if real.size == 1 or not values.ndim:
        return real.reshape(())
    axis = 0 if values.shape[0] == real.size else values.ndim - 1
    shape = [1] * values.ndim
    shape[axis] = real.size
    return real.reshape(shape)
