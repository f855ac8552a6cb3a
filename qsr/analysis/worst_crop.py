"""The square of a picture in which two models differ most."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsr.analysis.records import Crop

CROP_SIDE = 48
"""Of the square, in pixels of the enlarged picture: whole LR pixels at x2, x3, x4, x6 and x8."""


def worst_crop(squares: NDArray[Any]) -> Crop:
    """Find the square of the largest mean squared difference, of all there are.

    Its side is :data:`CROP_SIDE`, or that of a picture which is smaller. Of squares that are
    equally bad it is the topmost, and of those the leftmost.

    Args:
        squares: squared difference of the two pictures, summed over the three channels, in squared
            8-bit steps, ``(H, W)``.
    """
    side = min(CROP_SIDE, *squares.shape)
    # The integral image: sums of every rectangle that begins in the top left corner.
    sums = np.pad(squares.cumsum(axis=0, dtype=np.int64).cumsum(axis=1), ((1, 0), (1, 0)))
    inside = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    top, left = (int(place) for place in np.unravel_index(inside.argmax(), inside.shape))
    return Crop(top=top, left=left, side=side, mse=int(inside[top, left]) / (3 * side**2))
