"""What a search may try: ranges, said by what they are made from."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsr.calibration.ranges import Ranges, RangeTable
from qsr.errors import UsageError

EXTREMES = "extremes"
"""Minimum and maximum over the images: what calibration on these images together gives."""

_PERCENTILE = "percentile "
_HIGHEST = 100


@dataclass(frozen=True)
class Proposal:
    """Ranges, as images and what is done with their rows of the range table.

    Attributes:
        images: names of the images; their rows enter.
        statistic: how the rows become one range per tensor: ``extremes``, ``mean`` (mean of the
            minima, mean of the maxima), or ``percentile Q`` (percentile Q of the maxima, 100 - Q of
            the minima).
        factors: ``(tensor, lower, upper)``: what the ends of a tensor's range are multiplied by
            afterwards. Each tensor once.
    """

    images: tuple[str, ...]
    statistic: str = EXTREMES
    factors: tuple[tuple[str, float, float], ...] = ()

    @property
    def is_data_set(self) -> bool:
        """Whether it is a representative data set, and nothing more."""
        return self.statistic == EXTREMES and not self.factors

    def ranges(self, table: RangeTable) -> Ranges:
        """Return the ranges.

        Args:
            table: has a row for each of the images.

        Returns:
            Ranges of all the table's tensors. Where a low percentile or a factor puts the maximum
            below the minimum, both are the minimum.

        Raises:
            UsageError: no image, one or a tensor that is not in the table, or an unknown statistic.
        """
        if self.statistic == EXTREMES:
            merged = table.merged(self.images)
            if not self.factors:
                return merged
            minimum, maximum = merged.minimum, merged.maximum
        else:
            rows, reduce = table.subset(self.images), _reduction(self.statistic)
            minimum, maximum = -reduce(-rows.minimum), reduce(rows.maximum)
        place = {name: index for index, name in enumerate(table.tensors)}
        for tensor, lower, upper in self.factors:
            if tensor not in place:
                raise UsageError(f"no ranges of a tensor named {tensor!r}")
            minimum[place[tensor]] *= np.float32(lower)
            maximum[place[tensor]] *= np.float32(upper)
        return Ranges(table.tensors, minimum, np.maximum(minimum, maximum))


def percentile(q: float) -> str:
    """Return the statistic ``percentile Q``, for Q from 0 to 100."""
    return f"{_PERCENTILE}{q:g}"


def together(images: Iterable[str]) -> Proposal:
    """Return these images as one representative data set."""
    return Proposal(tuple(images))


def from_json(entry: dict[str, Any]) -> Proposal:
    """Return the proposal that :func:`dataclasses.asdict` and JSON made ``entry`` of."""
    factors = tuple((str(name), float(low), float(high)) for name, low, high in entry["factors"])
    return Proposal(tuple(entry["images"]), str(entry["statistic"]), factors)


def _reduction(statistic: str) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """Return what turns the maxima of all images, ``(images, tensors)``, into one per tensor."""
    if statistic == "mean":
        return lambda maxima: maxima.mean(axis=0, dtype=np.float64).astype(np.float32)
    if statistic.startswith(_PERCENTILE):
        with suppress(ValueError):
            q = float(statistic.removeprefix(_PERCENTILE))
            if 0 <= q <= _HIGHEST:
                return lambda maxima: np.percentile(maxima, q, axis=0).astype(np.float32)
    raise UsageError(
        f"no statistic named {statistic!r}; give extremes, mean, or percentile Q with Q from 0 to "
        f"{_HIGHEST}"
    )
