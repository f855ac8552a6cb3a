"""The error of an integer tensor against the reference's values, summed up piece by piece."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsr.analysis.grid import Grid
from qsr.analysis.records import ChannelErrors, Histogram, TensorError

Doubles = NDArray[np.float64]
Counts = NDArray[np.int64]

BINS = 64
"""Bins of a histogram: the middle half covers the grid, a quarter lies on either side of it."""

_CHUNK = 1 << 15  # values held as float64 at a time: they stay in the processor's cache
_WIDE = 512  # values that are added in one go
_MOST_LEVELS = 256  # of a grid whose levels are counted


@dataclass(frozen=True, eq=False)
class ErrorSums:
    """What is known of one tensor's error so far; sums of two parts are those of the whole.

    With f the reference's values, and q what the tested model's integers stand for. Arrays named
    per channel are ``(channels,)``; channels are the tensor's last axis.

    Attributes:
        grid: of the tested tensor.
        count: number of values of each channel.
        signal: sum of f^2, per channel.
        tested_signal: sum of q^2, per channel.
        product: sum of f q, per channel.
        noise: sum of (q - f)^2, per channel.
        error: sum of q - f, per channel.
        max_error: largest abs(q - f), per channel.
        saturated_low: number of values of f more than half a step below the grid, per channel.
        saturated_high: number of values of f more than half a step above it, per channel.
        minimum: smallest f.
        maximum: largest f.
        levels: how often each of the grid's integers occurs in each channel, ``(channels,
            levels)``; None for a grid of more than 256.
        bins: how often f lies in each of the bins that :func:`bin_ends` tells, ``(BINS,)``; the
            first and the last hold what lies beyond as well.
    """

    grid: Grid
    count: int
    signal: Doubles
    tested_signal: Doubles
    product: Doubles
    noise: Doubles
    error: Doubles
    max_error: Doubles
    saturated_low: Counts
    saturated_high: Counts
    minimum: float
    maximum: float
    levels: Counts | None
    bins: Counts

    def __add__(self, other: "ErrorSums") -> "ErrorSums":
        """Return the sums over both parts.

        Raises:
            ValueError: they are of different grids, or numbers of channels.
        """
        if self.grid != other.grid or self.signal.shape != other.signal.shape:
            raise ValueError(
                f"sums of {self.signal.size} channels on {self.grid} and of {other.signal.size} "
                f"on {other.grid} cannot be added"
            )
        return ErrorSums(
            self.grid,
            self.count + other.count,
            self.signal + other.signal,
            self.tested_signal + other.tested_signal,
            self.product + other.product,
            self.noise + other.noise,
            self.error + other.error,
            np.maximum(self.max_error, other.max_error),
            self.saturated_low + other.saturated_low,
            self.saturated_high + other.saturated_high,
            min(self.minimum, other.minimum),
            max(self.maximum, other.maximum),
            None if self.levels is None or other.levels is None else self.levels + other.levels,
            self.bins + other.bins,
        )

    @property
    def finite(self) -> bool:
        """Whether every value of the reference was a finite number."""
        return bool(np.isfinite(self.signal).all())

    @property
    def tensor_error(self) -> TensorError:
        """The error as a record, whose docstring has the formulae."""
        total, channels = self.count * self.signal.size, self.signal.size
        signal, tested_signal = float(self.signal.sum()), float(self.tested_signal.sum())
        noise, product = float(self.noise.sum()), float(self.product.sum())
        return TensorError(
            sqnr_db=ratio_db(signal, noise),
            mse=noise / total,
            mean_error=float(self.error.sum()) / total,
            max_error=float(self.max_error.max()),
            cosine=_cosine(product, signal, tested_signal),
            saturated_low=int(self.saturated_low.sum()) / total,
            saturated_high=int(self.saturated_high.sum()) / total,
            used_levels=(
                None
                if self.levels is None
                else int(np.count_nonzero(self.levels.any(axis=0))) / self.levels.shape[1]
            ),
            channels=ChannelErrors(
                sqnr_db=tuple(
                    ratio_db(float(self.signal[place]), float(self.noise[place]))
                    for place in range(channels)
                ),
                mse=tuple((self.noise / self.count).tolist()),
                mean_error=tuple((self.error / self.count).tolist()),
                max_error=tuple(self.max_error.tolist()),
                cosine=tuple(
                    _cosine(
                        float(self.product[place]),
                        float(self.signal[place]),
                        float(self.tested_signal[place]),
                    )
                    for place in range(channels)
                ),
                saturated_low=tuple((self.saturated_low / self.count).tolist()),
                saturated_high=tuple((self.saturated_high / self.count).tolist()),
                used_levels=(
                    None if self.levels is None else tuple((self.levels > 0).mean(axis=1).tolist())
                ),
                gain=tuple(
                    float(self.product[place] / self.signal[place]) if self.signal[place] else 0.0
                    for place in range(channels)
                ),
            ),
        )

    @property
    def histogram(self) -> Histogram:
        """How the reference's values lie on the grid."""
        minimum, maximum = bin_ends(self.grid)
        return Histogram(tuple(self.bins.tolist()), minimum, maximum)


