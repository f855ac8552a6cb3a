"""Each image alone: the linear search of the XCAT paper (section 3.2)."""

from dataclasses import dataclass

from qsr.calibration.proposal import together
from qsr.calibration.ranges import RangeTable
from qsr.calibration.strategies.base import Asking, Batch


@dataclass(frozen=True)
class Linear:
    """Tries every candidate alone as the representative data set, in order."""

    name: str = "linear"

    def propose(self, table: RangeTable) -> Asking:
        """Ask for every image alone, all at once."""
        yield Batch([together([image]) for image in table.images])
