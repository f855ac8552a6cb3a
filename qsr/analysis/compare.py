"""Compares a float model with its integer model: every tensor that both have, and the pictures.

Both models run on the same pictures, each on its own: what is measured at a layer is the error
accumulated from the input up to there, not what that layer alone adds.
"""

from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qsr.analysis.accumulated import accumulated_sums
from qsr.analysis.comparable import check_comparable
from qsr.analysis.labels import layer_label
from qsr.analysis.matching import Match
from qsr.analysis.pair import ModelPair
from qsr.analysis.sums import ErrorSums, added
from qsr.errors import ImageError, ModelError
from qsr.metrics import RGB_SHAVE, psnr_db
from qsr.tflite.io_grid import ranges_tied_to_output
from qsr.tflite.runtime import Runner

Image = NDArray[np.uint8]

_IMAGE_DIMENSIONS = 4


@dataclass(frozen=True)
class LayerError:
    """How far the integer model is off at one tensor that both models have.

    Attributes:
        name: of the tensor in the float model.
        operator: TFLite operator that makes it in the float model, such as ``CONV_2D``;
            ``INPUT`` for the picture that goes in.
        scale: step of the integer tensor's grid, in real units.
        zero_point: the integer that stands for 0.
        sqnr_db: signal-to-quantization-noise ratio, ``10 log10(sum f^2 / sum (f - q)^2)`` in dB,
            with the float model's value f and the integer model's ``q = scale * (integer -
            zero_point)``, summed over all images. Accumulated: it holds the error of every layer
            before. Infinite where the two are equal.
        saturated_share: share of the float model's values that lie more than half a step outside
            the grid, 0 to 1.
        mean_error: mean of ``q - f``, in real units; above 0 where the integer model is brighter.
        minimum: smallest value of the float model, in real units.
        maximum: its largest.
        grid_minimum: smallest value that the integer tensor can hold, in real units.
        grid_maximum: its largest.
        tied_to_output: whether the tensor's values reach the picture unchanged but for clipping
            and moving: values beyond the picture's range are clipped in any case.
    """

    name: str
    operator: str
    scale: float
    zero_point: int
    sqnr_db: float
    saturated_share: float
    mean_error: float
    minimum: float
    maximum: float
    grid_minimum: float
    grid_maximum: float
    tied_to_output: bool

    @property
    def label(self) -> str:
        """The layer's name alone, for tables; see :func:`layer_label`."""
        return layer_label(self.name)


@dataclass(frozen=True)
class ImageComparison:
    """How close the two models' 8-bit pictures are, on one image.

    Attributes:
        name: of the image.
        psnr_between_db: PSNR of the integer model's picture against the float model's, RGB, whole
            picture, in dB; infinite where they are the same.
        float_psnr_db: PSNR of the float model's picture, clipped and rounded, against the
            original, RGB, one pixel shaved, in dB; None without an original.
        integer_psnr_db: the same of the integer model's picture.
        drop_db: ``float_psnr_db - integer_psnr_db``; None without an original.
    """

    name: str
    psnr_between_db: float
    float_psnr_db: float | None
    integer_psnr_db: float | None
    drop_db: float | None


@dataclass(frozen=True)
class Comparison:
    """An integer model against the float model that it was made from.

    Attributes:
        layers: tensors that both models have, in the float model's order of execution.
        unmatched_float: names of the float model's tensors that the integer model lacks.
        unmatched_integer: names of the integer model's tensors that the float model lacks, such as
            those of ``QUANTIZE`` at its ends.
        images: the pictures, in the order given.
    """

    layers: tuple[LayerError, ...]
    unmatched_float: tuple[str, ...]
    unmatched_integer: tuple[str, ...]
    images: tuple[ImageComparison, ...]


