"""Where a search makes integer models and measures them, each once."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from math import nan
from typing import TypeVar

import numpy as np

from qsr.calibration.executor import completed
from qsr.calibration.journal import Journal
from qsr.calibration.objective import Objective, objective_value
from qsr.calibration.proposal import Proposal
from qsr.calibration.provenance import model_hash
from qsr.calibration.quantize import quantize
from qsr.calibration.race import Race, Screen, Values
from qsr.calibration.ranges import RangeTable
from qsr.calibration.scheme import Scheme
from qsr.calibration.strategies.base import Batch
from qsr.calibration.study import Trial
from qsr.errors import UsageError

Score = Callable[[bytes], Sequence[float]]
"""Gives an integer model one score per item, always in the same order; higher is better."""

Progress = Callable[[str, int, int], None]
"""Called with (what is being done, done, total)."""

SELECTION = "selection"
"""The items that choose."""

CONFIRMATION = "confirmation"
"""Items that choose nothing."""

Shared = TypeVar("Shared")
Argument = TypeVar("Argument")


class Bench:
    """Quantizes proposals and measures the models; what is known already is not measured again.

    Args:
        content: the float model.
        table: the ranges of the candidates.
        scheme: how to quantize.
        journal: keeps every measurement.
        executor: where to measure; None measures here.
        on_progress: called after each measurement.
    """

    def __init__(
        self,
        content: bytes,
        *,
        table: RangeTable,
        scheme: Scheme,
        journal: Journal,
        executor: Executor | None,
        on_progress: Progress | None,
    ) -> None:
        self._content = content
        self._table = table
        self._scheme = scheme
        self._journal = journal
        self._executor = executor
        self._on_progress = on_progress
        self._proposals = {digest: proposal for proposal, digest in journal.models.items()}
        self._digests: dict[bytes, str] = {}
        self._models: dict[str, bytes] = {}

    def trials(
        self, batch: Batch, score: Score, objective: Objective, race: Race | None = None
    ) -> list[Trial]:
        """Measure a batch, each model as far as it takes.

        Args:
            batch: what to measure.
            score: measures a model in full.
            objective: what makes a model the best.
            race: drops models that cannot be the batch's best; None drops none.

        Returns:
            One trial per proposal, in their order.
        """
        digests: Iterator[str] = self._distinct(batch.proposals)
        total = len(batch.proposals)
        if race is not None and race.screen.rungs:
            finalists = self._raced(digests, batch, race)
            digests, total = iter(finalists), len(finalists)
        self.score(score, SELECTION, digests, total)
        return [self._trial(proposal, batch, objective, race) for proposal in batch.proposals]

    def score(self, score: Score, items: str, digests: Iterable[str], total: int) -> None:
        """Measure models in full.

        Args:
            score: measures a model.
            items: names what it is measured on.
            digests: hashes of the models; those that were measured are passed over.
            total: how many there are, at most.
        """

        def unscored() -> Iterator[tuple[str, bytes]]:
            for digest in digests:
                if (digest, items) not in self._journal.scores:
                    yield digest, self.integer(digest)

        for digest, scores in self._completed(
            f"score ({items})", _scored, score, unscored(), total
        ):
            if len(scores) == 0:
                raise UsageError("score gave no number; it must give one per validation item")
            self._journal.add_scores(digest, items, 0, scores)

    def scores(self, trial: Trial, items: str) -> tuple[float, ...]:
        """Return what was measured in full."""
        return self._journal.scores[trial.model_hash, items]

    def integer(self, digest: str) -> bytes:
        """Return the model of that hash: the one just made, which is then forgotten, or anew."""
        kept = self._models.pop(digest, None)
        return kept if kept is not None else self._quantized(self._proposals[digest])

    def _raced(self, digests: Iterator[str], batch: Batch, race: Race) -> list[str]:
        """Return the hashes of the models that a race leaves."""
        # Drawn while others are screened, so that quantizing keeps nobody waiting.
        first, total = race.screen.rungs[0], len(batch.proposals)
        contenders = list(self._screened(race.screen, digests, first, total))
        rival = None if batch.to_beat is None else batch.to_beat.model_hash

        def measured(models: Collection[str], items: int) -> dict[str, Values]:
            return self._screened(race.screen, models, items, len(models))

        return race.survivors(contenders, rival, measured)

    def _screened(
        self, screen: Screen, digests: Iterable[str], items: int, total: int
    ) -> dict[str, Values]:
        """Return the values of the first ``items`` screening items for each model."""
        name, asked = f"screen {screen.identity}", []

        def unscreened() -> Iterator[tuple[str, tuple[bytes, int, int]]]:
            for digest in digests:
                asked.append(digest)
                known = len(self._journal.scores.get((digest, name), ()))
                if known < items:
                    yield digest, (self.integer(digest), known, items)

        stage = f"screen on {items} of {screen.rungs[-1]} items"
        for digest, values in self._completed(stage, _screened, screen, unscreened(), total):
            self._journal.add_scores(digest, name, items - len(values), values)
        return {
            digest: np.array(self._journal.scores[digest, name][:items], np.float64)
            for digest in asked
        }

    def _completed(
        self,
        stage: str,
        function: Callable[[Shared, Argument], Sequence[float]],
        shared: Shared,
        arguments: Iterable[tuple[str, Argument]],
        total: int,
    ) -> Iterator[tuple[str, Sequence[float]]]:
        """Run tasks on the executor, and tell how far they are; what is passed over comes last."""
        tell = self._on_progress if self._on_progress is not None else _silent
        done = 0
        for outcome in completed(function, shared, arguments, self._executor):
            yield outcome
            done += 1
            tell(stage, done, total)
        if 0 < done < total:
            tell(stage, total, total)

    def _distinct(self, proposals: Iterable[Proposal]) -> Iterator[str]:
        """Yield the hash of each different model that the proposals give."""
        seen: set[str] = set()
        for proposal in proposals:
            digest = self._digest(proposal)
            if digest not in seen:
                seen.add(digest)
                yield digest

    def _digest(self, proposal: Proposal) -> str:
        """Return the hash of the model that a proposal gives, quantizing it if need be."""
        if proposal not in self._journal.models:
            ranges = proposal.ranges(self._table)
            key = ranges.minimum.tobytes() + ranges.maximum.tobytes()
            if key not in self._digests:
                integer = self._quantized(proposal)
                self._digests[key] = digest = model_hash(integer)
                self._models[digest] = integer
                self._proposals.setdefault(digest, proposal)
            self._journal.add_model(proposal, self._digests[key])
        return self._journal.models[proposal]

    def _quantized(self, proposal: Proposal) -> bytes:
        return quantize(self._content, proposal.ranges(self._table), self._scheme)

    def _trial(
        self, proposal: Proposal, batch: Batch, objective: Objective, race: Race | None
    ) -> Trial:
        """Return what is known of a proposal."""
        digest = self._journal.models[proposal]
        scores = self._journal.scores.get((digest, SELECTION), ())
        if scores:
            return Trial(proposal, objective_value(objective, scores), scores, digest)
        return Trial(proposal, self._estimate(digest, batch, race), (), digest)

    def _estimate(self, digest: str, batch: Batch, race: Race | None) -> float:
        """Return the score that screening lets expect: by how much it differs from a known one."""
        if race is None:
            return nan
        name = f"screen {race.screen.identity}"
        rivals = [] if batch.to_beat is None else [batch.to_beat.proposal]
        known = {
            self._journal.models[proposal]: self._journal.scores[model, SELECTION]
            for proposal in (*batch.proposals, *rivals)
            if ((model := self._journal.models[proposal]), SELECTION) in self._journal.scores
        }
        values = np.array(self._journal.scores.get((digest, name), ()), np.float64)
        if not known or not values.size:
            return nan
        best = max(known, key=lambda model: np.mean(known[model]))
        paired = self._journal.scores[best, name][: values.size]
        return float(np.mean(known[best]) + values.mean() - np.mean(paired))


def _silent(stage: str, done: int, total: int) -> None:
    """Say nothing."""


def _scored(score: Score, integer: bytes) -> Sequence[float]:
    """Score a model; runs in a worker."""
    return score(integer)


def _screened(screen: Screen, asked: tuple[bytes, int, int]) -> Sequence[float]:
    """Screen a model; runs in a worker."""
    integer, start, stop = asked
    return screen(integer, start, stop)
