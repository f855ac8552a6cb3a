"""Scores of any model, float or integer, on LR/HR pairs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from qsr.data.decoded import Pairs, part_of
from qsr.errors import ImageError
from qsr.images import upscale_bicubic
from qsr.metrics import RGB_SHAVE, counted_db, psnr_db, ssim
from qsr.tflite.fold import fold_copies
from qsr.tflite.runtime import ModelFacts, Runner, inspect_model, to_bytes

Image = NDArray[np.uint8]


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
    runner = Runner(model, threads=threads, source=name)
    scale = runner.facts.scale
    scores = _scores(
        runner.upscale_unrounded, pairs, names, scale=scale, model=name, on_progress=on_progress
    )
    return Evaluation(name, runner.facts.quantized, scores)


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

    def upscale(lr: Image) -> NDArray[np.float32]:
        return upscale_bicubic(lr, scale).astype(np.float32)

    scores = _scores(upscale, pairs, names, scale=scale, model="bicubic", on_progress=on_progress)
    return Evaluation("bicubic", quantized=False, images=scores)


@dataclass(frozen=True)
class PsnrScore:
    """Scores a model by its RGB PSNR in dB on each pair; travels to worker processes.

    Operators of an integer model that are proved to copy bytes are skipped: the result is the same.

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
        facts = self.facts if self.facts is not None else inspect_model(model)
        runner = Runner(fold_copies(model) if facts.quantized else model, facts)
        scores = [0.0] * len(self.pairs)
        # Images of one size follow each other: TFLite plans its memory anew for each new size.
        for index in sorted(range(len(scores)), key=self.pairs.sizes.__getitem__):
            lr, hr = self.pairs[index]
            _check_scale(lr, hr, facts.scale, self.pairs.names[index], "the model")
            scores[index] = counted_db(psnr_db(runner.upscale(lr), hr, shave=RGB_SHAVE))
        return scores


def _scores(
    upscale: Callable[[Image], NDArray[np.float32]],
    pairs: Sequence[tuple[Image, Image]],
    names: Sequence[str],
    *,
    scale: int,
    model: str,
    on_progress: Callable[[int, int], None] | None,
) -> tuple[ImageScore, ...]:
    """Score a function from an LR image to an unrounded HR image in units of 0..255."""
    scores = []
    for done, (name, (lr, hr)) in enumerate(zip(names, pairs, strict=True), start=1):
        _check_scale(lr, hr, scale, name, model)
        scores.append(_image_score(upscale(lr), hr, scale, name))
        if on_progress is not None:
            on_progress(done, len(names))
    return tuple(scores)


def _image_score(unrounded: NDArray[np.float32], hr: Image, scale: int, name: str) -> ImageScore:
    sr = to_bytes(unrounded)
    try:
        return ImageScore(
            name=name,
            psnr_rgb_db=counted_db(psnr_db(sr, hr, shave=RGB_SHAVE)),
            psnr_y_db=counted_db(psnr_db(sr, hr, shave=scale, channels="y")),
            ssim_y=ssim(sr, hr, shave=scale, channels="y"),
            psnr_rgb_unrounded_db=counted_db(psnr_db(unrounded, hr, shave=RGB_SHAVE)),
        )
    except ValueError as error:  # too few pixels are left when the borders are shaved
        raise ImageError(f"{name}: too small to be scored: {error}") from error


def _check_scale(lr: Image, hr: Image, scale: int, image: str, model: str) -> None:
    if hr.shape[:2] != (lr.shape[0] * scale, lr.shape[1] * scale):
        raise ImageError(
            f"{image}: HR is {hr.shape[1]}x{hr.shape[0]} and LR {lr.shape[1]}x{lr.shape[0]} "
            f"pixels, but {model} enlarges x{scale}"
        )
