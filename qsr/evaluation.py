"""Scores of any model, float or integer, on LR/HR pairs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from qsr.data.decoded import Pairs, part_of
from qsr.errors import ImageError
from qsr.images import upscale_bicubic
from qsr.metrics import RGB_SHAVE, counted_db, psnr_db, ssim
from qsr.tflite.fold import fold_copies
from qsr.tflite.runtime import ModelFacts, Runner, inspect_model, to_bytes

Image = NDArray[np.uint8]

Measure = Literal["psnr_rgb_db", "psnr_y_db", "ssim_y", "psnr_rgb_unrounded_db"]
"""What is measured of a picture, as :class:`ImageScore` says; SSIM takes longest by far."""


@dataclass(frozen=True)
class ImageScore:
    """How close one result is to its original; PSNR is as :func:`counted_db` counts it.

    Attributes:
        name: of the image.
        psnr_rgb_db: over the three channels, one pixel shaved, of the 8-bit result.
        psnr_y_db: in luminance, one scale shaved, of the 8-bit result.
        ssim_y: in luminance, one scale shaved, of the 8-bit result.
        psnr_rgb_unrounded_db: as ``psnr_rgb_db``, of a float model's result before it is clipped
            and rounded; equal to it for an integer model.
    """

    name: str
    psnr_rgb_db: float
    psnr_y_db: float
    ssim_y: float
    psnr_rgb_unrounded_db: float


@dataclass(frozen=True)
class Evaluation:
    """Scores of one model on one set of images; the means are over images.

    Attributes:
        model: what the model is called.
        quantized: whether it is an integer model.
        images: scores per image.
    """

    model: str
    quantized: bool
    images: tuple[ImageScore, ...]

    @property
    def psnr_rgb_db(self) -> float:
        """Mean PSNR in RGB."""
        return float(np.mean([image.psnr_rgb_db for image in self.images]))

    @property
    def psnr_y_db(self) -> float:
        """Mean PSNR in luminance."""
        return float(np.mean([image.psnr_y_db for image in self.images]))

    @property
    def ssim_y(self) -> float:
        """Mean SSIM in luminance."""
        return float(np.mean([image.ssim_y for image in self.images]))

    @property
    def psnr_rgb_unrounded_db(self) -> float:
        """Mean PSNR in RGB before rounding to 8 bits."""
        return float(np.mean([image.psnr_rgb_unrounded_db for image in self.images]))


def evaluate(
    model: bytes,
    pairs: Sequence[tuple[Image, Image]],
    *,
    name: str,
    names: Sequence[str],
    threads: int = 1,
    on_progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Score a model on every pair.

    An integer model is fed raw bytes and read as raw bytes, as on a phone, whatever its scales say.

    Args:
        model: content of a ``.tflite`` file, float or integer.
        pairs: ``(lr, hr)``, ``(h, w, 3)`` and ``(scale*h, scale*w, 3)`` ``uint8``.
        name: what the result and errors call the model.
        names: of the images.
        threads: threads of the interpreter.
        on_progress: called with (done, total) after each image.

    Returns:
        Scores per image, in the order of ``pairs``.

    Raises:
        ImageError: the pairs are of another scale than the model, or too small to be scored.
        ModelError: the model cannot be run.
    """
    runner = folded_runner(model, threads=threads, source=name)
    found = score_pairs(
        runner.upscale_unrounded,
        pairs,
        get_args(Measure),
        scale=runner.facts.scale,
        names=names,
        model=name,
        on_progress=on_progress,
    )
    return Evaluation(name, runner.facts.quantized, _per_image(names, found))


