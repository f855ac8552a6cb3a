"""Which areas of a picture are flat, textured or an edge, and how far two models differ there."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsr.analysis.records import RegionErrors
from qsr.metrics import rgb_to_y

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]

WINDOW_SIGMA = 2.0
"""Of the Gaussian window that the gradients are gathered in, in pixels; RAISR's is 9 x 9 wide."""

FLAT_STRENGTH = 2.0
"""Below it an area is flat: the root mean square of the gradient, in 8-bit steps per pixel."""

EDGE_COHERENCE = 0.5
"""From it on an area that is not flat is an edge, 0 to 1."""

_SOBEL_GAIN = 8.0  # what scikit-image's Sobel operator makes of a slope of one step per pixel


@dataclass(frozen=True)
class Areas:
    """Where a picture is what; every pixel is of one kind.

    Attributes:
        flat: where hardly anything changes, ``(H, W)``.
        texture: where it changes in many directions, ``(H, W)``.
        edge: where it changes in one, ``(H, W)``.
    """

    flat: Mask
    texture: Mask
    edge: Mask


def areas_of(picture: Image) -> Areas:
    """Tell flat areas, texture and edges apart by the structure tensor of the luminance.

    As RAISR sorts patches (Romano, Isidoro, Milanfar, "RAISR: Rapid and Accurate Image Super
    Resolution", IEEE Trans. Computational Imaging 3(1), 2017): with the eigenvalues a >= b of the
    tensor, gathered in a Gaussian window, the strength is ``sqrt a`` and the coherence
    ``(sqrt a - sqrt b) / (sqrt a + sqrt b)``. An area is flat if its strength is below
    :data:`FLAT_STRENGTH`; otherwise an edge if its coherence is at least :data:`EDGE_COHERENCE`,
    and texture if it is less.

    Args:
        picture: ``(H, W, 3)`` ``uint8`` RGB, at least 2 pixels high and wide.
    """
    from skimage.feature import structure_tensor, structure_tensor_eigenvalues

    luminance = rgb_to_y(picture).astype(np.float32)  # twice as fast as in double precision
    tensor = structure_tensor(luminance, sigma=WINDOW_SIGMA, mode="nearest")
    eigenvalues = np.maximum(structure_tensor_eigenvalues(tensor), 0)  # rounding may leave less
    across, along = np.sqrt(eigenvalues) / _SOBEL_GAIN
    flat = across < FLAT_STRENGTH
    coherent = across - along >= EDGE_COHERENCE * (across + along)
    return Areas(flat, texture=~flat & ~coherent, edge=~flat & coherent)


def region_errors(areas: Areas, squares: NDArray[Any]) -> RegionErrors:
    """Average squared differences over each kind of area.

    Args:
        areas: of the reference's picture.
        squares: squared difference of the two pictures, summed over the three channels, in squared
            8-bit steps, ``(H, W)``.
    """
    return RegionErrors(
        flat=_mean(areas.flat, squares),
        texture=_mean(areas.texture, squares),
        edge=_mean(areas.edge, squares),
        flat_share=float(areas.flat.mean()),
        texture_share=float(areas.texture.mean()),
        edge_share=float(areas.edge.mean()),
    )


def _mean(mask: Mask, squares: NDArray[Any]) -> float | None:
    """Return the mean per value where a mask holds; None if it holds nowhere."""
    pixels = int(np.count_nonzero(mask))
    return int(squares[mask].sum(dtype=np.int64)) / (3 * pixels) if pixels else None
