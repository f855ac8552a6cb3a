"""The paper's augmentations: random crop, flips, quarter turns, intensity."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]


def random_patch(
    rng: np.random.Generator, lr: Image, hr: Image, *, lr_size: int
) -> tuple[Image, Image]:
    """Cut the same random square out of both images.

    Args:
        rng: source of randomness.
        lr: ``(h, w, 3)`` ``uint8``.
        hr: ``(scale*h, scale*w, 3)`` ``uint8``.
        lr_size: side of the square in LR pixels; at most h and w.

    Returns:
        ``(lr_size, lr_size, 3)`` and ``(scale*lr_size, scale*lr_size, 3)``: views, not copies.
    """
    scale = hr.shape[0] // lr.shape[0]
    top = int(rng.integers(lr.shape[0] - lr_size + 1))
    left = int(rng.integers(lr.shape[1] - lr_size + 1))
    hr_top, hr_left, hr_size = top * scale, left * scale, lr_size * scale
    return (
        lr[top : top + lr_size, left : left + lr_size],
        hr[hr_top : hr_top + hr_size, hr_left : hr_left + hr_size],
    )


def flip_and_turn(image: Image, orientation: int) -> Image:
    """Return one of the eight orientations of a square image.

    Args:
        image: ``(size, size, 3)`` ``uint8``.
        orientation: 0 to 7; 0 to 3 are quarter turns, 4 to 7 the same after a left-right flip.
    """
    flipped = image[:, ::-1] if orientation >= 4 else image  # noqa: PLR2004 (eight orientations)
    return np.rot90(flipped, orientation % 4)


def random_intensity(
    rng: np.random.Generator, count: int, intensities: Sequence[float]
) -> NDArray[np.float32]:
    """Draw one factor per patch, for LR and HR alike (XCAT, section 3.2).

    Returns:
        ``(count,)`` ``float32``, each one of ``intensities``.
    """
    return rng.choice(np.asarray(intensities, np.float32), size=count)
