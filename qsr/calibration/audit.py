"""What a table of ranges says about the representative set that it was measured on.

No model is run in here. A grid is what an integer tensor can hold, as :class:`Ranges`; which grid a
tensor gets from given ranges is for the caller to say (``GridsOf``): the quantizer makes it hold 0,
and joins the tensors of a concatenation.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qsr.calibration.ranges import Ranges, RangeTable
from qsr.calibration.saturation import Saturation

STEPS = 255
"""Steps between the smallest and the largest of 256 integers."""

FINER = (0.9, 0.8, 0.7, 0.6, 0.5)
"""Shares of its width that a grid is tried at, to see whether it is coarser than need be."""

GridsOf = Callable[[Ranges], Ranges]


@dataclass(frozen=True)
class Extreme:
    """One end of a tensor's range.

    Attributes:
        value: in real units.
        image: the image that reaches it; the first, if several do.
        runner_up: where the range would end without that image; None if there is no other.
        median: where the median image's range ends.
    """

    value: float
    image: str
    runner_up: float | None
    median: float


@dataclass(frozen=True)
class TensorSaturation:
    """How held-out activations of a tensor fit into its grid.

    Attributes:
        below_share: share of all values more than half a step below the grid, 0 to 1.
        above_share: the same above it.
        worst_image: the held-out image with the largest share outside.
        worst_share: its share.
        clipped_to_rounding: mean squared error of what is cut off over that of rounding, which is
            step^2/12. Above 1, saturation costs more than rounding.
        best_width: share of the grid's width, of 1 and those of ``FINER``, at which both errors
            together are smallest.
        gain_db: how much smaller they are there, in dB.
    """

    below_share: float
    above_share: float
    worst_image: str
    worst_share: float
    clipped_to_rounding: float
    best_width: float
    gain_db: float

    @property
    def share(self) -> float:
        """Share of all values outside the grid, 0 to 1."""
        return self.below_share + self.above_share


@dataclass(frozen=True)
class Dropped:
    """A representative set without one of its images.

    Attributes:
        image: the image that is left out.
        grids: what the tensors of the rest can hold.
        narrower: ``(tensors,)``: by which share of its width each grid gets narrower.
    """

    image: str
    grids: Ranges
    narrower: NDArray[np.float64]


def extremes(table: RangeTable) -> tuple[tuple[Extreme, Extreme], ...]:
    """Return both ends of each tensor's range: which image sets them, and how far the rest are.

    Args:
        table: at least one image.

    Returns:
        (minimum, maximum) for each tensor of the table.
    """
    return tuple(
        (
            _extreme(table.images, table.minimum[:, column], sign=1),
            _extreme(table.images, table.maximum[:, column], sign=-1),
        )
        for column in range(len(table.tensors))
    )


def _extreme(images: Sequence[str], values: NDArray[np.float32], *, sign: int) -> Extreme:
    """Return the smallest value (sign 1) or the largest (sign -1)."""
    order = np.argsort(sign * values, kind="stable")
    return Extreme(
        value=float(values[order[0]]),
        image=images[order[0]],
        runner_up=float(values[order[1]]) if len(order) > 1 else None,
        median=float(np.median(values)),
    )


def narrower_by(before: Ranges, after: Ranges) -> NDArray[np.float64]:
    """Return by which share of its width each grid is narrower; below 0 if it is wider.

    A grid of no width cannot be narrower: 0.

    Returns:
        ``(tensors,)``.
    """
    width, new_width = _width(before), _width(after)
    return np.where(width > 0, 1 - new_width / np.where(width > 0, width, 1), 0.0)


def without_each(table: RangeTable, grids_of: GridsOf) -> tuple[Dropped, ...]:
    """Return the sets without one image, for each image that alone sets an end of some range.

    To drop any other image changes no range.

    Args:
        table: at least one image; one alone gives nothing.
        grids_of: gives the grids that follow from ranges.
    """
    if len(table.images) < 2:  # noqa: PLR2004
        return ()
    before = grids_of(table.merged())
    dropped = []
    for image in _deciding(table):
        grids = grids_of(table.merged([name for name in table.images if name != image]))
        dropped.append(Dropped(image, grids, narrower_by(before, grids)))
    return tuple(dropped)


def _deciding(table: RangeTable) -> tuple[str, ...]:
    """Return the images without which some range would be narrower, in the table's order."""
    ends = (np.sort(table.minimum, axis=0), -np.sort(-table.maximum, axis=0))
    lone = [end[0] != end[1] for end in ends]
    sets = (
        (table.minimum == ends[0][0]) & lone[0],
        (table.maximum == ends[1][0]) & lone[1],
    )
    decides = (sets[0] | sets[1]).any(axis=1)
    return tuple(name for name, decisive in zip(table.images, decides, strict=True) if decisive)


