"""Tunes the ranges of a proposal directly, tensor by tensor."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

from qsr.calibration.proposal import Proposal
from qsr.calibration.ranges import RangeTable
from qsr.calibration.strategies.base import Asking, Batch, Strategy
from qsr.calibration.study import Trial, best_of
from qsr.errors import UsageError

STEPS = (0.15, 0.05, 0.02)
"""Relative changes of a range's end, in turn."""

_FARTHEST = 4.0


@dataclass(frozen=True)
class Tuned:
    """Tunes the ranges of the best that another strategy finds.

    Attributes:
        first: the strategy that proposes images.
        steps: relative changes of a range's end, in turn.
    """

    first: Strategy
    steps: tuple[float, ...] = STEPS

    @property
    def name(self) -> str:
        """What it is called: the first strategy, and that its best is tuned."""
        return f"{self.first.name}, tuned"

    def propose(self, table: RangeTable) -> Asking:
        """Ask for what the first strategy asks for, then for all moves from the best of it."""
        check_steps(self.steps)
        asking = self.first.propose(table)
        found: list[Trial] = []
        try:
            batch = next(asking)
            while True:
                trials = yield batch
                found.extend(trials)
                batch = asking.send(trials)
        except StopIteration:
            pass
        yield from tuning(best_of(found), table, self.steps)


def tuning(chosen: Trial | None, table: RangeTable, steps: Sequence[float]) -> Asking:
    """Ask for changes of the ends of ranges, as long as they help.

    A pattern search (Hooke and Jeeves, "'Direct Search' Solution of Numerical and Statistical
    Problems", 1961): each end of each tensor's range alone is moved out and in by a factor; then
    the moves that helped are made together; when none helps, the factor gets smaller. No end gets
    beyond four times its first value, or below a quarter: that is two bits, and so tuning ends
    whatever the scores.

    Args:
        chosen: what to start from; nothing is asked for if None.
        table: the ranges of every candidate.
        steps: relative changes of a range's end, in turn; empty for no tuning.

    Raises:
        UsageError: a step is not between 0 and 1.
    """
    check_steps(steps)
    ends = _ends(table)
    for step in steps:
        while chosen is not None and ends:
            better = yield from _improved(chosen, ends, step)
            if better is None:
                break
            chosen = better


def check_steps(steps: Sequence[float]) -> None:
    """Raise UsageError for steps that no range can be changed by."""
    if any(not 0 < step < 1 for step in steps):
        raise UsageError(f"steps of {tuple(steps)}; give relative changes between 0 and 1")


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
