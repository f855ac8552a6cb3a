"""Representative images for networks without a clip: brought to outputs of exactly black to white.

The clip at the end of a super-resolution network keeps its integer output's grid at [0, 1]. Kalay,
Bilecen and Ayazoglu, "Towards Clip-Free Quantized Super-Resolution Networks: How to Tame
Representative Images" (BMVC 2023, arXiv 2308.11365), leave it out: they augment the representative
images, by the outputs of the float network alone, so that the output's range is [0, 1] of itself.

From that the idea is taken, that the range without the clip must be exactly [0, 1]. How an image
gets there is ours, as no code of theirs is public: its intensities are scaled and shifted. A
super-resolution network nearly commutes with that, so what its output lacks is taken back at its
input, and what is left, again: ten rounds or fewer on photographs.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsr.errors import ImageError
from qsr.tflite.runtime import Image, Runner

_TOLERANCE = 0.01
"""How far, in steps of 0..255, the ends of the output's range may lie from black and white."""

_MOST_ROUNDS = 40
_LARGEST_GAIN = 255.0
"""That of a picture whose values differ by one step; more would be made of noise alone."""

_WHITE = 255.0


@dataclass(frozen=True)
class Intensity:
    """A scaling and a shift of a picture's values.

    Attributes:
        gain: factor.
        offset: what is added afterwards, in steps of 0..255.
    """

    gain: float
    offset: float

    def of(self, lr: Image) -> NDArray[Any]:
        """Return a picture with these intensities.

        Args:
            lr: ``(h, w, 3)`` ``uint8`` RGB.

        Returns:
            ``(h, w, 3)`` ``float32`` in units of 0..255; values may lie beyond, if the network
            makes less of the contrast than there is.
        """
        return lr.astype(np.float32) * np.float32(self.gain) + np.float32(self.offset)


def full_range_intensity(
    model: bytes, lr: Image, *, name: str = "image", source: str = "model"
) -> Intensity:
    """Find the intensities with which a network's output spans exactly black to white.

    Args:
        model: content of a float ``.tflite`` file that does not clip its output.
        lr: ``(h, w, 3)`` ``uint8`` RGB.
        name: what errors call the picture.
        source: what errors call the model.

    Raises:
        ImageError: there are none, as for a picture of one colour.
        ModelError: the model cannot be run.
    """
    found = Intensity(1.0, 0.0)
    for _ in range(_MOST_ROUNDS):
        picture = _runner(model, source).upscale_unrounded(found.of(lr))
        lowest, highest = float(picture.min()), float(picture.max())
        if max(abs(lowest), abs(highest - _WHITE)) <= _TOLERANCE:
            return found
        if found.gain * _WHITE > _LARGEST_GAIN * (highest - lowest):
            break
        stretch = _WHITE / (highest - lowest)
        found = Intensity(found.gain * stretch, (found.offset - lowest) * stretch)
    raise ImageError(
        f"{name}: no scaling and shift of its intensities makes {source} span black to white; it "
        "has too little contrast to be representative without a clip"
    )


@lru_cache(maxsize=1)
def _runner(model: bytes, source: str) -> Runner:
    """Return what runs a model, made once for the many pictures of a search."""
    return Runner(model, source=source)
