"""A float model against its integer model, layer by layer."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from qsr import calibration
from qsr.analysis.compare import Comparison, compare
from qsr.calibration.scheme import scheme_named
from qsr.data.bundled import write_bundled
from qsr.data.pairs import Pair, find_pairs, lr_images
from qsr.errors import StudyError, UsageError
from qsr.jobs.images import LEAST_LR_TO_SCORE, check_there, usable
from qsr.jobs.models import load_any, load_float
from qsr.jobs.progress import Progress, silent
from qsr.jobs.run_folder import RunFolder, newest_run
from qsr.metrics import counted_db
from qsr.tflite.files import read_model
from qsr.tflite.runtime import inspect_model

Image = NDArray[np.uint8]

BUILT_IN = "xcat"
WORDS = ("fp32", "int8", "uint8")
"""What stands for the models of a run folder; the last two are its integer model."""


@dataclass(frozen=True)
class CompareReport:
    """What was compared, and what was found.

    Attributes:
        float_model: path of the float model, or where it comes from.
        integer_model: path of the integer model, or where it comes from.
        images: the folder of the images.
        comparison: layers and pictures.
        skipped: one line on each image that was left out as unusable.
    """

    float_model: str
    integer_model: str
    images: str
    comparison: Comparison
    skipped: tuple[str, ...]

    @property
    def float_psnr_db(self) -> float:
        """Mean RGB PSNR of the float model, its output rounded to 8 bits, in dB."""
        return _mean_db([image.float_psnr_db for image in self.comparison.images])

    @property
    def integer_psnr_db(self) -> float:
        """Mean RGB PSNR of the integer model, in dB."""
        return _mean_db([image.integer_psnr_db for image in self.comparison.images])

    @property
    def drop_db(self) -> float:
        """How far the integer model lies below the float model, in dB."""
        return self.float_psnr_db - self.integer_psnr_db


@dataclass(frozen=True)
class _Model:
    """A model and what a person should call it."""

    content: bytes
    source: str


def compare_models(
    float_model: str = "fp32",
    integer_model: str = "int8",
    *,
    run: Path | None = None,
    images: Path | None = None,
    limit: int = 20,
    skip_bad_images: bool = False,
    on_progress: Progress = silent,
) -> CompareReport:
    """Compare a float model with its integer model on photographs.

    Args:
        float_model: a ``.tflite`` path, a zoo name, or ``fp32`` for the float model of the run.
        integer_model: a ``.tflite`` path, or ``int8`` or ``uint8`` for the integer model of the
            run. Inside, a model with ``uint8`` input and output is an ``int8`` model too, so
            either word finds the one that there is.
        run: run folder of a search. If None, the newest below ``runs/``; if there is none, the
            built-in XCAT, quantized on the spot with the bundled photographs.
        images: photographs or LR/HR images; if None, the validation images of the run, or the
            bundled photographs.
        limit: at most so many images, evenly spread over the folder.
        skip_bad_images: leave unusable images out instead of stopping.
        on_progress: called while working.

    Returns:
        What was compared, and the result.

    Raises:
        ImageError: a folder or an image is unusable.
        ModelError: the models are unusable, or not a float model and its integer model.
        StudyError: ``run`` is no finished run, or its validation images are gone.
        UsageError: ``limit`` is less than 1, or the words are in the wrong order.
    """
    if limit < 1:
        raise UsageError(f"--limit must be at least 1, not {limit}")
    if float_model in WORDS[1:] or integer_model == WORDS[0]:
        raise UsageError("give the float model first: qsr compare fp32 int8")
    check_there([images])
    words = {float_model, integer_model} & set(WORDS)
    folder = _run_folder(run) if words or run is not None else None
    with TemporaryDirectory(prefix="qsr-") as scratch:
        if words and folder is None:
            models = _built_in(Path(scratch), on_progress)
        else:
            models = _of_run(folder)
        photographs = images or _validation_of(folder) or write_bundled(Path(scratch))[1]
        reference, tested = models(float_model), models(integer_model)
        facts = inspect_model(reference.content, source=reference.source)
        pairs, skipped = usable(
            _spread(find_pairs(photographs, facts.scale), limit),
            least_lr=max(facts.smallest_side, LEAST_LR_TO_SCORE),
            skip_bad=skip_bad_images,
            stage="check images",
            on_progress=on_progress,
        )

        def compared(done: int) -> None:
            on_progress("compare", done, len(pairs))

        result = compare(
            reference.content,
            tested.content,
            _loaded(pairs),
            float_source=reference.source,
            integer_source=tested.source,
            on_image=compared,
        )
    shown = str(photographs) if Path(scratch) not in photographs.parents else "bundled photographs"
    return CompareReport(reference.source, tested.source, shown, result, skipped)


def _run_folder(run: Path | None) -> RunFolder | None:
    """Return the run that is asked for, checked, or the newest, or None."""
    if run is None:
        return newest_run()
    folder = RunFolder(run)
    folder.read_summary()
    return folder


def _of_run(folder: RunFolder | None) -> Callable[[str], _Model]:
    """Return what finds a model by its path or, if it is a word, in a run folder."""

    def find(model: str) -> _Model:
        if folder is None or model not in WORDS:
            return _Model(load_any(model), model)
        # The summary may have been written below another current folder: its file name counts.
        integer = folder.path / Path(folder.read_summary()["integer_model"]).name
        content, source = read_model(folder.float_model if model == "fp32" else integer)
        return _Model(content, source)

    return find


def _built_in(scratch: Path, on_progress: Progress) -> Callable[[str], _Model]:
    """Return what finds a model by its path or, if it is a word, makes it of the built-in one."""
    candidates, _ = write_bundled(scratch)
    content = load_float(BUILT_IN)

    def find(model: str) -> _Model:
        if model not in WORDS:
            return _Model(load_any(model), model)
        if model == "fp32":
            return _Model(content, f"built-in {BUILT_IN}")
        pairs = find_pairs(candidates, inspect_model(content, source=BUILT_IN).scale)

        def measured(done: int) -> None:
            on_progress("measure ranges", done, len(pairs))

        table = calibration.collect(content, lr_images(pairs), on_image=measured)
        integer = calibration.quantize(content, table.merged(), scheme_named(model))
        return _Model(integer, f"built-in {BUILT_IN} in {model}, from {len(pairs)} bundled images")

    return find


def _validation_of(folder: RunFolder | None) -> Path | None:
    """Return the validation folder of a run.

    Raises:
        StudyError: it is gone.
    """
    if folder is None:
        return None
    path = Path(folder.read_summary()["validation"])
    own = folder.photographs / path.name  # the bundled ones move along with the run folder
    if found := next((place for place in (path, own) if place.is_dir()), None):
        return found
    raise StudyError(f"{path}: the validation images of {folder.path} are gone; give --images")


def _spread(pairs: Sequence[Pair], limit: int) -> Sequence[Pair]:
    """Return at most ``limit`` pairs, evenly spread."""
    if len(pairs) <= limit:
        return pairs
    return [pairs[index * len(pairs) // limit] for index in range(limit)]


def _mean_db(values: Sequence[float | None]) -> float:
    return float(np.mean([counted_db(value) for value in values if value is not None]))


def _loaded(pairs: Sequence[Pair]) -> Iterator[tuple[str, Image, Image]]:
    for pair in pairs:
        lr, hr = pair.load()
        yield pair.name, lr, hr
