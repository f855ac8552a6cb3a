"""The panels that show a reader where two models' pictures of one image differ."""

from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from qsr.analysis.error_map import error_map, map_palette
from qsr.analysis.records import Crop

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

Image = NDArray[np.uint8]

GREY = 128
"""What no difference is drawn as."""

GAINS = (32.0, 16.0, 8.0, 4.0, 2.0, 1.0, 0.5)
"""What differences may be multiplied by; at the last, the largest there can be is still drawn."""


@dataclass(frozen=True)
class Panels:
    """One picture's worst crop, as each side has it, and a map of the whole picture; PNG files.

    The crops are of one size, one pixel of the enlarged picture to a pixel. Together the files are
    smaller than 150 kB.

    Attributes:
        lr: what went in, each pixel repeated to the size of the others.
        reference: the reference's picture.
        tested: the tested model's.
        difference: :data:`GREY` plus ``gain`` times tested less reference, channel by channel.
        hr: the original; None if there is none.
        gain: the largest of :data:`GAINS` that draws every difference in the crop unclipped.
        error_map: mean absolute difference over blocks of the whole picture, in the colours of
            :data:`qsr.analysis.error_map.MAP_COLOURS`; a pixel is a block.
        map_block: side of a block in pixels of the enlarged picture.
        map_top: what the map's last colour stands for, in 8-bit steps.
    """

    lr: bytes
    reference: bytes
    tested: bytes
    difference: bytes
    hr: bytes | None
    gain: float
    error_map: bytes
    map_block: int
    map_top: float


def panels(
    lr: Image, of_reference: Image, of_tested: Image, crop: Crop, *, hr: Image | None = None
) -> Panels:
    """Draw the panels of one picture.

    Args:
        lr: ``(h, w, 3)`` ``uint8`` RGB.
        of_reference: ``(scale*h, scale*w, 3)`` ``uint8`` RGB.
        of_tested: the same.
        crop: what to cut out.
        hr: the original, or None.
    """
    from PIL.Image import fromarray

    rows, columns = slice(crop.top, crop.top + crop.side), slice(crop.left, crop.left + crop.side)
    scale = of_reference.shape[0] // lr.shape[0]
    of_lr = lr[np.arange(rows.start, rows.stop) // scale]
    of_lr = of_lr[:, np.arange(columns.start, columns.stop) // scale]
    reference, tested = of_reference[rows, columns], of_tested[rows, columns]
    difference, gain = _amplified(reference, tested)
    whole = error_map(of_reference, of_tested, scale=scale)
    coloured = fromarray(whole.levels)
    coloured.putpalette(map_palette().tobytes())
    return Panels(
        lr=_png(fromarray(of_lr)),
        reference=_png(fromarray(reference)),
        tested=_png(fromarray(tested)),
        difference=_png(fromarray(difference)),
        hr=None if hr is None else _png(fromarray(hr[rows, columns])),
        gain=gain,
        error_map=_png(coloured),
        map_block=whole.block,
        map_top=whole.top,
    )


def _amplified(reference: Image, tested: Image) -> tuple[Image, float]:
    """Draw the signed difference of two crops; return the gain as well."""
    difference = tested.astype(np.int16) - reference
    largest = int(np.abs(difference).max())
    gain = next(gain for gain in GAINS if gain * largest < GREY)
    return np.floor(GREY + gain * difference).astype(np.uint8), gain


def _png(image: "PillowImage") -> bytes:
    """Return a picture as the content of a PNG file."""
    file = BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
