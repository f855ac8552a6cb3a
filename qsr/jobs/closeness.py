"""How close an integer model comes to what its float model makes of pictures."""

from collections.abc import Sequence

import numpy as np

from qsr.calibration import Scheme, collect, quantize
from qsr.metrics import RGB_SHAVE, counted_db, psnr_db
from qsr.tflite.runtime import Image, Runner

MOST_COMPARED = 32
"""So many pictures tell which model comes closer."""


def closer_db(
    model: bytes, other: bytes, pictures: Sequence[Image], scheme: Scheme, *, source: str
) -> float:
    """Return by how many dB another network's integer model comes closer to a float model.

    Each integer model gets the ranges of the pictures together, and is measured on them: by the
    mean PSNR between its pictures and those of the float model.

    Args:
        model: content of the float ``.tflite`` file.
        other: content of that of another network, which computes the same.
        pictures: LR ``(h, w, 3)`` ``uint8``; up to ``MOST_COMPARED`` of them are taken.
        scheme: how to quantize.
        source: named in errors.

    Raises:
        ModelError: a model cannot be run or quantized.
    """
    pictures = pictures[:: -(-len(pictures) // MOST_COMPARED)]
    reference = Runner(model, source=source)
    wanted = [reference.upscale(lr) for lr in pictures]
    plain, better = (_closeness(one, pictures, wanted, scheme, source) for one in (model, other))
    return better - plain


def _closeness(
    model: bytes,
    pictures: Sequence[Image],
    wanted: Sequence[Image],
    scheme: Scheme,
    source: str,
) -> float:
    """Return the mean PSNR in dB between the integer model's pictures and those wanted."""
    named = {str(index): lr for index, lr in enumerate(pictures)}
    ranges = collect(model, named, source=source).merged()
    runner = Runner(quantize(model, ranges, scheme, source=source), source=source)
    found = (runner.upscale(lr) for lr in pictures)
    return float(
        np.mean(
            [
                counted_db(psnr_db(one, other, shave=RGB_SHAVE))
                for one, other in zip(found, wanted, strict=True)
            ]
        )
    )
