"""A small map of where in a picture two models differ, in colours."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]

MAP_COLOURS = ((0, 32, 77), (124, 123, 120), (255, 234, 70))
"""From no difference to the largest, red first, linear in between.

Dark blue, grey and yellow: begin, middle and end of *cividis* (Nunez, Anderton, Renslow, PLoS ONE
13(7), 2018), which readers see alike with and without a colour vision deficiency.
"""

LEAST_BLOCK = 4
"""Side below which no block is averaged, in pixels of the enlarged picture."""

MAP_SIDE = 256
"""The largest width and height of a map, in blocks."""

LEAST_TOP = 1.0
"""Mean difference below which no block has the last colour, in 8-bit steps."""


@dataclass(frozen=True)
class ErrorMap:
    """Mean absolute difference over the blocks of a picture.

    Attributes:
        levels: 0 to 255, where 255 stands for ``top``, one per block, ``(rows, columns)``.
        block: side of a block in pixels of the enlarged picture, whole LR pixels; those at the
            right and lower border may be cut.
        top: mean absolute difference that the last colour stands for, in 8-bit steps.
    """

    levels: Image
    block: int
    top: float


def error_map(of_reference: Image, of_tested: Image, *, scale: int) -> ErrorMap:
    """Average the absolute difference of two pictures over square blocks.

    A network makes each place within an LR pixel by filters of its own, whose errors differ: blocks
    that cut LR pixels would show a pattern that is not in the picture.

    Args:
        of_reference: ``(H, W, 3)`` ``uint8`` RGB.
        of_tested: the same.
        scale: side of an LR pixel in the enlarged picture.
    """
    height, width = of_reference.shape[:2]
    least = max(LEAST_BLOCK, _divided_up(max(height, width), MAP_SIDE))
    block = scale * _divided_up(least, scale)
    distance = np.maximum(of_reference, of_tested) - np.minimum(of_reference, of_tested)
    rows, columns = np.arange(0, height, block), np.arange(0, width, block)
    sums = np.add.reduceat(distance.sum(axis=2, dtype=np.int64), rows, axis=0)
    sums = np.add.reduceat(sums, columns, axis=1)
    sizes = np.outer(np.diff(rows, append=height), np.diff(columns, append=width))
    means = sums / (3 * sizes)
    top = max(LEAST_TOP, float(means.max()))
    return ErrorMap(np.rint(means * (255 / top)).astype(np.uint8), block, top)


def map_palette() -> Image:
    """Return the colour of each level of a map: ``(256, 3)`` ``uint8`` RGB."""
    stops = np.linspace(0, 255, len(MAP_COLOURS))
    channels = [
        np.interp(np.arange(256), stops, values) for values in zip(*MAP_COLOURS, strict=True)
    ]
    return np.rint(np.stack(channels, axis=1)).astype(np.uint8)


def _divided_up(value: int, divisor: int) -> int:
    """Divide and round up."""
    return -(-value // divisor)
