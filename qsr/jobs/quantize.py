"""Integer models from representative images chosen by hand, or from ranges measured before."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

from qsr import calibration
from qsr.calibration.float_layers import float_operators
from qsr.calibration.quantize import picture_ranges
from qsr.data.pairs import find_all_pairs, lr_images
from qsr.errors import UsageError
from qsr.jobs.evaluate import EvaluationReport
from qsr.jobs.images import usable
from qsr.jobs.models import load_float
from qsr.jobs.new_files import make_folder
from qsr.jobs.quantize_request import Request, Settings, outs_of
from qsr.jobs.quantize_steps import Made, Measured, Sources, make
from qsr.jobs.quantize_validation import Validation, compared, validation_images
from qsr.jobs.steps import CORRECTED, EQUALIZED, Step
from qsr.quantization.equalize import equalize
from qsr.tflite.files import write_model
from qsr.tflite.fixed_size import check_input_size, with_input_size
from qsr.tflite.graph import Graph
from qsr.tflite.runtime import Image, inspect_model

LR_SIZE = (180, 320)
"""Height and width of the picture that times are for: 16-bit kernels take seconds for larger."""


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
            it can be, or if that was seen not to help.
        biases_corrected: whether the integer model's biases were corrected; False too if that was
            seen not to help.
        steps: what each of the two gave, if it was asked for.
        removed: kinds of the operators that were removed as they copied bytes.
        in_float: operators that compute in float, as ``kind layer``.
        input_size: height and width of the only input that the integer model takes, in pixels; None
            for any size.
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
    steps: tuple[Step, ...]
    removed: tuple[str, ...]
    in_float: tuple[str, ...]
    input_size: tuple[int, int] | None
    skipped: tuple[str, ...]


@dataclass(frozen=True)
class SchemesReport:
    """Integer models of several schemes, side by side.

    Attributes:
        quantized: what was made, per scheme.
        comparison: scores and costs of the float model, and of the integer models, which are named
            after their schemes; no scores without validation images, and None if there is but one
            scheme too.
        choosing_images: number of validation images that equalization and bias correction were
            chosen on; 0 if neither was asked for, or without validation images.
        confirmed: whether the scores are of other images than those that chose; False too if none
            did.
    """

    quantized: tuple[QuantizeReport, ...]
    comparison: EvaluationReport | None
    choosing_images: int
    confirmed: bool


def quantize_model(
    model: str,
    repdata: Sequence[Path] = (),
    out: Path | None = None,
    *,
    scheme: str = "uint8",
    **settings: Unpack[Settings],
) -> QuantizeReport:
    """Quantize a float model with representative images, or with ranges measured before.

    Args:
        model: a name from the zoo, or a ``.tflite``, ``.keras``, ``.h5`` or SavedModel path.
        repdata: images and folders of images: photographs, of which LR is made by bicubic
            downscaling, or folders of LR/HR images.
        out: path of the integer model; ``model_<scheme>.tflite`` in the current folder if None.
        scheme: name of a quantization scheme.
        **settings: see :class:`Settings`.

    Returns:
        What was quantized.

    Raises:
        ImageError: an image is unusable.
        ModelError: the model is unusable, TFLite cannot run the integer model, or ``out`` cannot
            be written.
        StudyError: ``ranges`` cannot be read or is of another model, or ``save_ranges`` cannot be
            written.
        UsageError: unknown scheme, reader or layer, a package that the scheme needs is missing, an
            ``input_size`` that the model cannot have, neither images nor ranges or both, options
            about images without any, or ``out`` or ``save_ranges`` is no name for a new file.
    """
    report = quantize_schemes(model, repdata, out, schemes=[scheme], **settings)
    return report.quantized[0]


def quantize_schemes(
    model: str,
    repdata: Sequence[Path] = (),
    out: Path | None = None,
    *,
    schemes: Sequence[str],
    data: Sequence[Path] = (),
    lr_size: tuple[int, int] = LR_SIZE,
    **settings: Unpack[Settings],
) -> SchemesReport:
    """Quantize a float model in one scheme or several, as :func:`quantize_model`.

    The ranges are measured once. The integer models are compared with the float model if they are
    several, or if there are validation images. Equalization and bias correction are each kept only
    if they help on half of those; the models are then compared on the other half.

    Args:
        model: as there.
        repdata: as there.
        out: with one scheme as there; else the folder of ``model_<scheme>.tflite``, made if it is
            missing, the current one if None.
        schemes: names of quantization schemes.
        data: folders of validation images, photographs or LR/HR images; those that are
            representative too are left out.
        lr_size: height and width of the picture that times are for, in pixels; for a model that
            takes one size alone, and with ``input_size``, it is that. With ``input_size``, scores
            are of the model for any size, which needs no padding and gives the same bytes.
        **settings: see :class:`Settings`.

    Returns:
        What was quantized, and how the models compare.

    Raises:
        ImageError: as there.
        ModelError: as there.
        StudyError: as there.
        UsageError: as there, a scheme is named twice or none, ``out`` is no folder, a side of
            ``lr_size`` is below 1, or no validation image is left.
    """
    asked = Request(model, tuple(repdata), outs_of(schemes, out), tuple(data), **settings)
    if min(lr_size) < 1:
        raise UsageError(f"a picture of {lr_size[1]}x{lr_size[0]} pixels has no times")
    asked.check()
    start = _start(asked)
    with validation_images(
        data,
        start.original,
        start.hashes,
        steps=asked.equalized or asked.biases_corrected,
        skip_bad=asked.skip_bad_images,
        source=model,
        on_progress=asked.on_progress,
    ) as validation:
        made = _made(asked, start, validation)
        finals = [_of_one_size(asked, one.model) for one in made]
        reports = _written(asked, start, made, finals)
        if validation is None and len(made) == 1:
            return SchemesReport(reports, None, 0, confirmed=False)
        reference = {f"{model} (FP32)": start.original}
        comparison = compared(
            reference | {scheme: one.model for scheme, one in zip(asked.outs, made, strict=True)},
            reference | dict(zip(asked.outs, finals, strict=True)),
            validation,
            asked.input_size or start.fixed_size or lr_size,
            on_progress=asked.on_progress,
        )
        chose = validation.choosing_images if validation else 0
        confirmed = validation is not None and validation.divided
    return SchemesReport(reports, comparison, chose, confirmed=confirmed)


@dataclass(frozen=True)
class _Start:
    """What was loaded and measured.

    Attributes:
        original: content of the float ``.tflite`` file.
        sources: what integer models are made of.
        images: names of the representative images.
        hashes: of their pixels.
        skipped: one line on each that was left out.
        fixed_size: the only input height and width that the float model takes, in pixels, or None.
    """

    original: bytes
    sources: Sources
    images: tuple[str, ...]
    hashes: tuple[str, ...]
    skipped: tuple[str, ...]
    fixed_size: tuple[int, int] | None


def _start(asked: Request) -> _Start:
    """Load the model and measure its ranges, and those of the equalized network."""
    content = load_float(asked.model)
    float_operators(Graph(content), asked.float_layers, source=asked.model)
    if asked.input_size is not None:
        check_input_size(content, asked.input_size, source=asked.model)
    facts = inspect_model(content, source=asked.model)
    if asked.ranges is not None:
        ranges = calibration.read_litert_json(asked.ranges, content, source=asked.model)
        sources = Sources(Measured(content, ranges), None, ())
        return _Start(content, sources, (), (), (), facts.fixed_size)
    pairs, skipped = usable(
        find_all_pairs(asked.repdata, 1 if asked.images_are_lr else facts.scale),
        least_lr=facts.smallest_side,
        skip_bad=asked.skip_bad_images,
        stage="check images",
        on_progress=asked.on_progress,
    )
    pictures: tuple[Image, ...] = ()
    if asked.equalized or asked.biases_corrected:
        pictures = tuple(pair.load_lr() for pair in pairs)

    def measured(network: bytes, stage: str) -> calibration.RangeTable:
        return calibration.collect(
            network,
            lr_images(pairs),
            reader=asked.reader,
            on_image=lambda done: asked.on_progress(stage, done, len(pairs)),
            source=asked.model,
        )

    table = measured(content, "measure ranges")
    rescaled = None
    if asked.equalized:
        network = equalize(content, pictures, source=asked.model)
        if network != content:
            ranges = measured(network, "measure ranges of the equalized network").merged()
            rescaled = Measured(network, ranges)
    sources = Sources(Measured(content, table.merged()), rescaled, pictures)
    return _Start(content, sources, table.images, table.image_hashes, skipped, facts.fixed_size)


def _made(asked: Request, start: _Start, validation: Validation | None) -> list[Made]:
    """Make the model of each scheme."""
    made = []
    for done, scheme in enumerate(asked.schemes, start=1):
        made.append(
            make(
                start.sources,
                scheme,
                equalized=asked.equalized,
                biases_corrected=asked.biases_corrected,
                keep_clip=asked.keep_clip,
                judges=None if validation is None else validation.judges,
                source=asked.model,
            )
        )
        asked.on_progress("quantize", done, len(asked.outs))
    for one, out in zip(made, asked.outs.values(), strict=True):
        inspect_model(one.model, source=str(out))
    return made


def _of_one_size(asked: Request, model: bytes) -> bytes:
    """Return a model as it is written: for one input size, if that is asked for."""
    if asked.input_size is None:
        return model
    return with_input_size(model, asked.input_size, source=asked.model)


def _written(
    asked: Request, start: _Start, made: Sequence[Made], finals: Sequence[bytes]
) -> tuple[QuantizeReport, ...]:
    """Write the models and the ranges."""
    for out in asked.outs.values():
        make_folder(out.parent)
    plain, saved = start.sources.plain, asked.save_ranges
    if saved is not None:
        known = picture_ranges(Graph(plain.model), source=asked.model) if asked.pin_io else {}
        calibration.write_litert_json(plain.ranges.with_known(known), saved, images=start.images)
    reports = []
    for (scheme, out), one, final in zip(asked.outs.items(), made, finals, strict=True):
        write_model(out, final)
        kept = {step.step for step in one.steps if step.kept}
        reports.append(
            QuantizeReport(
                model=asked.model,
                images=start.images,
                ranges=None if asked.ranges is None else str(asked.ranges),
                scheme=scheme,
                integer_model=str(out),
                saved_ranges=None if saved is None else str(saved),
                float_bytes=len(start.original),
                integer_bytes=len(final),
                equalized=EQUALIZED in kept,
                biases_corrected=CORRECTED in kept,
                steps=one.steps,
                removed=one.removed,
                in_float=one.in_float,
                input_size=asked.input_size or start.fixed_size,
                skipped=start.skipped,
            )
        )
    return tuple(reports)
