"""What can be done to an integer model once the search has chosen: each step kept if it helps."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import fsum

from qsr.calibration import Interval, RangeTable, Scheme, Study, quantize
from qsr.calibration.bootstrap import paired_bootstrap
from qsr.calibration.study import best_of
from qsr.quantization.bias_correction import correct_biases
from qsr.tflite.runtime import Image

Score = Callable[[bytes], Sequence[float]]
"""PSNR of an integer model on each image, in dB."""


@dataclass(frozen=True)
class Refinement:
    """What a step gave.

    Attributes:
        step: what was done.
        choosing_gain_db: by how much mean PSNR grew on the images that chose.
        gain_db: the same on the images that confirm, with its interval.
        kept: whether the step is part of the model: whether it helped on the images that chose.
    """

    step: str
    choosing_gain_db: float
    gain_db: Interval
    kept: bool


def tuning_gain(
    study: Study,
    float_model: bytes,
    table: RangeTable,
    scheme: Scheme,
    *,
    choosing: Score,
    confirming: Score,
) -> Refinement:
    """Say what tuning its ranges gave the chosen model of a search with a tuned strategy.

    Args:
        study: of the search.
        float_model: content of the ``.tflite`` file that was searched for.
        table: the ranges of every candidate.
        scheme: how it was quantized.
        choosing: scores a model on the images that chose.
        confirming: scores it on those that confirm.
    """
    proposed = (trial for trial in study.trials if not trial.proposal.factors)
    untuned = best_of(proposed) or study.baseline
    before = quantize(float_model, untuned.proposal.ranges(table), scheme)
    return _compared("tuned ranges", before, study.model, choosing, confirming)


def corrected_if_better(
    float_model: bytes,
    integer_model: bytes,
    pictures: Sequence[Image],
    *,
    choosing: Score,
    confirming: Score,
    source: str,
) -> tuple[bytes, Refinement]:
    """Correct an integer model's biases, if it is then better on the images that chose.

    Args:
        float_model: content of the float ``.tflite`` file.
        integer_model: content of the integer one.
        pictures: LR ``(h, w, 3)`` ``uint8``, none of them of the images that confirm.
        choosing: scores a model on the images that chose.
        confirming: scores it on those that confirm.
        source: named in errors.

    Returns:
        The better model of the two, and what correction gave.

    Raises:
        ModelError: a model cannot be run.
    """
    corrected = correct_biases(float_model, integer_model, pictures, source=source)
    found = _compared("corrected biases", integer_model, corrected, choosing, confirming)
    return corrected if found.kept else integer_model, found


def _compared(
    step: str, before: bytes, after: bytes, choosing: Score, confirming: Score
) -> Refinement:
    """Measure both models on both halves."""
    old, new = choosing(before), choosing(after)
    gain = fsum(new) / len(new) - fsum(old) / len(old)
    return Refinement(step, gain, paired_bootstrap(confirming(after), confirming(before)), gain > 0)
