"""Banding: smooth areas that one model renders as plateaus with steps between them."""

import numpy as np
from numpy.typing import NDArray

from qsr.analysis.records import Banding

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]

_NEIGHBOURS = ((np.s_[:-1], np.s_[1:]), (np.s_[:, :-1], np.s_[:, 1:]))


def banding(of_reference: Image, of_tested: Image, smooth: Mask) -> Banding:
    """Measure how much coarser the steps of smooth areas are than the reference's.

    A plateau is where neighbouring values are equal. Rounding to fewer levels makes plateaus
    longer, so fewer neighbours differ, and the steps between them higher. What every integer model
    does, to move a step by a pixel or to add noise, leaves the number of steps or raises it; so
    their number is compared, and not their places.

    Args:
        of_reference: ``(H, W, 3)`` ``uint8`` RGB.
        of_tested: the same.
        smooth: where the reference is smooth, ``(H, W)``.
    """
    steps, height = _steps(of_reference, smooth)
    steps_left, height_left = _steps(of_tested, smooth)
    return Banding(
        smooth_share=float(smooth.mean()),
        flattened_share=max(0.0, 1 - steps_left / steps) if steps else 0.0,
        contrast=(height_left / steps_left) / (height / steps) if steps and steps_left else 1.0,
    )


def _steps(picture: Image, smooth: Mask) -> tuple[int, int]:
    """Return how many neighbouring values differ within a mask, and by how much altogether."""
    number = height = 0
    for first, second in _NEIGHBOURS:
        both = smooth[first] & smooth[second]
        one, other = picture[first], picture[second]
        distances = (np.maximum(one, other) - np.minimum(one, other)) * both[..., None]
        number += int(np.count_nonzero(distances))
        height += int(distances.sum(dtype=np.int64))
    return number, height
