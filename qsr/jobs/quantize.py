"""One integer model from representative images chosen by hand."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from qsr import calibration
from qsr.calibration.ranges import Reader
from qsr.calibration.scheme import scheme_named
from qsr.data.pairs import find_all_pairs, lr_images
from qsr.errors import UsageError
from qsr.jobs.images import check_there, usable
from qsr.jobs.models import load_float
from qsr.jobs.progress import Progress, silent
from qsr.tflite.files import write_model
from qsr.tflite.runtime import inspect_model


@dataclass(frozen=True)
class QuantizeReport:
    """What was quantized.

    Attributes:
        model: what the user called the float model.
        images: names of the representative images.
        scheme: name of the scheme.
        integer_model: path of the integer model.
        float_bytes: size of the float model.
        integer_bytes: size of the integer model.
        skipped: one line on each image that was left out as unusable.
    """

    model: str
    images: tuple[str, ...]
    scheme: str
    integer_model: str
    float_bytes: int
    integer_bytes: int
    skipped: tuple[str, ...]


def quantize_model(
    model: str,
    repdata: Sequence[Path],
    out: Path | None = None,
    *,
    scheme: str = "uint8",
    pin_io: bool = True,
    reader: Reader = "exact",
    images_are_lr: bool = False,
    skip_bad_images: bool = False,
    on_progress: Progress = silent,
) -> QuantizeReport:
    """Quantize a float model with these representative images.

    Args:
        model: a name from the zoo, or a ``.tflite``, ``.keras``, ``.h5`` or SavedModel path.
        repdata: images and folders of images: photographs, of which LR is made by bicubic
            downscaling, or folders of LR/HR images.
        out: path of the integer model; ``model_<scheme>.tflite`` in the current folder if None.
        scheme: name of a quantization scheme.
        pin_io: give input and output their true grid, whatever the images hold.
        reader: ``exact``, or ``converter`` for the ranges that ``TFLiteConverter`` would record.
        images_are_lr: the images are LR already: feed them as they are.
        skip_bad_images: leave unusable images out instead of stopping.
        on_progress: called while working.

    Returns:
        What was quantized.

    Raises:
        ImageError: an image is unusable.
        ModelError: the model is unusable, TFLite cannot run the integer model, or ``out`` cannot
            be written.
        UsageError: unknown scheme or reader, no image, or ``out`` is no name for a new model.
    """
    chosen_scheme = scheme_named(scheme, pin_io=pin_io)
    if not repdata:
        raise UsageError("give at least one representative image with --repdata")
    out = out or Path(f"model_{scheme}.tflite")
    _check_out(out, model)
    check_there(repdata)
    content = load_float(model)
    facts = inspect_model(content, source=model)
    pairs, skipped = usable(
        find_all_pairs(repdata, 1 if images_are_lr else facts.scale),
        least_lr=facts.smallest_side,
        skip_bad=skip_bad_images,
        stage="check images",
        on_progress=on_progress,
    )

    def measured(done: int) -> None:
        on_progress("measure ranges", done, len(pairs))

    table = calibration.collect(
        content, lr_images(pairs), reader=reader, on_image=measured, source=model
    )
    integer = calibration.quantize(content, table.merged(), chosen_scheme, source=model)
    inspect_model(integer, source=str(out))
    write_model(out, integer)
    return QuantizeReport(
        model=model,
        images=table.images,
        scheme=scheme,
        integer_model=str(out),
        float_bytes=len(content),
        integer_bytes=len(integer),
        skipped=skipped,
    )


def _check_out(out: Path, model: str) -> None:
    """Raise UsageError if the integer model cannot go there, or would replace the float one."""
    if out.suffix != ".tflite":
        raise UsageError(f"{out}: give the integer model a name that ends in .tflite")
    if out.is_dir():
        raise UsageError(f"{out}: a folder; give the integer model the name of a file")
    if out.parent.is_dir() and not os.access(out.parent, os.W_OK):
        raise UsageError(f"{out}: {out.parent} cannot be written to; give another -o")
    if not out.parent.is_dir():
        raise UsageError(f"{out}: no folder {out.parent}; make it first, or give another -o")
    if out.exists() and Path(model).exists() and out.samefile(model):
        raise UsageError(f"{out}: is the float model itself; give the integer model another name")
