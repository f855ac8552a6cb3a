"""No choice of images: statistics over all of them, then ranges tuned tensor by tensor."""

from dataclasses import dataclass

from qsr.calibration.proposal import EXTREMES, Proposal, percentile
from qsr.calibration.ranges import RangeTable
from qsr.calibration.strategies.base import Asking, Batch
from qsr.calibration.strategies.tuning import STEPS, check_steps, tuning
from qsr.calibration.study import best_of

_STATISTICS = (EXTREMES, "mean", *(percentile(q) for q in (99, 95, 90, 75, 50, 25, 10)))


@dataclass(frozen=True)
class RangeStatistics:
    """Tries statistics of the whole table, then tunes the best one.

    Attributes:
        steps: as :func:`qsr.calibration.strategies.tuning.tuning` takes them.
    """

    steps: tuple[float, ...] = STEPS
    name: str = "ranges"

    def propose(self, table: RangeTable) -> Asking:
        """Ask for all statistics at once, then for all moves from the best so far."""
        check_steps(self.steps)
        trials = yield Batch([Proposal(table.images, statistic) for statistic in _STATISTICS])
        yield from tuning(best_of(trials), table, self.steps)
