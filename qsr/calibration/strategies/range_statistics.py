"""No choice of images: statistics over all of them, then ranges tuned tensor by tensor."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

from qsr.calibration.proposal import EXTREMES, Proposal, percentile
from qsr.calibration.ranges import RangeTable
from qsr.calibration.strategies.base import Asking, Batch
from qsr.calibration.study import Trial, best_of
from qsr.errors import UsageError

_FARTHEST = 4.0
_STATISTICS = (EXTREMES, "mean", *(percentile(q) for q in (99, 95, 90, 75, 50, 25, 10)))


@dataclass(frozen=True)
class RangeStatistics:
    """Tries statistics of the whole table, then tunes the best one directly.

    Tuning is a pattern search (Hooke and Jeeves, "'Direct Search' Solution of Numerical and
    Statistical Problems", 1961) over the ends of each tensor's range: each end alone is moved out
    and in by a factor; then the moves that helped are made together; when none helps, the factor
    gets smaller. No end gets beyond four times its first value, or below a quarter: that is two
    bits, and so tuning ends whatever the scores.

    Attributes:
        steps: relative changes of a range's end, in turn; empty for no tuning.
    """

    steps: tuple[float, ...] = (0.15, 0.05, 0.02)
    name: str = "ranges"

    def propose(self, table: RangeTable) -> Asking:
        """Ask for all statistics at once, then for all moves from the best so far."""
        if any(not 0 < step < 1 for step in self.steps):
            raise UsageError(f"steps of {self.steps}; give relative changes between 0 and 1")
        chosen = best_of(
            (yield Batch([Proposal(table.images, statistic) for statistic in _STATISTICS]))
        )
        ends = _ends(table)
        for step in self.steps:
            while chosen is not None and ends:
                better = yield from _improved(chosen, ends, step)
                if better is None:
                    break
                chosen = better


def _improved(
    chosen: Trial, ends: Sequence[tuple[str, bool]], step: float
) -> Generator[Batch, Sequence[Trial], Trial | None]:
    """Try each end alone, then what helped together; return the best if it is better."""
    moves = {
        (end, factor): moved
        for end in ends
        for factor in (1 + step, 1 / (1 + step))
        if _near(moved := _moved(chosen.proposal, end, factor))
    }
    alone = yield Batch(list(moves.values()), chosen)
    helped: dict[tuple[str, bool], tuple[Trial, float]] = {}
    for (end, factor), trial in zip(moves, alone, strict=True):
        before = helped[end][0].score if end in helped else chosen.score
        if trial.score > before:  # an estimate will do to choose what is measured together
            helped[end] = trial, factor
    if not helped:
        return None
    together = chosen.proposal
    for end, (_, factor) in helped.items():
        together = _moved(together, end, factor)
    found = yield Batch([together], chosen)
    best = best_of([*(trial for trial, _ in helped.values()), *found])
    return best if best is not None and best.score > chosen.score else None


def _ends(table: RangeTable) -> list[tuple[str, bool]]:
    """Return the ends that can be moved: (tensor, whether it is the upper one), none that is 0."""
    lowest, highest = table.minimum.min(axis=0), table.maximum.max(axis=0)
    return [
        (name, upper)
        for name, low, high in zip(table.tensors, lowest, highest, strict=True)
        for upper, end in ((False, low), (True, high))
        if end != 0
    ]


def _near(proposal: Proposal) -> bool:
    """Whether no end was moved too far."""
    return all(
        1 / _FARTHEST <= factor <= _FARTHEST
        for _, *factors in proposal.factors
        for factor in factors
    )


def _moved(proposal: Proposal, end: tuple[str, bool], factor: float) -> Proposal:
    """Return a proposal with one more factor on one end of one tensor's range."""
    tensor, upper = end
    factors = {name: (low, high) for name, low, high in proposal.factors}
    low, high = factors.get(tensor, (1.0, 1.0))
    factors[tensor] = (low, high * factor) if upper else (low * factor, high)
    return replace(proposal, factors=tuple((name, *ends) for name, ends in sorted(factors.items())))