def halves_difference(
    table: RangeTable, grids_of: GridsOf, *, splits: int, seed: int
) -> NDArray[np.float64]:
    """Return how much the grids of two random halves of the set differ.

    Args:
        table: at least two images; an odd one out goes to the second half.
        grids_of: gives the grids that follow from ranges.
        splits: how many times the set is halved.
        seed: of the random numbers.

    Returns:
        ``(splits, tensors)``: the difference of the two widths as a share of the larger, 0 to 1.
    """
    random = np.random.default_rng(seed)
    images = np.array(table.images)
    differences = []
    for _ in range(splits):
        shuffled = random.permutation(images)
        first, second = shuffled[: len(images) // 2], shuffled[len(images) // 2 :]
        widths = np.stack(
            [_width(grids_of(table.merged(map(str, half)))) for half in (first, second)]
        )
        larger = widths.max(axis=0)
        difference = np.abs(widths[0] - widths[1])
        differences.append(np.where(larger > 0, difference / np.where(larger > 0, larger, 1), 0.0))
    return np.stack(differences)


def with_margin(grids: Ranges) -> Ranges:
    """Return grids wider by half a step at each end: what lies within is rounded to an end."""
    half = _width(grids) / STEPS / 2
    return Ranges(
        grids.tensors,
        (grids.minimum - half).astype(np.float32),
        (grids.maximum + half).astype(np.float32),
    )


def scaled(grids: Ranges, share: float) -> Ranges:
    """Return grids of that share of the width, shrunk towards 0, which they hold."""
    factor = np.float32(share)
    return Ranges(grids.tensors, grids.minimum * factor, grids.maximum * factor)


def squared_errors(
    saturation: Saturation, place: int, grids: Ranges, rows: Sequence[int] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean squared error of saturation, and that of rounding, step^2/12.

    Args:
        saturation: what was measured.
        place: which set of ranges of it; they came from ``grids``.
        grids: the grids.
        rows: which images; all if None.

    Returns:
        Two arrays ``(tensors,)``, in real units squared.
    """
    chosen = slice(None) if rows is None else list(rows)
    clipped = saturation.excess[chosen, place].sum(axis=0) / saturation.values[chosen].sum(axis=0)
    return clipped, (_width(grids) / STEPS) ** 2 / 12


def error_change_db(
    before: tuple[NDArray[np.float64], NDArray[np.float64]],
    after: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> NDArray[np.float64]:
    """Return how much larger the error of saturation and rounding together gets, in dB.

    Args:
        before: as :func:`squared_errors` gives it.
        after: the same.

    Returns:
        ``(tensors,)``; below 0 where the error gets smaller, 0 where there is none.
    """
    least = np.finfo(np.float64).tiny
    return 10 * np.log10(np.maximum(sum(after), least) / np.maximum(sum(before), least))


def saturations(
    saturation: Saturation, grids: Ranges, finer: Sequence[tuple[int, float]]
) -> tuple[TensorSaturation, ...]:
    """Return how held-out activations fit into the grids of each tensor.

    Args:
        saturation: measured; its first set of ranges came from ``grids``.
        grids: what the tensors can hold.
        finer: places of the sets that came from narrower grids, and their share of the width.
    """
    total = saturation.values.sum(axis=0)
    below = saturation.below[:, 0].sum(axis=0) / total
    above = saturation.above[:, 0].sum(axis=0) / total
    shares = (saturation.below[:, 0] + saturation.above[:, 0]) / saturation.values
    worst = shares.argmax(axis=0)
    errors = squared_errors(saturation, 0, grids)
    widths = (1.0, *(share for _, share in finer))
    gains = np.zeros((len(widths), len(saturation.tensors)))
    for row, (place, share) in enumerate(finer, start=1):
        after = squared_errors(saturation, place, scaled(grids, share))
        gains[row] = -error_change_db(errors, after)
    best = gains.argmax(axis=0)
    return tuple(
        TensorSaturation(
            below_share=float(below[column]),
            above_share=float(above[column]),
            worst_image=saturation.images[worst[column]],
            worst_share=float(shares[worst[column], column]),
            clipped_to_rounding=_ratio(errors[0][column], errors[1][column]),
            best_width=widths[best[column]],
            gain_db=float(gains[best[column], column]),
        )
        for column in range(len(saturation.tensors))
    )


def _ratio(clipped: float, rounding: float) -> float:
    if rounding > 0:
        return float(clipped / rounding)
    return float("inf") if clipped > 0 else 0.0


def _width(grids: Ranges) -> NDArray[np.float64]:
    return grids.maximum.astype(np.float64) - grids.minimum.astype(np.float64)
