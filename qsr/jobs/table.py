"""A table of the paper beside ours: train what is missing, quantize, score, take times."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from qsr.benchmark import CHALLENGE_LR_SIZE, Latency, host_name, latency
from qsr.calibration.executor import local_processes
from qsr.data.bundled import write_bundled
from qsr.data.pairs import Pair
from qsr.errors import ModelError, UsageError
from qsr.jobs.images import check_sets
from qsr.jobs.progress import Progress, silent
from qsr.jobs.table_images import quantization_images
from qsr.jobs.table_quantized import Method, Searching, content_of, naive, searched
from qsr.jobs.table_report import Measured, ModelPsnr, RowScores, ScoredSet, TableReport, TableRow
from qsr.jobs.table_scores import Contender, ImageSet, decoded_sets, scores_of
from qsr.jobs.table_training import TABLE_RUNS, RowTraining, train_rows
from qsr.jobs.table_weights import float_row
from qsr.jobs.train import TrainingProgress
from qsr.jobs.workers import checked_workers
from qsr.metrics import challenge_score
from qsr.models.zoo import BICUBIC
from qsr.tables.paper import PaperRow, claims, paper_table
from qsr.tflite.runtime import ModelFacts, inspect_model

SCALE = 3
"""Of every network in the paper's tables."""

_OF_NETWORKS = 4  # Table 4 shows what naive quantization costs
_OF_SCORES = 2  # Table 2 has no times
_ABLATIONS = (1, 3)
"""Tables of what networks lose: refining would give back what tells them apart."""


@dataclass(frozen=True)
class _Asked:
    """What the user asked for, checked."""

    number: int
    data: tuple[Path, ...]
    runs: Path
    candidates: Path
    choosing: Path
    threads: int
    rounds: int
    workers: int
    with_naive: bool
    skip_bad_images: bool
    on_progress: Progress

    @property
    def refined(self) -> bool:
        """Whether integer models are refined after the search."""
        return self.number not in _ABLATIONS


@dataclass(frozen=True)
class _Row:
    """A row on its way: its models, as far as they are made."""

    paper: PaperRow
    ours: Measured
    fp32: bytes | None = None
    facts: ModelFacts | None = None
    uint8: bytes | None = None
    naive: bytes | None = None


def make_table(
    number: int,
    data: Sequence[Path] = (),
    *,
    training: RowTraining | None = None,
    with_claims: bool = False,
    with_naive: bool = False,
    runs: Path | None = None,
    candidates: Path | None = None,
    choosing: Path | None = None,
    threads: int = 1,
    rounds: int = 20,
    workers: int | None = None,
    skip_bad_images: bool = False,
    on_progress: Progress = silent,
    on_steps: Callable[[str, TrainingProgress], None] | None = None,
) -> TableReport:
    """Make a table of the paper with the networks that were trained here.

    A row's weights are those of the training ``runs/<recipe>``, else those that ship with qsr; of a
    training that broke down or is not finished there are none.
    Everything computed is kept in ``runs``: killed and started again, it goes on where it was; only
    times are taken anew.

    Args:
        number: of the table, 1 to 4.
        data: folders to score on, whole; may be empty with ``training``, to train only.
        training: how to train the rows that ``runs`` has no finished training of; None trains none.
        with_claims: add XCATs that lack one thing the paper recommends.
        with_naive: make the integer models of ``TFLiteConverter``, too, as Table 4 always does.
        runs: folder of trainings; ``runs/tables`` if None.
        candidates: folder of the images that may become representative; the bundled photographs if
            None.
        choosing: folder of the images that choose among them; both or neither.
        threads: of the interpreter, when times are taken.
        rounds: how often each model's time is taken.
        workers: number of processes; as many as there are cores if None.
        skip_bad_images: leave unusable images out instead of stopping.
        on_progress: called while working.
        on_steps: called with the recipe every 50 training steps.

    Returns:
        The table.

    Raises:
        ImageError: a folder or an image is unusable.
        ModelError: a row's weights are of another network.
        StudyError: a folder in ``runs`` belongs to something else, is of other steps than those of
            ``training``, is in use or cannot be written.
        UsageError: no such table, or the arguments do not fit together.
    """
    table = paper_table(number)
    runs = runs if runs is not None else TABLE_RUNS
    rows = (*table.rows, *(claims() if with_claims else ()))
    if training is not None and not training.data:
        _check_no_training(training)
        training = None
    if not data and training is None:
        raise UsageError(
            "give at least one folder of images to score on with --data, or to train on with "
            "--train"
        )
    if (candidates is None) != (choosing is None):
        raise UsageError("give both --candidates and --choosing, or neither")
    if min(threads, rounds) < 1:
        raise UsageError(f"--threads ({threads}) and --rounds ({rounds}) must be at least 1")
    checked_workers(workers)
    check_sets(data, split="valid", scale=SCALE)
    check_sets([one for one in (candidates, choosing) if one is not None], scale=SCALE)
    broken = (
        {}
        if training is None
        else train_rows(
            rows,
            training,
            runs=runs,
            skip_bad_images=skip_bad_images,
            on_progress=on_progress,
            on_steps=on_steps,
        )
    )
    if candidates is None or choosing is None:
        candidates, choosing = write_bundled(runs / "photographs")
    asked = _Asked(
        number,
        tuple(data),
        runs,
        candidates,
        choosing,
        threads,
        rounds,
        checked_workers(workers),
        with_naive or number == _OF_NETWORKS,
        skip_bad_images,
        on_progress,
    )
    found = []
    for done, row in enumerate(rows):
        on_progress("load networks", done, len(rows), row.name)
        one = float_row(row, runs, broken.get(row.recipe or ""))
        found.append(_Row(row, one.measured, one.model))
    on_progress("load networks", len(rows), len(rows))
    measured, sets = _measured(asked, found) if data else (found, ())
    return TableReport(
        number=number,
        title=table.title,
        rows=tuple(TableRow(paper=row.paper, ours=row.ours) for row in measured),
        sets=sets,
        candidates=str(candidates),
        choosing=str(choosing),
        refined=asked.refined,
        lr_size=CHALLENGE_LR_SIZE,
        threads=threads,
        host=host_name(),
        runs=str(runs),
    )


