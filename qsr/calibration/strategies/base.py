"""What every search strategy is."""

from collections.abc import Sequence
from typing import Protocol

from qsr.calibration.study import Trial

Subset = tuple[str, ...]
"""Names of the images that make up one representative data set."""


class Strategy(Protocol):
    """Decides which representative data sets to try.

    A strategy keeps no state: what it asks for follows from the candidates and from the trials so
    far alone. That is what makes a search resume exactly where it was stopped. What a strategy can
    be set to are fields of a dataclass, so that the journal knows them.
    """

    @property
    def name(self) -> str:
        """What the command line and the journal call it."""
        ...

    def ask(self, images: Sequence[str], trials: Sequence[Trial]) -> Sequence[Subset]:
        """Return the data sets to try next, in order; empty when the search is over.

        Args:
            images: names of the candidates, in their order.
            trials: what has been tried, in the order in which it was asked for.
        """
        ...
