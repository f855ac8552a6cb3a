"""The PSNR of many views of a model at once, on one picture after another."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qsr.metrics import PEAK, RGB_SHAVE, counted_db, mse
from qsr.tflite.float_view import Bounds, View
from qsr.tflite.runtime import Runner, Window

Image = NDArray[np.uint8]

_BEYOND = 1e-5
"""Share of a grid by which a value must lie beyond it to be cut off."""


@dataclass(frozen=True)
class Watched:
    """An activation of which is told whether it lies beyond its grid.

    Attributes:
        number: of its tensor in the model that is run.
        ends: of its grid.
    """

    number: int
    ends: Bounds


@dataclass(frozen=True)
class ViewBatch:
    """Views of one model that are run together.

    Attributes:
        outputs: each view to the number of the tensor that is its picture, ``uint8``; several may
            have one.
        watched: activations that are looked at, by what the caller calls them.
        runner: of the model that has them all.
    """

    outputs: Mapping[View, int]
    watched: Mapping[int, Watched]
    runner: Runner

    def psnrs(self, lr: Image, hr: Image) -> tuple[dict[View, float], frozenset[int]]:
        """Run the views on a picture.

        Args:
            lr: ``(h, w, 3)`` ``uint8`` RGB.
            hr: its original, ``scale`` times as large.

        Returns:
            The PSNR of each in dB, as it enters a mean, and which of the activations looked at lie
            beyond their grid.

        Raises:
            ModelError: the model refuses the picture.
        """
        squares = dict.fromkeys(self.outputs.values(), 0.0)
        beyond: set[int] = set()
        for window in self.runner.windows(lr):
            own, of_hr = _kept_parts(window, self.runner.facts.scale, hr.shape)
            for index in squares:
                squares[index] += _squares(self.runner.tensor(index)[0][own], hr[of_hr])
            beyond |= {index for index in self.watched if self._beyond(index)}
        values = (hr.shape[0] - 2 * RGB_SHAVE) * (hr.shape[1] - 2 * RGB_SHAVE) * hr.shape[2]
        psnrs = {index: _psnr_db(total / values) for index, total in squares.items()}
        return {view: psnrs[index] for view, index in self.outputs.items()}, frozenset(beyond)

    def _beyond(self, index: int) -> bool:
        """Whether an activation has values that its grid does not hold."""
        watched = self.watched[index]
        values, (lowest, highest) = self.runner.tensor(watched.number), watched.ends
        slack = _BEYOND * (highest - lowest)
        return bool(values.min() < lowest - slack or values.max() > highest + slack)


def _kept_parts(
    window: Window, scale: int, shape: tuple[int, ...]
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Return what counts of a piece: in the model's picture of it, and in the whole original."""
    own, whole = [], []
    for kept, piece, side in (
        (window.kept_rows, window.rows, shape[0]),
        (window.kept_columns, window.columns, shape[1]),
    ):
        first = max(kept.start * scale, RGB_SHAVE)
        last = max(first, min(kept.stop * scale, side - RGB_SHAVE))
        whole.append(slice(first, last))
        own.append(slice(first - piece.start * scale, last - piece.start * scale))
    return (own[0], own[1]), (whole[0], whole[1])


def _squares(picture: Image, hr: Image) -> float:
    """Return the sum of squared differences."""
    return mse(picture, hr) * picture.size if picture.size else 0.0


def _psnr_db(error: float) -> float:
    """Return the PSNR of a mean squared error as it enters a mean."""
    return counted_db(10 * math.log10(PEAK**2 / error) if error else math.inf)
