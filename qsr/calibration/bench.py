"""Where a search makes integer models and measures them, each once."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from math import nan
from typing import Any, Protocol, TypeVar

import numpy as np

from qsr.calibration.executor import completed
from qsr.calibration.journal import Journal
from qsr.calibration.objective import Objective, objective_value
from qsr.calibration.proposal import Proposal
from qsr.calibration.provenance import model_hash
from qsr.calibration.quantize import quantize
from qsr.calibration.race import Race, Screen, Values
from qsr.calibration.ranges import Ranges, RangeTable
from qsr.calibration.scheme import Scheme
from qsr.calibration.strategies.base import Batch
from qsr.calibration.study import Trial
from qsr.errors import ModelError, StudyError, UsageError

Score = Callable[[bytes], Sequence[float]]
"""Gives an integer model one score per item, always in the same order; higher is better."""


class DivisibleScore(Protocol):
    """A score that several workers can share when few models are left to measure."""

    def __call__(self, model: bytes) -> Sequence[float]:
        """Return one score per item."""
        ...

    def part(self, index: int, count: int) -> Score:
        """Return what scores part ``index`` of ``count``; all parts in order are the whole."""
        ...


Progress = Callable[[str, int, int], None]
"""Called with (what is being done, done, total)."""

SELECTION = "selection"
"""The items that choose."""

CONFIRMATION = "confirmation"
"""Items that choose nothing."""

NO_MODEL = ""
"""In place of a hash: TFLite refuses to quantize with these ranges."""

Shared = TypeVar("Shared")
Argument = TypeVar("Argument")
Key = TypeVar("Key")

_FEW = 4
"""So few models are measured in parts: else some workers would have nothing to do."""

_PARTS = 8


class Bench:
    """Quantizes proposals and measures the models; what is known already is not measured again.

    Args:
        content: the float model.
        table: the ranges of the candidates.
        scheme: how to quantize.
        journal: keeps every measurement.
        reference: what is taken off each selection item's score before the objective; None for
            nothing.
        executor: where to measure; None measures here.
        on_progress: called after each measurement.

    Attributes:
        refusal: why the first proposal that has no integer model has none; None if each has one.
    """

    def __init__(
        self,
        content: bytes,
        *,
        table: RangeTable,
        scheme: Scheme,
        journal: Journal,
        reference: Sequence[float] | None,
        executor: Executor | None,
        on_progress: Progress | None,
    ) -> None:
        self.refusal: ModelError | None = None
        self._content = content
        self._table = table
        self._scheme = scheme
        self._journal = journal
        self._reference = reference
        self._executor = executor
        self._on_progress = on_progress
        self._hashes: dict[Proposal, str] = {}
        self._of_ranges: dict[bytes, str] = {}
        self._proposals: dict[str, Proposal] = {}
        self._just_made = (NO_MODEL, b"")
        # What this run has asked for. The journal may know more; if that showed, a search would
        # take another way when it is resumed.
        self._full: set[str] = set()
        self._looked_at: dict[str, int] = {}
        for proposal, digest in journal.models.items():
            self._of_ranges[_key(proposal.ranges(table))] = digest
            self._proposals[digest] = proposal

    def trials(
        self,
        batch: Batch,
        score: Score | DivisibleScore,
        objective: Objective,
        race: Race | None = None,
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
        if race is not None and race.screen.rungs and not self._settled(batch):
            finalists = self._raced(digests, batch, race)
            digests, total = iter(finalists), len(finalists)
        self.score(score, SELECTION, digests, total)
        values = self._values(batch, objective, race)
        found = [(proposal, self._digest(proposal)) for proposal in batch.proposals]
        return [Trial(proposal, *values[digest], digest) for proposal, digest in found]

    def score(
        self, score: Score | DivisibleScore, items: str, digests: Iterable[str], total: int
    ) -> None:
        """Measure models in full.

        Args:
            score: measures a model.
            items: names what it is measured on.
            digests: hashes of the models; those that were measured are passed over.
            total: how many there are, at most.
        """
        shared = self._executor is not None and total <= _FEW and hasattr(score, "part")
        count = _PARTS if shared else 1
        found: dict[str, dict[int, Sequence[float]]] = defaultdict(dict)

        def unscored() -> Iterator[tuple[tuple[str, int], tuple[bytes, int, int]]]:
            for digest in digests:
                if items == SELECTION:
                    self._full.add(digest)
                if (digest, items) not in self._journal.scores:
                    for part in range(count):
                        yield (digest, part), (self.integer(digest), part, count)

        for (digest, part), part_scores in self._completed(
            f"score ({items})", _scored, score, unscored(), total * count
        ):
            found[digest][part] = part_scores
            if len(found[digest]) == count:
                parts = found.pop(digest)
                scores = [one for number in range(count) for one in parts[number]]
                self._check_count(items, len(scores))
                self._journal.add_scores(digest, items, 0, scores)

    def scores(self, trial: Trial, items: str) -> tuple[float, ...]:
        """Return what was measured in full; empty if nothing was."""
        return self._journal.scores.get((trial.model_hash, items), ())

    def integer(self, digest: str) -> bytes:
        """Return the model of that hash; no other but the last one made is kept in memory.

        Raises:
            StudyError: TFLite makes another model today than when the journal was written.
        """
        last, integer = self._just_made
        if last != digest:
            integer = self._quantized(self._proposals[digest].ranges(self._table))
            if model_hash(integer) != digest:
                raise StudyError(
                    "TFLite makes another integer model here than where the journal was begun; "
                    "give another folder, or go on on that machine"
                )
        return integer

    def _check_count(self, items: str, count: int) -> None:
        """Check that a model has as many scores as those before it."""
        if count == 0:
            raise UsageError("score gave no number; it must give one per validation item")
        before = next(
            (len(known) for (_, name), known in self._journal.scores.items() if name == items),
            count,
        )
        if count != before:
            raise UsageError(
                f"score gave {count} numbers for a model and {before} for another; it must give "
                "one per validation item"
            )

    def _settled(self, batch: Batch) -> bool:
        """Whether there is nobody to race with, or nothing left to measure."""
        if len(batch.proposals) != 1:
            return False
        return batch.to_beat is None or self._digest(batch.proposals[0]) in self._full

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
            known = len(self._journal.scores.get((digest, name), ()))
            if len(values) != items - known:
                raise UsageError(f"the screen gave {len(values)} numbers for {items - known} items")
            self._journal.add_scores(digest, name, known, values)
        for digest in asked:
            self._looked_at[digest] = max(items, self._looked_at.get(digest, 0))
        return {
            digest: np.array(self._journal.scores[digest, name][:items], np.float64)
            for digest in asked
        }

    def _completed(
        self,
        stage: str,
        function: Callable[[Shared, Argument], Sequence[float]],
        shared: Shared,
        arguments: Iterable[tuple[Key, Argument]],
        total: int,
    ) -> Iterator[tuple[Key, Sequence[float]]]:
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
        seen = {NO_MODEL}
        for proposal in proposals:
            digest = self._digest(proposal)
            if digest not in seen:
                seen.add(digest)
                yield digest

    def _digest(self, proposal: Proposal) -> str:
        """Return the hash of the model that a proposal gives, quantizing it if need be."""
        if proposal not in self._hashes:
            ranges = proposal.ranges(self._table)
            key = _key(ranges)
            if key not in self._of_ranges:
                self._of_ranges[key] = self._made(proposal, ranges)
            self._hashes[proposal] = self._of_ranges[key]
        return self._hashes[proposal]

    def _made(self, proposal: Proposal, ranges: Ranges) -> str:
        """Make the model of a proposal and return its hash."""
        try:
            integer = self._quantized(ranges)
        except ModelError as error:
            self.refusal = self.refusal or error
            return NO_MODEL
        digest = model_hash(integer)
        self._just_made = digest, integer
        self._proposals.setdefault(digest, proposal)
        self._journal.add_model(proposal, digest)
        return digest

    def _quantized(self, ranges: Ranges) -> bytes:
        return quantize(self._content, ranges, self._scheme)

    def _values(
        self, batch: Batch, objective: Objective, race: Race | None
    ) -> dict[str, tuple[float, tuple[float, ...]]]:
        """Return score and item scores of each of a batch's models, by hash."""
        digests = list(self._distinct(batch.proposals))
        values: dict[str, tuple[float, tuple[float, ...]]] = {NO_MODEL: (nan, ())}
        estimates = {} if race is None else self._estimates(digests, batch, race.screen)
        for digest in digests:
            scores = self._journal.scores[digest, SELECTION] if digest in self._full else ()
            score = self._objective(objective, scores) if scores else estimates.get(digest, nan)
            values[digest] = score, scores
        return values

    def _objective(self, objective: Objective, scores: Sequence[float]) -> float:
        """Return the value of an objective, of what scores exceed the reference by."""
        return objective_value(objective, scores, reference=self._reference)

    def _estimates(self, digests: Iterable[str], batch: Batch, screen: Screen) -> dict[str, float]:
        """Return the score that screening lets expect, by the difference from a measured model."""
        rivals = [] if batch.to_beat is None else [batch.to_beat.model_hash]
        known, name = self._journal.scores, f"screen {screen.identity}"
        screened = {
            digest: np.array(known[digest, name][: self._looked_at[digest]])
            for digest in (*digests, *rivals)
            if digest in self._looked_at
        }
        measured = {
            digest: self._objective("mean", known[digest, SELECTION])
            for digest, values in screened.items()
            if digest in self._full and np.isfinite([*known[digest, SELECTION], *values]).all()
        }
        if not measured:
            return {}
        best = max(measured, key=measured.__getitem__)
        estimates = {}
        for digest, values in screened.items():
            shared = min(len(values), len(screened[best]))
            gain = values[:shared].mean() - screened[best][:shared].mean()
            estimates[digest] = measured[best] + float(gain)
        return estimates


def _key(ranges: Ranges) -> bytes:
    """Return what tells ranges of the same tensors apart."""
    return ranges.minimum.tobytes() + ranges.maximum.tobytes()


def _silent(stage: str, done: int, total: int) -> None:
    """Say nothing."""


def _scored(score: Any, asked: tuple[bytes, int, int]) -> Sequence[float]:
    """Score a model on all items, or on a part of them if the score has parts; in a worker."""
    integer, part, count = asked
    whole: Score = score if count == 1 else score.part(part, count)
    return whole(integer)


def _screened(screen: Screen, asked: tuple[bytes, int, int]) -> Sequence[float]:
    """Screen a model; runs in a worker."""
    integer, start, stop = asked
    return screen(integer, start, stop)
