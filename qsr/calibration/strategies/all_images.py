"""All images together: the usual practice."""

from dataclasses import dataclass

from qsr.calibration.proposal import together
from qsr.calibration.ranges import RangeTable
from qsr.calibration.strategies.base import Asking, Batch


@dataclass(frozen=True)
class AllImages:
    """Takes all candidates together as the representative data set."""

    name: str = "all"

    def propose(self, table: RangeTable) -> Asking:
        """Ask for that one set."""
        yield Batch([together(table.images)])
