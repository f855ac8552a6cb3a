"""Racing: candidates that cannot win are dropped after a few cheap measurements.

Every contender is first measured on a few screening items, then the survivors on more and more of
them, each time paired with whichever is ahead: the same items for both, so that what makes an item
hard for both drops out of the difference. Who survives is measured in full. Compare Maron and
Moore, "Hoeffding Races", NIPS 1993, and Birattari et al., "A Racing Algorithm for Configuring
Metaheuristics", GECCO 2002.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


class Screen(Protocol):
    """Cheap measurements of a model; picklable when the executor runs other processes.

    The mean over items must estimate the model's mean score without bias, but for a constant that
    is the same for all models: items drawn at random from what the score averages, or parts of
    them, weighted by how likely each was to be drawn.
    """

    @property
    def identity(self) -> str:
        """Names the items, so that a journal never mixes measurements of different ones."""
        ...

    @property
    def rungs(self) -> Sequence[int]:
        """How many items each round of the race has seen, rising; the last is all of them."""
        ...

    def __call__(self, model: bytes, start: int, stop: int) -> Sequence[float]:
        """Return one number per item from ``start`` to ``stop``; higher is better."""
        ...


@dataclass(frozen=True)
class Race:
    """How candidates are dropped.

    A candidate is dropped when, by a one-sided confidence bound on the paired difference from the
    one ahead, it is not better by its share of ``tolerance`` or more.

    Attributes:
        screen: measures models cheaply.
        error: probability, in each comparison, of dropping a candidate that is better than the one
            ahead by that share (normal approximation of the mean over items). It is of one
            comparison: of hundreds of nearly equal candidates the best is dropped more often, for
            one that is hardly worse.
        tolerance: what may be lost in all rounds together, in units of the score.
    """

    screen: Screen
    error: float = 0.005
    tolerance: float = 0.0005

    def survivors(
        self,
        contenders: Sequence[str],
        rival: str | None,
        measured: Callable[[Collection[str], int], Mapping[str, Values]],
    ) -> list[str]:
        """Return who may still win, in the order given.

        Args:
            contenders: the models that race, by hash.
            rival: one that races along, and is beaten or not; None for none.
            measured: gives the values of the first so many screening items for models.
        """
        left = list(contenders)
        for items in self.screen.rungs:
            if not left or left == [rival] or (len(left) == 1 and rival is None):
                break
            field = list(dict.fromkeys([*([rival] if rival is not None else []), *left]))
            values = measured(field, items)
            running = [model for model in field if np.isfinite(values[model]).all()]
            if not running:
                return []
            ahead = max(running, key=lambda model: values[model].mean())
            left = [
                model
                for model in left
                if model == ahead
                or (model in running and self._may_win(values[model] - values[ahead]))
            ]
        return left

    def _may_win(self, difference: Values) -> bool:
        """Whether the mean that ``difference`` is a sample of may exceed the tolerance."""
        if difference.size < 2:  # noqa: PLR2004 (a spread needs two)
            return True
        spread = difference.std(ddof=1) / np.sqrt(difference.size)
        bound = difference.mean() + NormalDist().inv_cdf(1 - self.error) * spread
        return bool(bound >= self.tolerance / len(self.screen.rungs))
