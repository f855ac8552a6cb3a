"""A model against its reference, layer by layer, with what each costs and what to do."""

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from qsr import __version__
from qsr.analysis.compare import Instruments, Measured
from qsr.analysis.diagnosis import diagnose
from qsr.analysis.panels import Panels, panels
from qsr.analysis.records import Comparison, Diagnosis
from qsr.calibration.executor import completed, local_processes
from qsr.data.pairs import Pair, find_pairs
from qsr.errors import UsageError
from qsr.jobs.compared_models import WORDS, NamedModel, found_models
from qsr.jobs.images import LEAST_LR_TO_SCORE, check_there, usable
from qsr.jobs.new_files import Product, check_new, check_new_folder, make_folder, write_text
from qsr.jobs.progress import Progress, silent
from qsr.jobs.workers import checked_workers
from qsr.metrics import counted_db
from qsr.reports import Origin, Subject, comparison_page, layers_csv
from qsr.reports import overlays as make_overlays

SHOWN_PICTURES = 6
"""So many pictures, those that lose most, are drawn on a page."""

_PAGE = Product("the page", ".html", "--report")
_CSV = Product("the table of layers", ".csv", "--csv")
_OVERLAYS = "--overlay"


@dataclass(frozen=True)
class CompareReport:
    """What was compared, and what was found.

    Attributes:
        reference: path of the reference, or where it comes from.
        tested: path of the tested model, or where it comes from.
        images: the folder of the images.
        diagnosis: what costs most, why, and what to do.
        comparison: layers, causes and pictures.
        skipped: one line on each image that was left out as unusable.
        unwritten: one line on each file that could not be written in the end, a full disk say.
    """

    reference: str
    tested: str
    images: str
    diagnosis: Diagnosis
    comparison: Comparison
    skipped: tuple[str, ...]
    unwritten: tuple[str, ...]

    @property
    def reference_psnr_db(self) -> float:
        """Mean RGB PSNR of the reference, its output rounded to 8 bits, in dB."""
        return _mean_db([image.reference_psnr_db for image in self.comparison.pictures])

    @property
    def tested_psnr_db(self) -> float:
        """Mean RGB PSNR of the tested model, in dB."""
        return _mean_db([image.tested_psnr_db for image in self.comparison.pictures])

    @property
    def drop_db(self) -> float:
        """How far the tested model lies below the reference, in dB."""
        return self.reference_psnr_db - self.tested_psnr_db


@dataclass(frozen=True)
class _Asked:
    """Two models, as a worker process gets them."""

    reference: NamedModel
    tested: NamedModel


def compare_models(
    reference: str = "fp32",
    tested: str = "int8",
    *,
    run: Path | None = None,
    images: Path | None = None,
    limit: int = 20,
    workers: int | None = None,
    skip_bad_images: bool = False,
    page: Path | None = None,
    csv: Path | None = None,
    overlays: Path | None = None,
    command: str = "qsr compare",
    on_progress: Progress = silent,
) -> CompareReport:
    """Compare an integer model with its float model, or with another integer one, on photographs.

    Args:
        reference: a ``.tflite`` path, a zoo name, or ``fp32`` for the float model of the run;
            ``int8`` or ``uint8`` too, if ``tested`` is a path.
        tested: a ``.tflite`` path, or ``int8`` or ``uint8`` for the integer model of the run.
            Inside, a model with ``uint8`` input and output is an ``int8`` model too, so either word
            finds the one that there is.
        run: run folder of a search. If None, the newest below ``runs/``; if there is none, the
            built-in XCAT, quantized on the spot with the bundled photographs.
        images: photographs or LR/HR images; if None, the validation images of the run, or the
            bundled photographs.
        limit: at most so many images, evenly spread over the folder.
        workers: number of processes; as many as there are cores if None. The result is the same.
        skip_bad_images: leave unusable images out instead of stopping.
        page: where to write a page of HTML with all of it, or None.
        csv: where to write the layers as a table, or None.
        overlays: folder to write the layers' errors into, one measurement a file, as Google's
            Model Explorer reads them; made if missing. Or None.
        command: what the page says made it.
        on_progress: called while working.

    Returns:
        What was compared, and the result.

    Raises:
        ImageError: a folder or an image is unusable.
        ModelError: the models are unusable, the tested one is float, or they are not of one
            network.
        StudyError: ``run`` is no finished run, or its validation images are gone.
        UsageError: ``limit`` or ``workers`` is less than 1, the words are in the wrong order, or it
            is seen beforehand that a file cannot be written.
    """
    workers = checked_workers(workers)
    if limit < 1:
        raise UsageError(f"--limit must be at least 1, not {limit}")
    if tested == WORDS[0] or {reference, tested} <= set(WORDS[1:]):
        raise UsageError("give the float model first: qsr compare fp32 int8")
    check_there([images])
    _check_files(page, csv, overlays)
    with TemporaryDirectory(prefix="qsr-") as scratch:
        models, photographs = found_models(
            [reference, tested], run, images, Path(scratch), on_progress
        )
        asked = _Asked(*models)
        instruments = _instruments(asked)
        pairs, skipped = usable(
            _spread(find_pairs(photographs, instruments.scale), limit),
            least_lr=max(instruments.smallest_side, LEAST_LR_TO_SCORE),
            skip_bad=skip_bad_images,
            stage="check images",
            on_progress=on_progress,
        )
        comparison = instruments.comparison(_all_measured(asked, pairs, workers, on_progress))
        sources = asked.reference.source, asked.tested.source
        bundled = Path(scratch) in photographs.parents
        report = CompareReport(
            *sources,
            "bundled photographs" if bundled else str(photographs),
            diagnose(comparison, reference=asked.reference.name, refined=asked.tested.refined),
            comparison,
            skipped,
            (),
        )
        unwritten: list[str] = []
        if page is not None:
            shown = _worst_panels(instruments, comparison, pairs)
            with _noted(unwritten):
                write_text(page, _page(report, shown, command))
    if csv is not None:
        with _noted(unwritten):
            write_text(csv, layers_csv(comparison))
    if overlays is not None:
        with _noted(unwritten):
            _write_overlays(overlays, comparison)
    return replace(report, unwritten=tuple(unwritten))