def evaluate_bicubic(
    pairs: Sequence[tuple[Image, Image]],
    *,
    scale: int,
    names: Sequence[str],
    on_progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Score MATLAB-compatible bicubic upscaling on every pair, as :func:`evaluate` does a model.

    Args:
        pairs: ``(lr, hr)`` images.
        scale: HR size over LR size.
        names: of the images.
        on_progress: called with (done, total) after each image.

    Raises:
        ImageError: the pairs are of another scale, or too small to be scored.
    """
    found = score_pairs(
        partial(upscale_bicubic, factor=scale),
        pairs,
        get_args(Measure),
        scale=scale,
        names=names,
        model="bicubic",
        on_progress=on_progress,
    )
    return Evaluation("bicubic", quantized=False, images=_per_image(names, found))


def folded_runner(
    model: bytes, facts: ModelFacts | None = None, *, threads: int = 1, source: str = "model"
) -> Runner:
    """Return what runs a model, without the operators of an integer one that copy bytes.

    They are proved to (:func:`qsr.tflite.fold.fold_copies`), so every byte of a picture stays.

    Args:
        model: content of a ``.tflite`` file, float or integer.
        facts: what it takes and gives; found here if None.
        threads: threads of the interpreter.
        source: named in errors.

    Raises:
        ModelError: the model cannot be run.
    """
    facts = facts if facts is not None else inspect_model(model, source=source)
    content = fold_copies(model) if facts.quantized else model
    return Runner(content, facts, threads=threads, source=source)


def score_pairs(
    upscale: Callable[[Image], NDArray[Any]],
    pairs: Sequence[tuple[Image, Image]],
    measures: Sequence[Measure],
    *,
    scale: int,
    names: Sequence[str],
    model: str = "the model",
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[Measure, list[float]]:
    """Measure a picture of each pair; those of one size follow each other.

    TFLite plans its memory anew for each new size.

    Args:
        upscale: from LR to the picture, ``uint8``, or floats in units of 0..255, not rounded.
        pairs: ``(lr, hr)``, ``(h, w, 3)`` and ``(scale*h, scale*w, 3)`` ``uint8``.
        measures: what to measure.
        scale: that ``upscale`` enlarges by.
        names: of the images.
        model: what errors call ``upscale``.
        on_progress: called with (done, total) after each image.

    Returns:
        Each measure of all pairs, in the order of ``pairs``.

    Raises:
        ImageError: the pairs are of another scale, or too small to be scored.
        ModelError: the model cannot be run.
    """
    sizes = []
    for name, (lr, hr) in zip(names, pairs, strict=True):
        _check_scale(lr, hr, scale, name, model)
        sizes.append(lr.shape)
    found: dict[Measure, list[float]] = {measure: [0.0] * len(pairs) for measure in measures}
    for done, index in enumerate(sorted(range(len(pairs)), key=sizes.__getitem__), start=1):
        lr, hr = pairs[index]
        picture = upscale(lr)
        rounded = picture if picture.dtype == np.uint8 else to_bytes(picture)
        try:
            for measure in measures:
                found[measure][index] = _measured(measure, picture, rounded, hr, scale)
        except ValueError as error:  # too few pixels are left when the borders are shaved
            raise ImageError(f"{names[index]}: too small to be scored: {error}") from error
        if on_progress is not None:
            on_progress(done, len(pairs))
    return found


@dataclass(frozen=True)
class PsnrScore:
    """Scores a model by its RGB PSNR in dB on each pair; travels to worker processes.

    Attributes:
        pairs: the validation images.
        facts: what every model to be scored takes and gives; found anew for each if None.
    """

    pairs: Pairs
    facts: ModelFacts | None = None

    def part(self, index: int, count: int) -> "PsnrScore":
        """Return what scores part ``index`` of ``count`` of the pairs."""
        return replace(self, pairs=part_of(self.pairs, index, count))

    def __call__(self, model: bytes) -> list[float]:
        """Return the PSNR of the model's 8-bit result on each pair, in the order of ``pairs``.

        Raises:
            ImageError: the pairs are of another scale than the model.
            ModelError: the model cannot be run.
        """
        runner = folded_runner(model, self.facts)
        found = score_pairs(
            runner.upscale,
            self.pairs,
            ("psnr_rgb_db",),
            scale=runner.facts.scale,
            names=self.pairs.names,
        )
        return found["psnr_rgb_db"]


def _measured(
    measure: Measure, picture: NDArray[Any], rounded: Image, hr: Image, scale: int
) -> float:
    """Take one measure of a picture, and of the same in 8 bits."""
    if measure == "ssim_y":
        return ssim(rounded, hr, shave=scale, channels="y")
    if measure == "psnr_y_db":
        return counted_db(psnr_db(rounded, hr, shave=scale, channels="y"))
    shown = picture if measure == "psnr_rgb_unrounded_db" else rounded
    return counted_db(psnr_db(shown, hr, shave=RGB_SHAVE))


def _per_image(
    names: Sequence[str], found: Mapping[Measure, Sequence[float]]
) -> tuple[ImageScore, ...]:
    """Put all measures of each image together."""
    rows = [dict(zip(found, values, strict=True)) for values in zip(*found.values(), strict=True)]
    return tuple(ImageScore(name, **row) for name, row in zip(names, rows, strict=True))


def _check_scale(lr: Image, hr: Image, scale: int, image: str, model: str) -> None:
    if hr.shape[:2] != (lr.shape[0] * scale, lr.shape[1] * scale):
        raise ImageError(
            f"{image}: HR is {hr.shape[1]}x{hr.shape[0]} and LR {lr.shape[1]}x{lr.shape[0]} "
            f"pixels, but {model} enlarges x{scale}"
        )
