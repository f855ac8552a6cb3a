"""A finished integer model without the clips that are proved to copy bytes."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np

from qsr.calibration.bootstrap import Interval, paired_bootstrap
from qsr.data.bundled import write_bundled
from qsr.data.pairs import Pair, find_all_pairs
from qsr.errors import ModelError, UsageError
from qsr.jobs.images import LEAST_LR_TO_SCORE, check_there, usable
from qsr.jobs.models import KERAS_SUFFIXES
from qsr.jobs.new_files import Product, check_new
from qsr.jobs.progress import Progress, silent
from qsr.metrics import RGB_SHAVE, counted_db, psnr_db
from qsr.models.zoo import ZOO
from qsr.tflite.files import read_model, write_model
from qsr.tflite.fold import fold
from qsr.tflite.fold_pin import CuttingClip, cutting_clips, pin_clips
from qsr.tflite.graph import Graph
from qsr.tflite.runtime import Runner, inspect_model

Kernels = Literal["XNNPACK", "built-in"]

_FOLDED_MODEL = Product("the folded model", ".tflite", "-o")
_KEEPS_TENSORS: dict[Kernels, bool] = {"XNNPACK": False, "built-in": True}
"""Kernels to whether a runner has to keep its tensors for them to be taken."""


@dataclass(frozen=True)
class ByteCheck:
    """Pictures of a model with and without the operators that copy, byte for byte.

    Attributes:
        kernels: what both were run with.
        images: number of images.
        values: number of bytes that were compared.
        changed: number of those that differ.
    """

    kernels: Kernels
    images: int
    values: int
    changed: int


@dataclass(frozen=True)
class PinChange:
    """What other grids changed in the pictures, run with XNNPACK's kernels.

    Attributes:
        images: number of images.
        values: number of bytes that were compared.
        changed: number of those that differ.
        largest: the largest difference, in steps of 0..255.
        before_psnr_db: mean RGB PSNR of the model that was given.
        after_psnr_db: the same with the new grids.
        gain_db: mean difference of the two.
    """

    images: int
    values: int
    changed: int
    largest: int
    before_psnr_db: float
    after_psnr_db: float
    gain_db: Interval


@dataclass(frozen=True)
class FoldReport:
    """What was removed from a model, and what it changed.

    Attributes:
        model: path of the model that was given.
        integer_model: path of the model that was written.
        removed: kinds of the operators that were removed.
        checks: the comparisons that confirm it, one with each set of kernels; none if nothing was
            removed.
        cutting: clips that stay, as they cut values off.
        pinned: clips that got another grid.
        pin_change: what that changed; None if no grid was changed.
        model_bytes: size of the model that was given.
        integer_bytes: size of the model that was written.
        skipped: one line on each image that was left out as unusable.
    """

    model: str
    integer_model: str
    removed: tuple[str, ...]
    checks: tuple[ByteCheck, ...]
    cutting: tuple[CuttingClip, ...]
    pinned: tuple[CuttingClip, ...]
    pin_change: PinChange | None
    model_bytes: int
    integer_bytes: int
    skipped: tuple[str, ...]


def fold_clip(
    model: Path,
    out: Path | None = None,
    *,
    images: Sequence[Path] = (),
    pin: bool = False,
    skip_bad_images: bool = False,
    on_progress: Progress = silent,
) -> FoldReport:
    """Remove the clips of an integer model that are proved to copy bytes, and write the rest.

    The proof is read off data types, scales, zero points and the operators' semantics; then the
    model with and without them is run on images, with XNNPACK's kernels and with TFLite's own, and
    every byte has to be the same. The model may be from anywhere.

    Args:
        model: path of an integer ``.tflite`` model.
        out: path of the model to write; ``<model>_folded.tflite`` in the current folder if None.
        images: photographs, of which LR is made by bicubic downscaling, and folders of photographs
            or of LR/HR images; the bundled photographs if there are none.
        pin: first give clips that cut values off, and what feeds them, a grid that ends where they
            cut (:func:`qsr.tflite.fold_pin.pin_clips`), so that they copy. Changes bytes.
        skip_bad_images: leave unusable images out instead of stopping.
        on_progress: called while working.

    Returns:
        What was removed, and what it changed. The model is written if nothing was removed, too.

    Raises:
        ImageError: an image is unusable.
        ModelError: the model is unusable or a float model, or bytes differ after all; then nothing
            is written.
        UsageError: ``out`` is no name for a new file.
    """
    out = out or Path(f"{model.stem}_folded.tflite")
    _check_model(model)
    _check_out(out, model)
    check_there(images)
    content, source = read_model(model)
    facts = inspect_model(content, source=source)
    if not facts.quantized:
        raise _float_model(model, "a float model")
    before = cutting_clips(Graph(content, source=source))
    pinned = pin_clips(content, source=source) if pin else content
    folded = fold(pinned, source=source)
    checks: tuple[ByteCheck, ...] = ()
    change: PinChange | None = None
    skipped: tuple[str, ...] = ()
    if folded.removed or pinned != content:
        with _pairs(images, facts.scale) as found:
            pairs, skipped = usable(
                found,
                least_lr=max(facts.smallest_side, LEAST_LR_TO_SCORE),
                skip_bad=skip_bad_images,
                stage="check images",
                on_progress=on_progress,
            )
            if folded.removed:
                checks = tuple(
                    _checked(kernels, pinned, folded.model, pairs, source, on_progress)
                    for kernels in _KEEPS_TENSORS
                )
                _refuse_changed(checks, folded.removed, source)
            if pinned != content:
                change = _pin_change(content, pinned, pairs, source, on_progress)
    write_model(out, folded.model)
    return FoldReport(
        model=source,
        integer_model=str(out),
        removed=folded.removed,
        checks=checks,
        cutting=cutting_clips(Graph(pinned)),
        pinned=tuple(clip for clip in before if clip.changes) if pin else (),
        pin_change=change,
        model_bytes=len(content),
        integer_bytes=len(folded.model),
        skipped=skipped,
    )


@contextmanager
def _pairs(images: Sequence[Path], scale: int) -> Iterator[tuple[Pair, ...]]:
    """List the pairs to run on; the bundled photographs lie in a folder for as long."""
    if images:
        # Folder by folder: two test sets may have files of the same names.
        yield tuple(pair for path in images for pair in find_all_pairs([path], scale))
        return
    with TemporaryDirectory(prefix="qsr-photographs-") as folder:
        yield find_all_pairs(write_bundled(Path(folder)), scale)


def _checked(  # noqa: PLR0917 (two models, and how to run them)
    kernels: Kernels,
    whole: bytes,
    folded: bytes,
    pairs: Sequence[Pair],
    source: str,
    on_progress: Progress,
) -> ByteCheck:
    """Compare the pictures of two models byte for byte."""
    first, second = (
        Runner(model, keep_tensors=_KEEPS_TENSORS[kernels], source=source)
        for model in (whole, folded)
    )
    values = changed = 0
    for done, pair in enumerate(pairs, start=1):
        lr = pair.load_lr()
        expected, found = first.upscale(lr), second.upscale(lr)
        values += expected.size
        changed += int((expected != found).sum())
        on_progress("compare bytes", done, len(pairs), f"{kernels} kernels")
    return ByteCheck(kernels, len(pairs), values, changed)


def _refuse_changed(checks: Sequence[ByteCheck], removed: Sequence[str], source: str) -> None:
    """Raise ModelError if a byte differs."""
    for check in checks:
        if check.changed:
            raise ModelError(
                f"{source}: {', '.join(removed)} are proved to copy, but without them "
                f"{check.changed} of {check.values} bytes differ with {check.kernels} kernels; "
                "nothing was written; please report it with the model"
            )


def _pin_change(
    content: bytes, pinned: bytes, pairs: Sequence[Pair], source: str, on_progress: Progress
) -> PinChange:
    """Measure what other grids change."""
    before, after = (Runner(model, source=source) for model in (content, pinned))
    values = changed = largest = 0
    scores: list[tuple[float, float]] = []
    for done, pair in enumerate(pairs, start=1):
        lr, hr = pair.load()
        first, second = before.upscale(lr), after.upscale(lr)
        steps = np.abs(first.astype(np.int16) - second)
        values += steps.size
        changed += int((steps > 0).sum())
        largest = max(largest, int(steps.max()))
        old, new = (
            counted_db(psnr_db(picture, hr, shave=RGB_SHAVE)) for picture in (first, second)
        )
        scores.append((old, new))
        on_progress("measure what the grids change", done, len(pairs))
    old_db, new_db = zip(*scores, strict=True)
    return PinChange(
        images=len(pairs),
        values=values,
        changed=changed,
        largest=largest,
        before_psnr_db=float(np.mean(old_db)),
        after_psnr_db=float(np.mean(new_db)),
        gain_db=paired_bootstrap(new_db, old_db),
    )


def _check_model(model: Path) -> None:
    """Raise ModelError for what is a float model, as its name tells."""
    if not model.exists() and str(model) in ZOO:
        raise _float_model(model, "a network of the zoo, which is a float model")
    if model.is_file() and model.suffix.lower() in KERAS_SUFFIXES:
        raise _float_model(model, "a Keras model, which is a float model")
    if (model / "saved_model.pb").is_file():
        raise _float_model(model, "a SavedModel, which is a float model")


def _float_model(model: Path, what: str) -> ModelError:
    """Say that a float model is not folded, and what makes an integer one of it."""
    return ModelError(
        f"{model}: {what}, and there the clip does work; make an integer model of it, which is "
        f"folded on the way: qsr quantize {model} --repdata PHOTO..."
    )


def _check_out(out: Path, model: Path) -> None:
    """Raise UsageError if the model cannot be written there."""
    check_new(out, _FOLDED_MODEL)
    if out.exists() and model.exists() and out.samefile(model):
        raise UsageError(f"{out}: is the model itself; give the folded one another name with -o")
