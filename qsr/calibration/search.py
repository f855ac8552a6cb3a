"""The search: ask for representative data sets, quantize, score, tell."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import nullcontext
from dataclasses import asdict, is_dataclass
from math import inf, isnan
from os import PathLike
from pathlib import Path
from typing import Any

from qsr.calibration.executor import completed
from qsr.calibration.provenance import model_hash, versions
from qsr.calibration.quantize import quantize
from qsr.calibration.ranges import RangeTable, Reader
from qsr.calibration.scheme import Scheme
from qsr.calibration.strategies.base import Strategy, Subset
from qsr.calibration.strategies.linear import Linear
from qsr.calibration.study import Journal, Study, Trial
from qsr.errors import StudyError, UsageError
from qsr.tflite.files import read_model

Score = Callable[[bytes], Sequence[float]]
"""Gives an integer model one score per validation item, in the same order for every model."""


def search(
    model: bytes | str | PathLike[str],
    table: RangeTable,
    score: Score,
    *,
    strategy: Strategy | None = None,
    also: Sequence[Subset] = (),
    scheme: Scheme | None = None,
    journal: str | PathLike[str] | None = None,
    validation: Mapping[str, Any] | None = None,
    executor: Executor | None = None,
    on_trial: Callable[[int, int, Trial], None] | None = None,
) -> Study:
    """Find the representative data set whose integer model scores best.

    Every trial is measured on the real integer model with every validation item. The result does
    not depend on the number of workers or on the order in which they finish.

    Args:
        model: the float ``.tflite`` model that the table was measured on.
        table: the ranges of each candidate image.
        score: scores an integer model; picklable when the executor runs other processes.
        strategy: which data sets to try; ``Linear()`` if None.
        also: data sets tried besides the strategy's, such as all images together.
        scheme: how to quantize; ``Scheme()`` if None.
        journal: file that keeps every trial; a search resumes from it. None keeps nothing.
        validation: describes what ``score`` measures (hashes of images, metric), so that a journal
            of other measurements is refused.
        executor: where to score; None scores here. Models are quantized here.
        on_trial: called with (done, asked for so far, trial) after each trial.

    Returns:
        All trials, and the best one with its model.

    Raises:
        ModelError: a model cannot be quantized or run.
        UsageError: ``score`` gives no number.
        StudyError: the table is of another model; the journal is of another study, damaged, in
            use, or cannot be written; or a worker was killed.
    """
    strategy = strategy if strategy is not None else Linear()
    scheme = scheme if scheme is not None else Scheme()
    content, source = read_model(model)
    if table.model_hash != model_hash(content):
        raise StudyError(f"{source}: the range table was measured on another model")
    identity = study_identity(
        model=table.model_hash,
        candidates=table.images,
        reader=table.reader,
        strategy=strategy,
        scheme=scheme,
        validation=validation or {},
    )
    identity["candidate_hashes"] = table.image_hashes
    with nullcontext() if journal is None else Journal(Path(journal), identity) as kept:
        found = dict(kept.trials) if kept is not None else {}
        resumed = 0
        trials: list[Trial] = []
        while asked := _new([*also, *strategy.ask(table.images, trials)], trials):
            missing = [subset for subset in asked if subset not in found]
            resumed += len(asked) - len(missing)

            def models(subsets: Sequence[Subset] = missing) -> Iterator[tuple[Any, bytes]]:
                for subset in subsets:
                    integer = quantize(content, table.merged(subset), scheme)
                    yield (subset, model_hash(integer)), integer

            total = len(trials) + len(asked)
            outcomes = completed(_scored, score, models(), executor)
            for done, ((subset, digest), scores) in enumerate(outcomes, total - len(missing) + 1):
                found[subset] = trial = _trial(subset, scores, digest)
                if kept is not None:
                    kept.add(trial)
                if on_trial is not None:
                    on_trial(done, total, trial)
            trials.extend(found[subset] for subset in asked)
    best = max(trials, key=_rank)  # of equals, max takes the first
    return Study(tuple(trials), best, quantize(content, table.merged(best.images), scheme), resumed)


def _scored(score: Score, integer: bytes) -> Sequence[float]:
    """Score a model; runs in a worker."""
    return score(integer)


def _settings(strategy: Strategy) -> dict[str, Any]:
    """Return what a strategy was set to, if it is a dataclass."""
    if not is_dataclass(strategy) or isinstance(strategy, type):
        return {}
    return asdict(strategy)


def _trial(subset: Subset, scores: Sequence[float], digest: str) -> Trial:
    """Return the record of what ``score`` gave."""
    item_scores = tuple(float(value) for value in scores)
    if not item_scores:
        raise UsageError("score gave no number; it must give one per validation item")
    return Trial(subset, sum(item_scores) / len(item_scores), item_scores, digest)


def _rank(trial: Trial) -> float:
    """Return what trials are compared by: the score, and less than any score for a NaN."""
    return -inf if isnan(trial.score) else trial.score


def _new(subsets: Sequence[Subset], trials: Sequence[Trial]) -> list[Subset]:
    """Return the data sets that have not been tried, each once."""
    tried = {trial.images for trial in trials}
    return [subset for subset in dict.fromkeys(subsets) if subset not in tried]


def study_identity(
    *,
    model: str,
    candidates: Sequence[str],
    reader: Reader,
    strategy: Strategy,
    scheme: Scheme,
    validation: Mapping[str, Any],
) -> dict[str, Any]:
    """Return what can be said of a study before any range is measured.

    ``check_journal`` refuses a journal that differs from it, before long work starts.

    Args:
        model: SHA-256 of the float model.
        candidates: names of the candidate images.
        reader: how ranges are read.
        strategy: which data sets are tried.
        scheme: how models are quantized.
        validation: what scores are measured on.
    """
    return {
        "model": model,
        "candidates": tuple(candidates),
        "reader": reader,
        "strategy": {"name": strategy.name, **_settings(strategy)},
        "scheme": asdict(scheme),
        "validation": dict(validation),
        "versions": versions(),
    }
