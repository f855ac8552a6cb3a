"""The paper's geometric augmentations: crops, flips and quarter turns."""

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]

QUARTER_TURNS = 4
ORIENTATIONS = 2 * QUARTER_TURNS
"""Of a square: each quarter turn, and the same after a left-right flip."""


def cut(
    lr: Image, hr: Image, *, top: int, left: int, lr_size: int, scale: int
) -> tuple[Image, Image]:
    """Cut the same square out of both images.

    Args:
        lr: ``(h, w, 3)`` ``uint8``.
        hr: ``(scale*h, scale*w, 3)`` ``uint8``.
        top: first row, in LR pixels; at most ``h - lr_size``.
        left: first column, in LR pixels; at most ``w - lr_size``.
        lr_size: side of the square in LR pixels.
        scale: HR pixels per LR pixel, along each side.

    Returns:
        ``(lr_size, lr_size, 3)`` and ``(scale*lr_size, scale*lr_size, 3)``: views, not copies.
    """
    bottom, right = top + lr_size, left + lr_size
    return (
        lr[top:bottom, left:right],
        hr[top * scale : bottom * scale, left * scale : right * scale],
    )


def flip_and_turn(image: Image, orientation: int) -> Image:
    """Return one of the eight orientations of a square image, as a view.

    Args:
        image: ``(size, size, 3)`` ``uint8``.
        orientation: 0 to 7; 0 to 3 are quarter turns to the left, 4 to 7 the same after a
            left-right flip.
    """
    flip, turns = divmod(orientation, QUARTER_TURNS)
    flipped = image[:, ::-1] if flip else image
    if turns == 0:
        return flipped
    if turns == 1:
        return flipped[:, ::-1].swapaxes(0, 1)
    if turns == 2:  # noqa: PLR2004 (quarter turns)
        return flipped[::-1, ::-1]
    return flipped.swapaxes(0, 1)[:, ::-1]


def keeps_rows(orientation: int) -> bool:
    """Whether the rows of an image stay rows and run the same way: only their order changes."""
    return orientation in {0, 6}
