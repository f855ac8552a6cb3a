"""What the bytes at one end of an integer model stand for, against what a phone takes them for."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from qsr.tflite.graph import EndGrid

Image = NDArray[np.uint8]

_BYTES = np.arange(256, dtype=np.float64)
_INT8_SHIFT = 128
_BETWEEN_WHITES = 1 / 16
"""Scales below are of pictures in 0..1 (1/255), those above of pictures in 0..255 (1)."""

_EXACT = 1e-3
"""A byte that is off by less, in 8-bit levels, is exact: scales are stored as ``float32``."""


@dataclass(frozen=True)
class PictureGrid:
    """The grid of a model's input or output, in bytes.

    Attributes:
        scale: quantization scale, in real units.
        zero_point: the byte that stands for 0; that of ``int8`` has 128 added.
        white: what white is in real units: 1.0 or 255.0.
    """

    scale: float
    zero_point: int
    white: float

    @cached_property
    def levels(self) -> NDArray[np.float64]:
        """What each byte stands for, in units of 0..255: ``(256,)`` ``float64``."""
        levels: NDArray[np.float64] = (_BYTES - self.zero_point) * (self.scale * 255.0 / self.white)
        return levels

    @cached_property
    def errors(self) -> NDArray[np.float64]:
        """How far each byte is from what a phone takes it for, in 8-bit levels: ``(256,)``."""
        return self.levels - _BYTES

    @property
    def exact(self) -> bool:
        """Whether every byte b stands for b/255 of white."""
        return bool(np.abs(self.errors).max() < _EXACT)

    def encode(self, picture: Image) -> Image:
        """Return the bytes that stand for a picture, as near as the grid has them."""
        levels = _BYTES / (self.scale * 255.0 / self.white) + self.zero_point
        table = np.rint(np.clip(levels, 0, 255)).astype(np.uint8)
        return table[picture]

    def decode(self, coded: Image) -> Image:
        """Return the picture that bytes stand for, rounded to 8 bits."""
        table = np.rint(np.clip(self.levels, 0, 255)).astype(np.uint8)
        return table[coded]


def picture_grid(end: EndGrid) -> PictureGrid | None:
    """Return the grid of an end in bytes; None if it is not 8-bit.

    Args:
        end: as :func:`qsr.tflite.graph.end_grids` gives it.
    """
    if end.dtype not in {"uint8", "int8"} or end.scale <= 0:
        return None
    shift = _INT8_SHIFT if end.dtype == "int8" else 0
    return PictureGrid(end.scale, end.zero_point + shift, white_of(end.scale))


def white_of(scale: float) -> float:
    """Return what white is in real units where a grid of 256 steps of this scale holds pictures."""
    return 255.0 if scale > _BETWEEN_WHITES else 1.0
