"""An integer model with what can be done about its losses, each step kept if it helps."""

from collections.abc import Sequence
from dataclasses import dataclass

from qsr.calibration import Ranges, Scheme, quantize
from qsr.calibration.float_layers import layer_name, operators_in_float
from qsr.jobs.steps import CORRECTED, EQUALIZED, Judges, Step, judged
from qsr.quantization.bias_correction import correct_biases
from qsr.tflite.fold import Folded, fold
from qsr.tflite.graph import Graph
from qsr.tflite.runtime import Image


@dataclass(frozen=True)
class Measured:
    """A float model and the ranges of its tensors.

    Attributes:
        model: content of the ``.tflite`` file.
        ranges: of its activations.
    """

    model: bytes
    ranges: Ranges


@dataclass(frozen=True)
class Sources:
    """What integer models are made of.

    Attributes:
        plain: the float model as it is.
        equalized: the same network with its channels rescaled; None if that is not asked for or no
            layer can be.
        pictures: LR pictures ``(h, w, 3)`` ``uint8`` to correct biases on; none without images.
    """

    plain: Measured
    equalized: Measured | None
    pictures: Sequence[Image]


@dataclass(frozen=True)
class Made:
    """An integer model, and how it was made.

    Attributes:
        model: content of the ``.tflite`` file.
        steps: what was done about its losses.
        removed: kinds of operators that were removed as they copied bytes.
        in_float: operators that compute in float, as ``kind layer``.
    """

    model: bytes
    steps: tuple[Step, ...]
    removed: tuple[str, ...]
    in_float: tuple[str, ...]


def make(
    sources: Sources,
    scheme: Scheme,
    *,
    equalized: bool,
    biases_corrected: bool,
    keep_clip: bool,
    judges: Judges | None,
    source: str,
) -> Made:
    """Make an integer model.

    Args:
        sources: what to make it of.
        scheme: how to quantize.
        equalized: take the equalized network, if that helps.
        biases_corrected: correct biases, if that helps.
        keep_clip: leave the operators in that are proved to copy bytes.
        judges: measure models, to see what helps; None takes every step unseen.
        source: named in errors.

    Raises:
        ModelError: the model cannot be quantized or run.
        UsageError: the scheme names a layer that the model lacks, or needs a package.
    """
    chosen, steps = sources.plain, []
    integer = quantize(chosen.model, chosen.ranges, scheme, source=source)
    if equalized:
        rescaled = sources.equalized or chosen
        other = quantize(rescaled.model, rescaled.ranges, scheme, source=source)
        steps.append(judged(EQUALIZED, integer, other, judges))
        if steps[-1].kept:
            chosen, integer = rescaled, other
    if biases_corrected:
        other = correct_biases(chosen.model, integer, sources.pictures, source=source)
        steps.append(judged(CORRECTED, integer, other, judges))
        if steps[-1].kept:
            integer = other
    folded = Folded(integer, ()) if keep_clip else fold(integer, source=source)
    graph = Graph(folded.model)
    in_float = tuple(
        f"{operator.kind} {layer_name(graph, operator)}" for operator in operators_in_float(graph)
    )
    return Made(folded.model, tuple(steps), folded.removed, in_float)