def _check_no_training(training: RowTraining) -> None:
    """Raise UsageError for options of a training that has no images."""
    if training != RowTraining(data=()):
        raise UsageError(
            "--added-data, --validation, --steps and --set are about training; give the images to "
            "train on with --train"
        )


def _measured(
    asked: _Asked, rows: Sequence[_Row]
) -> tuple[tuple[_Row, ...], tuple[ScoredSet, ...]]:
    """Quantize and score all rows that have weights, and take their times."""
    images = quantization_images(
        asked.candidates,
        asked.choosing,
        SCALE,
        skip_bad_images=asked.skip_bad_images,
        on_progress=asked.on_progress,
    )
    quantized = _quantized(asked, rows, images.candidates)
    times = _latencies(asked, quantized)
    with decoded_sets(
        asked.data, SCALE, skip_bad_images=asked.skip_bad_images, on_progress=asked.on_progress
    ) as sets:
        psnr = _scores(asked, quantized, sets)
        scored = tuple(
            ScoredSet(
                name=one.name,
                data=str(one.folder),
                images=len(one.pairs),
                seen=tuple(
                    name
                    for name, digest in zip(one.pairs.names, one.hashes, strict=True)
                    if digest in images.hashes
                ),
                skipped=one.skipped,
            )
            for one in sets
        )
    return tuple(
        replace(
            row,
            ours=replace(
                row.ours,
                latency=times.get(row.paper.name),
                scores={
                    one.name: _row_scores(row, psnr, one.name, times.get(row.paper.name))
                    for one in sets
                    if row.facts is not None or row.paper.network == BICUBIC
                },
            ),
        )
        for row in quantized
    ), scored


def _quantized(asked: _Asked, rows: Sequence[_Row], candidates: tuple[Pair, ...]) -> list[_Row]:
    """Make the integer models; one that cannot be made is missing, and the row says why."""
    how = Searching(
        asked.candidates,
        asked.choosing,
        content_of([asked.candidates, asked.choosing], SCALE),
        SCALE,
        asked.runs / "quantized",
        asked.workers,
        asked.skip_bad_images,
        asked.on_progress,
        Method(refined=asked.refined),
    )
    found = []
    for done, row in enumerate(rows):
        asked.on_progress("quantize rows", done, len(rows), row.paper.name)
        found.append(_with_models(row, how, candidates if asked.with_naive else ()))
    asked.on_progress("quantize rows", len(rows), len(rows))
    return found


def _with_models(row: _Row, how: Searching, candidates: tuple[Pair, ...]) -> _Row:
    """Make the integer models of one row, the naive one if there are candidates for it.

    What cannot be made is missing: a network that gives no picture yet is no reason to stop.
    """
    model, name = row.fp32, row.paper.recipe
    if model is None or name is None:
        return row
    try:
        row = replace(row, facts=inspect_model(model, source=name))
        integer = searched(model, name, how)
        ours = replace(row.ours, representative_images=integer.images)
        row = replace(row, uint8=integer.model, ours=ours)
        if candidates:
            row = replace(row, naive=naive(model, name, candidates, how))
    except ModelError as error:
        row = replace(row, ours=replace(row.ours, missing=str(error)))
    return row


def _latencies(asked: _Asked, rows: Sequence[_Row]) -> dict[str, Latency]:
    """Take the times of all integer models in turns, by the names of their rows."""
    if asked.number == _OF_SCORES:
        return {}
    return latency(
        {row.paper.name: row.uint8 for row in rows if row.uint8 is not None},
        threads=asked.threads,
        rounds=asked.rounds,
        on_round=partial(asked.on_progress, "take times"),
    )


def _scores(
    asked: _Asked, rows: Sequence[_Row], sets: Sequence[ImageSet]
) -> dict[tuple[str, str], ModelPsnr]:
    """Score every model on every set, by row and kind, and by set."""
    contenders = {}
    for row in rows:
        if row.paper.network == BICUBIC:
            contenders[_key(row, "fp32")] = Contender()
        if row.fp32 is None or row.facts is None:
            continue
        integer = replace(row.facts, input_dtype="uint8", output_dtype="uint8", quantized=True)
        contenders[_key(row, "fp32")] = Contender(row.fp32, row.facts)
        for kind, model in (("uint8", row.uint8), ("naive", row.naive)):
            if model is not None:
                contenders[_key(row, kind)] = Contender(model, integer)
    with local_processes(asked.workers) as executor:
        return scores_of(
            contenders,
            sets,
            store=asked.runs / "scores",
            executor=executor,
            on_progress=partial(asked.on_progress, "score models"),
        )


def _key(row: _Row, kind: str) -> str:
    return f"{row.paper.name}, {kind}"


def _row_scores(
    row: _Row, psnr: dict[tuple[str, str], ModelPsnr], images: str, taken: Latency | None
) -> RowScores:
    uint8 = psnr.get((_key(row, "uint8"), images))
    return RowScores(
        fp32=psnr[_key(row, "fp32"), images],
        uint8=uint8,
        naive_uint8=psnr.get((_key(row, "naive"), images)),
        challenge_score=None
        if uint8 is None or taken is None
        else challenge_score(uint8.rgb_db, taken.median_ms),
    )
