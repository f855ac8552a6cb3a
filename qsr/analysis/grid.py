"""What an integer tensor can hold, in real units."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsr.tflite.float_view import Bounds, real_ends
from qsr.tflite.graph import Tensor

_INTEGERS = {"int8", "uint8", "int16"}


@dataclass(frozen=True)
class Grid:
    """The real values that an integer tensor can hold.

    Attributes:
        scale: distance of neighbours, in real units.
        zero_point: the integer that stands for 0.
        lowest: the smallest integer.
        highest: the largest.
    """

    scale: float
    zero_point: int
    lowest: int
    highest: int

    @property
    def ends(self) -> Bounds:
        """The smallest and the largest value, in real units."""
        return real_ends(self.scale, self.zero_point, self.lowest, self.highest)

    @property
    def minimum(self) -> float:
        """The smallest value, in real units."""
        return self.ends[0]

    @property
    def maximum(self) -> float:
        """The largest value, in real units."""
        return self.ends[1]

    def real(self, integers: NDArray[Any]) -> NDArray[np.float32]:
        """Return what integers stand for, of the same shape."""
        steps = integers.astype(np.float64) - self.zero_point
        return (steps * self.scale).astype(np.float32)


def has_grid(tensor: Tensor) -> bool:
    """Whether a tensor holds integers of one scale."""
    return tensor.dtype in _INTEGERS and tensor.scale.size == 1


def grid_of(tensor: Tensor) -> Grid:
    """Return what a tensor can hold.

    Args:
        tensor: one that :func:`has_grid`.
    """
    limits = np.iinfo(tensor.dtype)
    return Grid(float(tensor.scale[0]), int(tensor.zero_point[0]), int(limits.min), int(limits.max))
