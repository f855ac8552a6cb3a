"""The search: ask for representative data, quantize, score, tell."""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from math import nan
from os import PathLike
from pathlib import Path
from typing import Any

from qsr.calibration.bench import (
    CONFIRMATION,
    NO_MODEL,
    SELECTION,
    Bench,
    DivisibleScore,
    Progress,
    Score,
)
from qsr.calibration.bootstrap import paired_bootstrap
from qsr.calibration.journal import Journal
from qsr.calibration.objective import Objective, objective_named
from qsr.calibration.proposal import together
from qsr.calibration.provenance import model_hash, versions
from qsr.calibration.race import Race
from qsr.calibration.ranges import RangeTable, Reader
from qsr.calibration.scheme import Scheme
from qsr.calibration.strategies.base import Batch, Strategy
from qsr.calibration.strategies.linear import Linear
from qsr.calibration.study import Confirmation, Study, Trial, best_of
from qsr.errors import ModelError, StudyError, UsageError
from qsr.tflite.files import read_model


def search(
    model: bytes | str | PathLike[str],
    table: RangeTable,
    score: Score | DivisibleScore,
    *,
    strategy: Strategy | None = None,
    baseline: Iterable[str] | None = None,
    objective: Objective = "mean",
    reference: Sequence[float] | None = None,
    race: Race | None = None,
    confirm: Score | DivisibleScore | None = None,
    scheme: Scheme | None = None,
    journal: str | PathLike[str] | None = None,
    validation: Mapping[str, Any] | None = None,
    executor: Executor | None = None,
    on_progress: Progress | None = None,
) -> Study:
    """Find the representative data whose integer model scores best.

    What is returned was measured on the real integer model with every item. The result does not
    depend on the number of workers or on the order in which they finish.

    Args:
        model: the float ``.tflite`` model that the table was measured on.
        table: the ranges of each candidate image.
        score: scores an integer model on the selection items; picklable when the executor runs
            other processes.
        strategy: what to try; ``Linear()`` if None.
        baseline: images that together are what the winner is compared with; all if None.
        objective: what makes a model the best: ``mean``, ``worst`` or ``p5`` of its item scores.
        reference: score of each selection item that is taken off before the objective: that of the
            float model makes ``worst`` the item that loses most. None takes off nothing.
        race: drops candidates early that cannot win, for the objective ``mean``; None measures
            every candidate on every item.
        confirm: scores winner and baseline on items that ``score`` never sees; None leaves that
            out. Without it, expect the winner's score to be too good: it was chosen for it.
        scheme: how to quantize; ``Scheme()`` if None.
        journal: file that keeps every measurement; a search resumes from it, of whatever strategy
            and objective. None keeps nothing.
        validation: describes what the scores measure (hashes of images, metric), so that a journal
            of other measurements is refused.
        executor: where to score; None scores here. Models are quantized here.
        on_progress: called after each measurement.

    Returns:
        All trials, the best one with its model, and what it is worth on the confirmation items.

    Raises:
        ModelError: none of the models tried can be quantized and run.
        UsageError: a score gives no number or not as many for each model, the strategy's settings
            do not fit the candidates, or a race for another objective than the mean.
        StudyError: the table is of another model; the journal is of another study, damaged, in
            use, or cannot be written; or a worker was killed.
    """
    objective = objective_named(objective)
    if race is not None and objective != "mean":
        raise UsageError(f"a race finds the best mean; leave it out for the objective {objective}")
    content, source = read_model(model)
    if table.model_hash != model_hash(content):
        raise StudyError(f"{source}: the range table was measured on another model")
    identity = study_identity(
        model=table.model_hash,
        reader=table.reader,
        scheme=scheme or Scheme(),
        validation=validation or {},
    )
    identity["candidates"] = dict(zip(table.images, table.image_hashes, strict=True))
    usual_practice = together(table.images if baseline is None else baseline)
    usual_practice.ranges(table)  # complaints come before anything is measured
    asking = (strategy or Linear()).propose(table)
    batch = next(asking, None)
    with Journal(None if journal is None else Path(journal), identity) as kept:
        resumed = sum(items == SELECTION for _, items in kept.scores)
        bench = Bench(
            content,
            table=table,
            scheme=scheme or Scheme(),
            journal=kept,
            reference=reference,
            executor=executor,
            on_progress=on_progress,
        )
        trials: list[Trial] = []
        while batch is not None:
            found = bench.trials(batch, score, objective, race)
            trials += found
            try:
                batch = asking.send(found)
            except StopIteration:
                break
        # Last, as it can then be dropped: it has a rival to beat.
        (usual,) = bench.trials(Batch([usual_practice], best_of(trials)), score, objective, race)
        trials.insert(0, usual)
        best = best_of(trials)
        if best is None:
            if bench.refusal is not None:
                raise bench.refusal
            raise ModelError(
                f"{source}: none of {len(trials)} trials gives an integer model that can be run; "
                "give other candidates"
            )
        return Study(
            trials=tuple(trials),
            best=best,
            baseline=usual,
            model=bench.integer(best.model_hash),
            distinct_models=len({trial.model_hash for trial in trials} - {NO_MODEL}),
            resumed=resumed,
            confirmation=None if confirm is None else _confirmed(bench, confirm, best, usual),
        )


def _confirmed(
    bench: Bench, confirm: Score | DivisibleScore, best: Trial, baseline: Trial
) -> Confirmation:
    """Measure winner and baseline on the confirmation items."""
    models = dict.fromkeys([best.model_hash, baseline.model_hash])
    models.pop(NO_MODEL, None)
    bench.score(confirm, CONFIRMATION, models, len(models))
    winner = bench.scores(best, CONFIRMATION)
    usual = bench.scores(baseline, CONFIRMATION) or (nan,) * len(winner)
    return Confirmation(winner, usual, paired_bootstrap(winner, usual))


def study_identity(
    *,
    model: str,
    reader: Reader,
    scheme: Scheme,
    validation: Mapping[str, Any],
) -> dict[str, Any]:
    """Return what can be said of a study before any range is measured.

    ``check_journal`` refuses a journal that differs from it, before long work starts. Strategy and
    objective are no part of it: what was measured for one serves another.

    Args:
        model: SHA-256 of the float model.
        reader: how ranges are read.
        scheme: how models are quantized.
        validation: what scores are measured on.
    """
    return {
        "model": model,
        "reader": reader,
        "scheme": scheme.described(),
        "validation": dict(validation),
        "versions": versions(),
    }
