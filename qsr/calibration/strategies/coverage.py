"""The smallest set of images whose ranges cover the candidates', found without any score."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qsr.calibration.proposal import together
from qsr.calibration.ranges import RangeTable
from qsr.calibration.strategies.base import Asking, Batch
from qsr.errors import UsageError


@dataclass(frozen=True)
class Coverage:
    """Takes images, each time the one that covers most, until the target share is covered.

    The share that ranges cover is the mean over candidates and tensors of the part of a candidate's
    own range, from its minimum to its maximum, that lies inside. Finding the smallest set is hard
    (it is set cover); taking the best next one needs at most a factor of about ln n more images
    (Chvátal, "A Greedy Heuristic for the Set-Covering Problem", 1979).

    Attributes:
        share: the target, above 0 and at most 1.
    """

    share: float = 0.99
    name: str = "coverage"

    def propose(self, table: RangeTable) -> Asking:
        """Ask for the one set."""
        if not 0 < self.share <= 1:
            raise UsageError(f"a share of {self.share} to be covered; give one above 0, at most 1")
        chosen: list[int] = []
        lowest = np.full(len(table.tensors), np.inf, np.float32)
        highest = -lowest
        covered = 0.0
        while covered < self.share and len(chosen) < len(table.images):
            lows, highs = np.minimum(lowest, table.minimum), np.maximum(highest, table.maximum)
            shares = [
                covered_share(table, low, high) for low, high in zip(lows, highs, strict=True)
            ]
            best = int(np.argmax(shares))
            if shares[best] <= covered:  # what is missing is lost in rounding
                break
            chosen.append(best)
            covered, lowest, highest = shares[best], lows[best], highs[best]
        yield Batch([together(table.images[row] for row in sorted(chosen))])


def covered_share(
    table: RangeTable, minimum: NDArray[np.float32], maximum: NDArray[np.float32]
) -> float:
    """Return the share of the candidates' own ranges that given ranges cover; 0 to 1.

    Args:
        table: the candidates.
        minimum: ``(tensors,)``, in real units.
        maximum: the same.
    """
    span = (table.maximum - table.minimum).astype(np.float64)
    inside = np.minimum(table.maximum, maximum) - np.maximum(table.minimum, minimum)
    inside_point = (table.minimum >= minimum) & (table.maximum <= maximum)  # of a constant tensor
    share = np.where(span > 0, np.maximum(inside, 0) / np.where(span > 0, span, 1), inside_point)
    return float(share.mean())
