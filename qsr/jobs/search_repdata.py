"""The main job: find the representative images that make the best integer model."""

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from math import isnan, nan
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from qsr.calibration import Linear, Study, Trial, collect, search
from qsr.calibration.executor import local_processes
from qsr.calibration.provenance import model_hash
from qsr.calibration.quantize import check_quantizable
from qsr.calibration.ranges import Reader
from qsr.calibration.scheme import Scheme, scheme_named
from qsr.calibration.search import study_identity
from qsr.calibration.study import check_journal
from qsr.data.bundled import write_bundled
from qsr.data.decoded import decode
from qsr.data.pairs import Pair, content_hash, find_pairs, lr_images
from qsr.errors import ModelError, UsageError
from qsr.evaluation import PsnrScore
from qsr.jobs.images import LEAST_LR_TO_SCORE, check_there, usable
from qsr.jobs.models import load_float, short_name
from qsr.jobs.progress import Progress, silent
from qsr.jobs.run_folder import RUNS, RunFolder
from qsr.metrics import RGB_SHAVE
from qsr.tflite.files import write_model
from qsr.tflite.runtime import inspect_model


@dataclass(frozen=True)
class ModelScore:
    """An integer model of the search.

    Attributes:
        images: the representative data set.
        psnr_db: mean RGB PSNR over the validation images, in dB; NaN if TFLite cannot run the
            model, as happens to one whose ranges are of a black image.
        drop_db: how far it lies below the float model rounded to 8 bits, in dB.
    """

    images: tuple[str, ...]
    psnr_db: float
    drop_db: float


@dataclass(frozen=True)
class RepdataReport:
    """What a search for representative images found.

    Attributes:
        model: what the user called the model.
        scheme: how it was quantized.
        reader: how the ranges were read.
        candidates: number of candidate images.
        validation_images: number of validation images.
        validation: the folder that they lie in, as an absolute path.
        fp32_psnr_db: mean RGB PSNR of the float model, its output rounded to 8 bits, in dB.
        chosen: the best of all.
        all_images: all candidates together as one representative data set, the usual practice.
        best: the best single image.
        median: the median single image.
        worst: the worst single image.
        shared_images: names of validation images that are candidates too, found by their content:
            on these, a model chosen with them looks better than it is.
        skipped: one line on each image that was left out as unusable.
        run_folder: where models, ranges, journal and summary lie.
        integer_model: path of the chosen model.
        resumed_trials: trials that an earlier run had finished.
        workers: number of processes.
        seconds: time that this run took.
    """

    model: str
    scheme: Scheme
    reader: Reader
    candidates: int
    validation_images: int
    validation: str
    fp32_psnr_db: float
    chosen: ModelScore
    all_images: ModelScore
    best: ModelScore
    median: ModelScore
    worst: ModelScore
    shared_images: tuple[str, ...]
    skipped: tuple[str, ...]
    run_folder: str
    integer_model: str
    resumed_trials: int
    workers: int
    seconds: float


def search_repdata(
    model: str = "xcat",
    *,
    candidates: Path | None = None,
    validation: Path | None = None,
    out: Path | None = None,
    scheme: str = "uint8",
    pin_io: bool = True,
    reader: Reader = "exact",
    workers: int | None = None,
    skip_bad_images: bool = False,
    on_progress: Progress = silent,
) -> RepdataReport:
    """Try every candidate image alone as the representative data set, and all of them together.

    The float model's ranges are measured once per candidate; each trial is a real integer model,
    scored on every validation image. Killed at any moment and started again with the same
    arguments, it goes on where it was.

    Args:
        model: a name from the zoo, or a ``.tflite``, ``.keras``, ``.h5`` or SavedModel path.
        candidates: folder of photographs or of LR/HR images; None takes the bundled photographs.
        validation: the same; both or neither.
        out: run folder; by default one below ``runs/`` whose name follows from the arguments.
        scheme: name of a quantization scheme.
        pin_io: give input and output their true grid, whatever the images hold.
        reader: ``exact``, or ``converter`` for the ranges that ``TFLiteConverter`` would record.
        workers: number of processes; as many as there are cores if None.
        skip_bad_images: leave unusable images out instead of stopping.
        on_progress: called while working.

    Returns:
        The report; it is also written to the run folder.

    Raises:
        ImageError: a folder or an image is unusable.
        ModelError: the model is unusable.
        StudyError: the run folder is another study's, damaged, in use, or cannot be written.
        UsageError: the arguments do not fit together.
    """
    started = perf_counter()
    chosen_scheme = scheme_named(scheme, pin_io=pin_io)
    workers = _checked_workers(workers)
    if (candidates is None) != (validation is None):
        raise UsageError("give both --candidates and --validation, or neither")
    check_there([candidates, validation])
    folder = RunFolder(out or _default_out(model, candidates, validation, chosen_scheme, reader))
    with folder.claimed():
        report = _search_in(
            folder,
            model,
            images=None if candidates is None or validation is None else (candidates, validation),
            scheme=chosen_scheme,
            reader=reader,
            workers=workers,
            skip_bad_images=skip_bad_images,
            on_progress=on_progress,
        )
        report = replace(report, seconds=perf_counter() - started)
        folder.write_summary(report)
    return report


