"""An integer model with what can be done about its losses, each step kept if it helps."""

from collections.abc import Sequence
from dataclasses import dataclass

from qsr.calibration import Interval, Ranges, Scheme, quantize
from qsr.calibration.bootstrap import paired_bootstrap
from qsr.calibration.float_layers import layer_name, operators_in_float
from qsr.jobs.kept_results import Score
from qsr.quantization.bias_correction import correct_biases
from qsr.tflite.fold import Folded, fold
from qsr.tflite.graph import Graph
from qsr.tflite.runtime import Image

EQUALIZED = "equalized channels"
CORRECTED = "corrected biases"
_NOTHING = {
    EQUALIZED: "no layers of this network can be equalized",
    CORRECTED: "every bias is right already",
}


@dataclass(frozen=True)
class Judges:
    """What decides on a step, and what tells how good the decision is.

    Attributes:
        choosing: scores a model on the images that choose.
        confirming: scores it on others; None if there are too few images to divide.
    """

    choosing: Score
    confirming: Score | None


@dataclass(frozen=True)
class Step:
    """What was done about an integer model's losses, and what it gave.

    Attributes:
        step: what was done.
        choosing_gain_db: by how much mean PSNR grew on the images that chose; None if there were
            none, or nothing to do.
        gain_db: the same on images that took no part, with its interval; None if there were none.
        kept: whether it is part of the model: whether it helped on the images that chose, by more
            than what their number leaves to chance, or was not measured.
    """

    step: str
    choosing_gain_db: float | None
    gain_db: Interval | None
    kept: bool

    @property
    def nothing(self) -> str:
        """Why there was nothing to do, if there was not."""
        return _NOTHING[self.step]


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
        steps.append(_step(EQUALIZED, integer, other, judges))
        if steps[-1].kept:
            chosen, integer = rescaled, other
    if biases_corrected:
        other = correct_biases(chosen.model, integer, sources.pictures, source=source)
        steps.append(_step(CORRECTED, integer, other, judges))
        if steps[-1].kept:
            integer = other
    folded = Folded(integer, ()) if keep_clip else fold(integer, source=source)
    graph = Graph(folded.model)
    in_float = tuple(
        f"{operator.kind} {layer_name(graph, operator)}" for operator in operators_in_float(graph)
    )
    return Made(folded.model, tuple(steps), folded.removed, in_float)


def _step(name: str, before: bytes, after: bytes, judges: Judges | None) -> Step:
    """Say what a step gave."""
    if before == after:
        return Step(name, None, None, kept=False)
    if judges is None:
        return Step(name, None, None, kept=True)
    gain = paired_bootstrap(judges.choosing(after), judges.choosing(before))
    confirmed = None
    if judges.confirming is not None:
        confirmed = paired_bootstrap(judges.confirming(after), judges.confirming(before))
    return Step(name, gain.mean, confirmed, kept=gain.low > 0)
