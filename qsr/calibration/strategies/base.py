"""What every search strategy is."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Protocol

from qsr.calibration.proposal import Proposal
from qsr.calibration.ranges import RangeTable
from qsr.calibration.study import Trial


@dataclass(frozen=True)
class Batch:
    """Proposals that may all be measured at once.

    Attributes:
        proposals: what to try.
        to_beat: what they have to be better than to be of use. The best of the batch is always
            measured in full if None; with a trial to beat, all may come back dropped.
    """

    proposals: Sequence[Proposal]
    to_beat: Trial | None = None


Asking = Generator[Batch, Sequence[Trial], None]
"""Yields batches; gets the trials of each, in the order of its proposals."""


class Strategy(Protocol):
    """Decides what to try.

    What it asks for follows from the range table and from the trials alone: no clock, no unseeded
    chance. So a search that was stopped takes the same way again, past what the journal knows, and
    goes on where it was.
    """

    @property
    def name(self) -> str:
        """What the command line calls it."""
        ...

    def propose(self, table: RangeTable) -> Asking:
        """Ask for trials, batch by batch; done when there is nothing more to ask.

        Those of a batch that cannot be its best may come back dropped, with an estimate for a
        score.

        Args:
            table: the ranges of every candidate.

        Raises:
            UsageError: the candidates do not suffice.
        """
        ...