def _search_in(
    folder: RunFolder,
    model: str,
    *,
    images: tuple[Path, Path] | None,
    scheme: Scheme,
    reader: Reader,
    workers: int,
    skip_bad_images: bool,
    on_progress: Progress,
) -> RepdataReport:
    """Do the search in a folder that is ours; the report lacks only the time it took."""
    on_progress("load the model", 0, 1)
    content = load_float(model)
    facts = inspect_model(content, source=model)
    on_progress("load the model", 1, 1)
    known = {"model": model_hash(content), "reader": reader, "scheme": asdict(scheme)}
    check_journal(folder.journal, known)
    candidates, validation = images or write_bundled(folder.photographs)

    def checked(path: Path, stage: str) -> tuple[tuple[Pair, ...], tuple[str, ...]]:
        return usable(
            find_pairs(path, facts.scale),
            least_lr=max(facts.smallest_side, LEAST_LR_TO_SCORE),
            skip_bad=skip_bad_images,
            stage=stage,
            on_progress=on_progress,
        )

    candidate_pairs, bad_candidates = checked(candidates, "check candidates")
    validation_pairs, bad_validation = checked(validation, "check validation images")
    measured: dict[str, Any] = {
        "metric": f"psnr_rgb_db, {RGB_SHAVE} px shaved",
        "images": {pair.name: _pair_hash(pair) for pair in validation_pairs},
    }
    names = [pair.name for pair in candidate_pairs]
    identity = study_identity(
        model=model_hash(content),
        candidates=names,
        reader=reader,
        strategy=Linear(),
        scheme=scheme,
        validation=measured,
    )
    check_journal(folder.journal, identity)

    check_quantizable(content, scheme, source=model)

    write_model(folder.float_model, content)
    decoded = decode(
        validation_pairs,
        folder.decoded,
        on_progress=lambda done, total: on_progress("decode validation images", done, total),
    )
    with local_processes(workers) as executor:
        table = collect(
            folder.float_model,
            lr_images(candidate_pairs),
            reader=reader,
            source=model,
            executor=executor,
            store=folder.ranges,
            on_image=lambda done: on_progress("measure ranges", done, len(names)),
        )
        fp32 = float(np.mean(PsnrScore(decoded, facts)(content)))
        io_facts = replace(facts, input_dtype=scheme.io, output_dtype=scheme.io, quantized=True)
        study = search(
            folder.float_model,
            table,
            _Score(PsnrScore(decoded, io_facts)),
            also=[table.images],
            scheme=scheme,
            journal=folder.journal,
            validation=measured,
            executor=executor,
            on_trial=lambda done, total, _: on_progress("try representative data", done, total),
        )
    if isnan(study.best.score):
        raise ModelError(
            f"{model}: no candidate gives an integer model that TFLite can run; give other images "
            "with --candidates: on these, the network stays 0 somewhere"
        )
    integer_path = folder.integer_model(scheme.io)
    write_model(integer_path, study.model)
    shutil.rmtree(folder.decoded, ignore_errors=True)
    every, best, median, worst = _ranked(study, table.images, fp32)
    return RepdataReport(
        model=model,
        scheme=scheme,
        reader=reader,
        candidates=len(table.images),
        validation_images=len(decoded),
        validation=str(validation.resolve()),
        fp32_psnr_db=fp32,
        chosen=_score(study.best, fp32),
        all_images=every,
        best=best,
        median=median,
        worst=worst,
        shared_images=_shared(candidate_pairs, measured["images"]),
        skipped=bad_candidates + bad_validation,
        run_folder=str(folder.path),
        integer_model=str(integer_path),
        resumed_trials=study.resumed,
        workers=workers,
        seconds=0.0,
    )


@dataclass(frozen=True)
class _Score:
    """Scores an integer model on each image, and one that TFLite cannot run by NaN, the last."""

    psnr: PsnrScore

    def __call__(self, model: bytes) -> list[float]:
        try:
            return self.psnr(model)
        except ModelError:
            return [nan] * len(self.psnr.pairs)


def _ranked(
    study: Study, images: tuple[str, ...], fp32: float
) -> tuple[ModelScore, ModelScore, ModelScore, ModelScore]:
    """Return all images together, and the best, median and worst single image."""
    every = next(trial for trial in study.trials if trial.images == images)
    singles = [trial for trial in study.trials if len(trial.images) == 1]
    ranked = sorted(singles, key=lambda trial: (not isnan(trial.score), trial.score), reverse=True)
    shown = (every, ranked[0], ranked[len(ranked) // 2], ranked[-1])
    best_to_worst = tuple(_score(trial, fp32) for trial in shown)
    return best_to_worst[0], best_to_worst[1], best_to_worst[2], best_to_worst[3]


def _score(trial: Trial, fp32: float) -> ModelScore:
    return ModelScore(trial.images, trial.score, fp32 - trial.score)


def _shared(candidates: Sequence[Pair], validation: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names of the validation images whose files are a candidate's as well."""
    hashes = {_pair_hash(pair) for pair in candidates}
    return tuple(name for name, digest in validation.items() if digest in hashes)


def _pair_hash(pair: Pair) -> str:
    """Identify a pair by the content of its files."""
    digests = [content_hash(path) for path in (pair.hr_path, pair.lr_path) if path is not None]
    return sha256("".join(digests).encode()).hexdigest()


def _checked_workers(workers: int | None) -> int:
    if workers is None:
        if hasattr(os, "sched_getaffinity"):
            return len(os.sched_getaffinity(0))  # a container may have fewer than there are
        return os.cpu_count() or 1
    if workers < 1:
        raise UsageError(f"--workers must be at least 1, not {workers}")
    return workers


def _default_out(
    model: str, candidates: Path | None, validation: Path | None, scheme: Scheme, reader: Reader
) -> Path:
    """Name the run folder after its arguments, so that the same command finds its own work."""
    described = [model if "/" not in model else str(Path(model).resolve()), repr(scheme), reader]
    described += [str(path.resolve()) if path else "bundled" for path in (candidates, validation)]
    digest = sha256("\n".join(described).encode()).hexdigest()[:8]
    return RUNS / f"{short_name(model)}-{scheme.io}-{digest}"
