"""Random sets of images: the baseline that a strategy has to beat with as many trials."""

from dataclasses import dataclass

import numpy as np

from qsr.calibration.proposal import Proposal, together
from qsr.calibration.ranges import RangeTable
from qsr.calibration.strategies.base import Asking, Batch
from qsr.errors import UsageError


@dataclass(frozen=True)
class RandomSubsets:
    """Tries random subsets; sizes are drawn evenly from 1 to the largest.

    Attributes:
        count: number of subsets; fewer if there are not as many.
        largest: number of images in the largest; all candidates, or 16 if there are more, if None.
        seed: of the draws.
    """

    count: int = 100
    largest: int | None = None
    seed: int = 0
    name: str = "random"

    def propose(self, table: RangeTable) -> Asking:
        """Ask for all subsets at once, no two of them alike."""
        images = len(table.images)
        largest = min(images, 16) if self.largest is None else self.largest
        if not 1 <= largest <= images:
            raise UsageError(f"subsets of {largest} images asked for; there are {images}")
        if self.count < 1:
            raise UsageError(f"{self.count} random subsets asked for; give at least 1")
        draws = np.random.default_rng(self.seed)
        subsets: dict[Proposal, None] = {}
        for _ in range(20 * self.count):  # few images have few subsets
            size = draws.integers(1, largest, endpoint=True)
            rows = np.sort(draws.choice(images, size=size, replace=False))
            subsets[together(table.images[row] for row in rows)] = None
            if len(subsets) == self.count:
                break
        yield Batch(list(subsets))