@contextmanager
def _noted(unwritten: list[str]) -> Iterator[None]:
    """Take note of a file that cannot be written: what was measured is not lost for it."""
    try:
        yield
    except UsageError as error:
        unwritten.append(str(error))


@lru_cache(maxsize=1)
def _instruments(asked: _Asked) -> Instruments:
    """Return what measures two models; made once per process."""
    return Instruments(
        asked.reference.content,
        asked.tested.content,
        reference_source=asked.reference.source,
        tested_source=asked.tested.source,
    )


def _measured(asked: _Asked, pair: Pair) -> Measured:
    """Measure one picture; run in a worker."""
    lr, hr = pair.load()
    return _instruments(asked).measure(pair.name, lr, hr)


def _all_measured(
    asked: _Asked, pairs: Sequence[Pair], workers: int, on_progress: Progress
) -> Iterator[Measured]:
    """Measure every picture, in processes; yields them in order, and holds those that overtook."""
    waiting: dict[int, Measured] = {}
    due = 0
    with local_processes(min(workers, len(pairs))) as executor:
        measured = completed(_measured, asked, enumerate(pairs), executor)
        for done, (place, one) in enumerate(measured, start=1):
            on_progress("compare", done, len(pairs))
            waiting[place] = one
            while due in waiting:
                yield waiting.pop(due)
                due += 1


def _worst_panels(
    instruments: Instruments, comparison: Comparison, pairs: Sequence[Pair]
) -> dict[str, Panels]:
    """Return panels of the pictures that lose most, the worst first."""
    ranked = sorted(
        zip(comparison.pictures, pairs, strict=True), key=lambda one: -(one[0].drop_db or 0.0)
    )
    shown = {}
    for picture, pair in ranked[:SHOWN_PICTURES]:
        lr, hr = pair.load()
        shown[picture.name] = panels(lr, *instruments.pictures(lr), picture.worst_crop, hr=hr)
    return shown


def _page(report: CompareReport, shown: dict[str, Panels], command: str) -> str:
    """Return the page of a report."""
    subject = Subject(
        report.reference,
        report.tested,
        report.images,
        report.reference_psnr_db,
        report.tested_psnr_db,
        report.skipped,
    )
    origin = Origin(command, __version__, datetime.now(UTC).date().isoformat())
    return comparison_page(report.comparison, report.diagnosis, subject, origin, panels=shown)


def _check_files(page: Path | None, csv: Path | None, overlays: Path | None) -> None:
    """Check that what is to be written can be, before anything slow is done."""
    if page is not None:
        check_new(page, _PAGE)
    if csv is not None:
        check_new(csv, _CSV)
    if overlays is not None:
        check_new_folder(overlays, _OVERLAYS)


def _write_overlays(folder: Path, comparison: Comparison) -> None:
    """Write each measurement into a file of its own."""
    make_folder(folder, _OVERLAYS)
    for name, data in make_overlays(comparison).items():
        file = re.sub(r"[^a-z]+", "_", name.lower()).strip("_")
        write_text(folder / f"{file}.json", json.dumps(data, indent=1, allow_nan=False) + "\n")


def _spread(pairs: Sequence[Pair], limit: int) -> Sequence[Pair]:
    """Return at most ``limit`` pairs, evenly spread."""
    if len(pairs) <= limit:
        return pairs
    return [pairs[index * len(pairs) // limit] for index in range(limit)]


def _mean_db(values: Sequence[float | None]) -> float:
    return float(np.mean([counted_db(value) for value in values if value is not None]))
