"""How like each other the stored values of two operators are."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qsr.tflite.graph import Graph
from qsr.tflite.real_values import real_constant

_TELLING = 100
"""So many weights of both signs agree in sign by chance with a standard deviation of 0.1."""

_UNLIKE = 0.3


@dataclass(frozen=True)
class Likeness:
    """What the stored values of two operators say about whether they are the same layer.

    Attributes:
        score: 1 for the same values, about 0 for values that have nothing to do with each other.
        telling: whether there are enough values to tell.
    """

    score: float
    telling: bool

    @property
    def unlike(self) -> bool:
        """Whether the two are surely of different layers, or of different trainings."""
        return self.telling and self.score < _UNLIKE


def likeness(
    reference: Graph, constants: tuple[int, ...], tested: Graph, others: tuple[int, ...]
) -> Likeness:
    """Compare the stored values of two operators.

    Weights are compared by their signs, those that are 0 in either left out: rounding, fine-tuning
    and the rescaling of channels leave nearly all as they are. Their correlation is the score if
    there are enough of them, of both signs. Otherwise it is the mean over all constants of ``1 -
    sum abs(a - b) / sum (abs(a) + abs(b))``, and no more than a hint.

    Args:
        reference: one model.
        constants: numbers of its operator's constants.
        tested: the other model.
        others: the same of its operator; pairs are of one size.
    """
    pairs = [
        (_values(reference, one), _values(tested, other))
        for one, other in zip(constants, others, strict=False)
    ]
    if not pairs:
        return Likeness(0.0, telling=False)
    signs = _sign_correlation(*max(pairs, key=lambda pair: pair[0].size))
    if signs is not None:
        return Likeness(signs, telling=True)
    return Likeness(float(np.mean([_closeness(*pair) for pair in pairs])), telling=False)


def _values(graph: Graph, index: int) -> NDArray[np.float64]:
    return real_constant(graph, index).ravel().astype(np.float64)


def _sign_correlation(one: NDArray[np.float64], other: NDArray[np.float64]) -> float | None:
    """Return how the signs correlate, from -1 to 1; None where that tells nothing."""
    kept = (one != 0) & (other != 0)
    if np.count_nonzero(kept) < _TELLING:
        return None
    first, second = one[kept] > 0, other[kept] > 0
    if first.all() or second.all() or not first.any() or not second.any():
        return None
    return float(np.corrcoef(first, second)[0, 1])


def _closeness(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Return 1 for equal values, and 0 at least."""
    size = float((np.abs(one) + np.abs(other)).sum())
    return 1.0 - float(np.abs(one - other).sum()) / size if size else 1.0
