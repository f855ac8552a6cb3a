"""Kernels of a Keras model that copy the picture and that training may change."""

from typing import Any

import numpy as np

from qsr.checks.subject import TrainableKernel

_NEAR = 0.5
_KERNEL_DIMENSIONS = 4


def trainable_copies(model: Any) -> tuple[TrainableKernel, ...]:
    """Find the trainable kernels that copy the picture, or were meant to.

    They are 1x1 kernels with more outputs than inputs whose weights are all near 0, but for one
    near 1 per output.

    Args:
        model: a Keras model, of Keras 2 or 3.
    """
    found = []
    for layer in model.layers:
        kernels = [np.asarray(weight) for weight in layer.trainable_weights]
        for kernel in kernels:
            if _copies(kernel):
                count = sum(int(other.size) for other in kernels)
                found.append(TrainableKernel(layer.name, count))
    return tuple(found)


def _copies(kernel: np.ndarray[Any, Any]) -> bool:
    """Whether a kernel ``(height, width, in, out)`` copies input channels, more or less."""
    if kernel.ndim != _KERNEL_DIMENSIONS or kernel.shape[:2] != (1, 1):
        return False
    weights = kernel[0, 0]
    if weights.shape[1] <= weights.shape[0]:
        return False
    exact = np.zeros_like(weights)
    exact[weights.argmax(axis=0), np.arange(weights.shape[1])] = 1
    return bool(np.abs(weights - exact).max() < _NEAR)