def compare(
    float_model: bytes,
    integer_model: bytes,
    images: Iterable[tuple[str, Image, Image | None]],
    *,
    float_source: str = "fp32",
    integer_source: str = "int8",
    on_image: Callable[[int], None] | None = None,
) -> Comparison:
    """Compare an integer model with the float model that it was made from.

    Tensors are matched by name, those at both ends by their place. An integer model is fed raw
    bytes, as on a phone; its input tensor stands for what its own scale makes of them. So an input
    grid that is not black to white in 256 steps shows as an error of the input: every picture is
    read darker or brighter than it is.

    Every picture is counted once: the overlap of the pieces that a large picture is run in, and
    the padding of a fixed input size, are left out of every tensor whose height and width are a
    multiple of the piece's.

    Args:
        float_model: content of a float ``.tflite`` model.
        integer_model: content of the integer model made from it.
        images: (name, LR, HR or None), ``(h, w, 3)`` and ``(scale*h, scale*w, 3)`` ``uint8`` RGB;
            of any sizes, streamed.
        float_source: what errors call the float model.
        integer_source: what they call the integer model.
        on_image: called with the number of images compared so far after each.

    Returns:
        One record per tensor and per image.

    Raises:
        ModelError: a model cannot be run; not one float and one integer model, in this order; they
            differ in scale or input size, or have no tensor in common; the float model gives values
            that are not finite; or there is no image.
        ImageError: an HR image is not ``scale`` times its LR image.
    """
    pair = ModelPair(
        float_model, integer_model, reference_source=float_source, tested_source=integer_source
    )
    check_comparable(pair)
    float_facts, integer_facts = pair.facts
    runners = (
        Runner(float_model, float_facts, source=float_source),
        Runner(integer_model, integer_facts, source=integer_source),
    )
    sums: dict[int, ErrorSums] = {}
    records: list[ImageComparison] = []
    for name, lr, hr in images:
        _check_hr(name, lr, hr, float_facts.scale)
        try:
            windows = [accumulated_sums(one, pair.alignment) for one in pair.windows(lr)]
        except ModelError as error:
            raise ModelError(f"{error} on the image {name}") from error
        sums = added([sums, *windows])
        records.append(_compare_pictures(*runners, name, lr, hr))
        if on_image is not None:
            on_image(len(records))
    if not records:
        raise ModelError(f"no images to compare {float_source} and {integer_source} on")
    tied = ranges_tied_to_output(pair.reference_graph)
    return Comparison(
        layers=tuple(
            _layer_error(match, sums[match.tested.index], tied) for match in pair.alignment.matches
        ),
        unmatched_float=pair.alignment.only_reference,
        unmatched_integer=pair.alignment.only_tested,
        images=tuple(records),
    )


def _check_hr(name: str, lr: Image, hr: Image | None, scale: int) -> None:
    """Check the size of an original, before time is spent on its image."""
    if hr is not None and hr.shape[:2] != (lr.shape[0] * scale, lr.shape[1] * scale):
        raise ImageError(
            f"{name}: HR is {hr.shape[1]}x{hr.shape[0]} and LR {lr.shape[1]}x{lr.shape[0]} "
            f"pixels, but the models enlarge x{scale}"
        )


def _layer_error(match: Match, sums: ErrorSums, tied: Container[int]) -> LayerError:
    """Return the record of one tensor."""
    grid, error = match.grid, sums.tensor_error
    return LayerError(
        name=match.reference.name,
        operator=match.operator,
        scale=grid.scale,
        zero_point=grid.zero_point,
        sqnr_db=error.sqnr_db,
        saturated_share=error.saturated_share,
        mean_error=error.mean_error,
        minimum=sums.minimum,
        maximum=sums.maximum,
        grid_minimum=grid.minimum,
        grid_maximum=grid.maximum,
        tied_to_output=match.reference.index in tied,
    )


def _compare_pictures(
    float_runner: Runner, integer_runner: Runner, name: str, lr: Image, hr: Image | None
) -> ImageComparison:
    """Run both models as they are used and compare their 8-bit pictures."""
    of_float, of_integer = float_runner.upscale(lr), integer_runner.upscale(lr)
    between = psnr_db(of_float, of_integer)
    if hr is None:
        return ImageComparison(name, between, None, None, None)
    float_psnr = psnr_db(of_float, hr, shave=RGB_SHAVE)
    integer_psnr = psnr_db(of_integer, hr, shave=RGB_SHAVE)
    same = float_psnr == integer_psnr  # infinite ones too, which cannot be subtracted
    drop = 0.0 if same else float_psnr - integer_psnr
    return ImageComparison(name, between, float_psnr, integer_psnr, drop)