def error_sums(values: NDArray[np.float32], integers: NDArray[Any], grid: Grid) -> ErrorSums:
    """Compare the reference's values with the tested model's integers, in double precision.

    Values that are not finite give a signal that is not: the caller is to report it.

    Args:
        values: of the reference, any shape but an empty one; the last axis are channels.
        integers: of the tested model, the same shape.
        grid: what the integers stand for.

    Raises:
        ValueError: the shapes differ, or are empty.
    """
    if values.shape != integers.shape or values.size == 0:
        raise ValueError(f"values {values.shape} and integers {integers.shape} to be compared")
    channels = values.shape[-1] if values.ndim else 1
    rows, codes = values.reshape(-1, channels), integers.reshape(-1, channels)
    height = max(1, _CHUNK // channels)
    with np.errstate(invalid="ignore", over="ignore"):
        parts = [
            _chunk_sums(rows[top : top + height], codes[top : top + height], grid)
            for top in range(0, len(rows), height)
        ]
        total, *others = parts
        for part in others:
            total += part
    return total


def added(parts: Iterable[Mapping[int, ErrorSums]]) -> dict[int, ErrorSums]:
    """Add the sums of many tensors up, in the order given.

    Args:
        parts: tensor number to its sums, for each part; all need not have the same tensors.
    """
    total: dict[int, ErrorSums] = {}
    for part in parts:
        for index, sums in part.items():
            total[index] = total[index] + sums if index in total else sums
    return total


def bin_ends(grid: Grid) -> tuple[float, float]:
    """Return the lower end of the first bin of a grid's histogram, and the upper end of the last.

    Half as many steps as the grid has lie on either side of it, so that a bin's border runs half a
    step below the smallest value of the grid, and one half a step above the largest.

    Args:
        grid: of the tested tensor.
    """
    margin = grid.scale * (1 + (grid.highest - grid.lowest + 1)) / 2
    return grid.minimum - margin, grid.maximum + margin


def ratio_db(signal: float, noise: float) -> float:
    """Return signal over noise in dB: infinite without noise, minus infinite without signal.

    Args:
        signal: sum of squares.
        noise: the same.
    """
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal > 0 else -math.inf


def _chunk_sums(values: NDArray[Any], integers: NDArray[Any], grid: Grid) -> ErrorSums:
    """Compare what fits into the cache, ``(rows, channels)``."""
    reference = values.astype(np.float64)
    tested = grid.real(integers).astype(np.float64)  # as a reference of integers is: equals cancel
    error = tested - reference
    lowest, highest = grid.minimum - grid.scale / 2, grid.maximum + grid.scale / 2
    return ErrorSums(
        grid=grid,
        count=len(reference),
        # Not a matrix product: its threads wait for each other when the machine is busy.
        signal=_per_channel(np.add, np.square(reference)),
        tested_signal=_per_channel(np.add, np.square(tested)),
        product=_per_channel(np.add, reference * tested),
        noise=_per_channel(np.add, np.square(error)),
        error=_per_channel(np.add, error),
        max_error=_per_channel(np.maximum, np.abs(error)),
        saturated_low=_counted(reference < lowest),
        saturated_high=_counted(reference > highest),
        minimum=float(reference.min()),
        maximum=float(reference.max()),
        levels=_levels(integers, grid),
        bins=_bins(reference, grid),
    )


def _per_channel(combine: np.ufunc, values: Doubles) -> Doubles:
    """Combine the rows of ``(rows, channels)`` into one, many rows side by side at a time."""
    rows, channels = values.shape
    beside = max(1, _WIDE // channels)
    whole = rows - rows % beside
    wide = values[:whole].reshape(-1, beside * channels)
    if not len(wide):
        return np.asarray(combine.reduce(values, axis=0), np.float64)
    first = combine.reduce(wide, axis=0).reshape(beside, channels)
    return np.asarray(combine.reduce(np.concatenate([first, values[whole:]]), axis=0), np.float64)


def _counted(chosen: NDArray[np.bool_]) -> Counts:
    """Count what is chosen of each channel, ``(rows, channels)``; what is not costs no time."""
    channels = chosen.shape[1]
    return np.bincount(np.flatnonzero(chosen) % channels, minlength=channels)


def _levels(integers: NDArray[Any], grid: Grid) -> Counts | None:
    """Count how often each of a grid's integers occurs by channel; None if it has too many."""
    count, channels = grid.highest - grid.lowest + 1, integers.shape[1]
    if count > _MOST_LEVELS:
        return None
    places = integers.astype(np.int64) + (count * np.arange(channels) - grid.lowest)
    return np.bincount(places.ravel(), minlength=count * channels).reshape(channels, count)


def _bins(values: Doubles, grid: Grid) -> Counts:
    """Count how often values lie in each bin; what is not a number counts as below."""
    start, stop = bin_ends(grid)
    places = (values - start) * (BINS / (stop - start))
    places = np.fmin(np.fmax(places, 0.0), BINS - 1)  # unlike clip, these leave no NaN
    return np.bincount(places.ravel().astype(np.int64), minlength=BINS)


def _cosine(product: float, signal: float, tested_signal: float) -> float:
    """Cosine of the angle between f and q: 1 if both are zero, 0 if one is."""
    if signal == 0 or tested_signal == 0:
        return float(signal == tested_signal)
    cosine = product / (math.sqrt(signal) * math.sqrt(tested_signal))
    return min(1.0, max(-1.0, cosine))
