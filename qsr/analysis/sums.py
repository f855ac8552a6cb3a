"""The error of an integer tensor against its float twin, summed up piece by piece."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_CHUNK = 1 << 16  # values held as float64 at a time


@dataclass(frozen=True)
class Grid:
    """The real values that an integer tensor can hold.

    Attributes:
        scale: distance of neighbours, in real units.
        zero_point: the integer that stands for 0.
        minimum: the smallest, in real units.
        maximum: the largest.
    """

    scale: float
    zero_point: int
    minimum: float
    maximum: float


@dataclass(frozen=True)
class ErrorSums:
    """What is known of one tensor's error so far; sums of two parts are those of the whole.

    Attributes:
        count: number of values.
        signal: sum of f^2.
        noise: sum of (q - f)^2.
        error: sum of q - f.
        saturated: number of values of f more than half a step outside the grid.
        minimum: smallest f.
        maximum: largest f.
    """

    count: int = 0
    signal: float = 0.0
    noise: float = 0.0
    error: float = 0.0
    saturated: int = 0
    minimum: float = math.inf
    maximum: float = -math.inf

    def __add__(self, other: "ErrorSums") -> "ErrorSums":
        """Return the sums over both parts."""
        return ErrorSums(
            self.count + other.count,
            self.signal + other.signal,
            self.noise + other.noise,
            self.error + other.error,
            self.saturated + other.saturated,
            min(self.minimum, other.minimum),
            max(self.maximum, other.maximum),
        )

    @property
    def sqnr_db(self) -> float:
        """Signal over noise in dB: infinite without noise, minus infinite without signal."""
        if self.noise == 0:
            return math.inf
        return 10 * math.log10(self.signal / self.noise) if self.signal > 0 else -math.inf


def error_sums(values: NDArray[np.float32], integers: NDArray[Any], grid: Grid) -> ErrorSums:
    """Compare a float tensor with its integer twin, in double precision.

    Args:
        values: of the float model, any shape.
        integers: of the integer model, the same shape.
        grid: what the integers stand for.
    """
    lowest, highest = grid.minimum - grid.scale / 2, grid.maximum + grid.scale / 2
    sums = ErrorSums()
    chunks = np.nditer(
        (values, integers),
        flags=["external_loop", "buffered"],
        op_dtypes=[np.float64, np.float64],
        buffersize=_CHUNK,
    )
    with np.errstate(invalid="ignore"):  # a signal that is not finite is the caller's to report
        for chunk, codes in chunks:
            error = (codes - grid.zero_point) * grid.scale - chunk
            # Not np.vdot: its threads wait for each other when the machine is busy.
            sums += ErrorSums(
                count=chunk.size,
                signal=float(np.square(chunk).sum()),
                noise=float(np.square(error).sum()),
                error=float(error.sum()),
                saturated=int(np.count_nonzero((chunk < lowest) | (chunk > highest))),
                minimum=float(chunk.min()),
                maximum=float(chunk.max()),
            )
    return sums
