"""One integer model from representative images chosen by hand, or from ranges measured before."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from qsr import calibration
from qsr.calibration.quantize import picture_ranges
from qsr.calibration.ranges import Reader
from qsr.calibration.scheme import scheme_named
from qsr.data.pairs import find_all_pairs, lr_images
from qsr.errors import UsageError
from qsr.jobs.images import check_there, usable
from qsr.jobs.models import load_float
from qsr.jobs.progress import Progress, silent
from qsr.quantization.bias_correction import correct_biases
from qsr.quantization.equalize import equalize
from qsr.tflite.files import write_model
from qsr.tflite.graph import Graph
from qsr.tflite.runtime import Image, inspect_model


@dataclass(frozen=True)
class QuantizeReport:
    """What was quantized.

    Attributes:
        model: what the user called the float model.
        images: names of the representative images; none if the ranges were given.
        ranges: path of the file with the ranges that were given, or None.
        scheme: name of the scheme.
        integer_model: path of the integer model.
        saved_ranges: path of the file that the model's ranges were written to, or None.
        float_bytes: size of the float model.
        integer_bytes: size of the integer model.
        equalized: whether the float model's channels were rescaled first; False too if no layer of
            it can be.
        biases_corrected: whether the integer model's biases were corrected.
        skipped: one line on each image that was left out as unusable.
    """

    model: str
    images: tuple[str, ...]
    ranges: str | None
    scheme: str
    integer_model: str
    saved_ranges: str | None
    float_bytes: int
    integer_bytes: int
    equalized: bool
    biases_corrected: bool
    skipped: tuple[str, ...]


def quantize_model(
    model: str,
    repdata: Sequence[Path] = (),
    out: Path | None = None,
    *,
    ranges: Path | None = None,
    save_ranges: Path | None = None,
    scheme: str = "uint8",
    pin_io: bool = True,
    reader: Reader = "exact",
    images_are_lr: bool = False,
    equalized: bool = False,
    biases_corrected: bool = False,
    skip_bad_images: bool = False,
    on_progress: Progress = silent,
) -> QuantizeReport:
    """Quantize a float model with representative images, or with ranges measured before.

    Args:
        model: a name from the zoo, or a ``.tflite``, ``.keras``, ``.h5`` or SavedModel path.
        repdata: images and folders of images: photographs, of which LR is made by bicubic
            downscaling, or folders of LR/HR images.
        out: path of the integer model; ``model_<scheme>.tflite`` in the current folder if None.
        ranges: calibration result of qsr or of LiteRT's quantizer, as JSON, in place of images.
        save_ranges: where to write the ranges that the integer model is made with, pinned ends
            too, in the same JSON; nowhere if None.
        scheme: name of a quantization scheme.
        pin_io: give input and output their true grid, whatever the images hold.
        reader: ``exact``, or ``converter`` for the ranges that ``TFLiteConverter`` would record.
        images_are_lr: the images are LR already: feed them as they are.
        equalized: rescale the float model's channels by the images first, where that leaves its
            function alone (:mod:`qsr.quantization.equalize`).
        biases_corrected: give the integer model's channels the float model's means on the images
            (:mod:`qsr.quantization.bias_correction`).
        skip_bad_images: leave unusable images out instead of stopping.
        on_progress: called while working.

    Returns:
        What was quantized.

    Raises:
        ImageError: an image is unusable.
        ModelError: the model is unusable, TFLite cannot run the integer model, or ``out`` cannot
            be written.
        StudyError: ``ranges`` cannot be read or is of another model, or ``save_ranges`` cannot be
            written.
        UsageError: unknown scheme or reader, neither images nor ranges or both, options about
            images without any, or ``out`` or ``save_ranges`` is no name for a new file.
    """
    chosen_scheme = scheme_named(scheme, pin_io=pin_io)
    about_images = (reader != "exact", images_are_lr, equalized, biases_corrected, skip_bad_images)
    _check_source(repdata, ranges, about_images=any(about_images))
    if equalized and save_ranges is not None:
        raise UsageError(
            "--save-ranges would write the ranges of the equalized network, which fit no other; "
            "leave out --save-ranges or --equalize"
        )
    out = out or Path(f"model_{scheme}.tflite")
    _check_new(out, _INTEGER_MODEL)
    if out.exists() and Path(model).exists() and out.samefile(model):
        raise UsageError(f"{out}: is the float model itself; give the integer model another name")
    if save_ranges is not None:
        _check_new(save_ranges, _SAVED_RANGES)
        if ranges is not None and save_ranges.exists() and save_ranges.samefile(ranges):
            raise UsageError(f"{save_ranges}: is what --ranges reads; give another --save-ranges")
    check_there(repdata)
    original = content = load_float(model)
    images: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    pictures: tuple[Image, ...] = ()
    if ranges is not None:
        merged = calibration.read_litert_json(ranges, content, source=model)
    else:
        facts = inspect_model(content, source=model)
        pairs, skipped = usable(
            find_all_pairs(repdata, 1 if images_are_lr else facts.scale),
            least_lr=facts.smallest_side,
            skip_bad=skip_bad_images,
            stage="check images",
            on_progress=on_progress,
        )
        if equalized or biases_corrected:
            pictures = tuple(pair.load_lr() for pair in pairs)
        if equalized:
            content = equalize(content, pictures, source=model)
        table = calibration.collect(
            content,
            lr_images(pairs),
            reader=reader,
            on_image=lambda done: on_progress("measure ranges", done, len(pairs)),
            source=model,
        )
        images, merged = table.images, table.merged()
    integer = calibration.quantize(content, merged, chosen_scheme, source=model)
    if biases_corrected:
        integer = correct_biases(content, integer, pictures, source=model)
    inspect_model(integer, source=str(out))
    if save_ranges is not None:
        known = picture_ranges(Graph(content), source=model) if pin_io else {}
        calibration.write_litert_json(merged.with_known(known), save_ranges, images=images)
    write_model(out, integer)
    return QuantizeReport(
        model=model,
        images=images,
        ranges=None if ranges is None else str(ranges),
        scheme=scheme,
        integer_model=str(out),
        saved_ranges=None if save_ranges is None else str(save_ranges),
        float_bytes=len(content),
        integer_bytes=len(integer),
        equalized=content != original,
        biases_corrected=biases_corrected,
        skipped=skipped,
    )


def _check_source(repdata: Sequence[Path], ranges: Path | None, *, about_images: bool) -> None:
    """Raise UsageError unless there are images, or else ranges and no options about images."""
    if not repdata and ranges is None:
        raise UsageError(
            "give at least one representative image with --repdata, or measured ranges with "
            "--ranges"
        )
    if repdata and ranges is not None:
        raise UsageError("give representative images or --ranges, not both")
    if ranges is not None and about_images:
        raise UsageError(
            "--reader, --lr, --equalize, --correct-biases and --skip-bad-images are about images; "
            "leave them out with --ranges"
        )


@dataclass(frozen=True)
class _Product:
    """A file that is made: what it is, how its name ends, and the option that names it."""

    what: str
    suffix: str
    option: str


_INTEGER_MODEL = _Product("the integer model", ".tflite", "-o")
_SAVED_RANGES = _Product("the file of ranges", ".json", "--save-ranges")


def _check_new(path: Path, product: _Product) -> None:
    """Raise UsageError if a file cannot be made there."""
    if path.suffix != product.suffix:
        raise UsageError(f"{path}: give {product.what} a name that ends in {product.suffix}")
    if path.is_dir():
        raise UsageError(f"{path}: a folder; give {product.what} the name of a file")
    if path.parent.is_dir() and not os.access(path.parent, os.W_OK):
        raise UsageError(
            f"{path}: {path.parent} cannot be written to; give another {product.option}"
        )
    if not path.parent.is_dir():
        raise UsageError(
            f"{path}: no folder {path.parent}; make it first, or give another {product.option}"
        )
