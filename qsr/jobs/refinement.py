"""What can be done to an integer model once the search has chosen: each step kept if it helps."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from math import fsum

from qsr.calibration import Interval, Ranges, RangeTable, Scheme, Study, collect, quantize
from qsr.calibration.bootstrap import paired_bootstrap
from qsr.calibration.study import Trial, best_of
from qsr.errors import UsageError
from qsr.jobs.equalization import Equalization
from qsr.jobs.kept_results import KeptResults, Score
from qsr.quantization.bias_correction import correct_biases
from qsr.quantization.fitted_ranges import count_values
from qsr.quantization.weight_rounding import round_weights
from qsr.tflite.runtime import Image

_CUT_WEIGHTS = (1.0, 3.0, 10.0)
"""How much what ranges cut off may count: the images that choose tell."""


@dataclass(frozen=True)
class Refinement:
    """What a step gave.

    Attributes:
        step: what was done.
        choosing_gain_db: by how much mean PSNR grew on the images that chose.
        gain_db: the same on the images that confirm, with its interval.
        kept: whether the step is part of the model: whether it helped on the images that chose, by
            more than what their number leaves to chance.
    """

    step: str
    choosing_gain_db: float
    gain_db: Interval
    kept: bool


@dataclass(frozen=True, kw_only=True)
class Steps:
    """What is to be done, in this order.

    Attributes:
        tuned: the search has tuned ranges; say what that gave.
        weights_rounded: round weights so that layers give what they should.
        ranges_fitted: take the activation ranges of least squared error.
        biases_corrected: give channels the float model's means.
    """

    tuned: bool = False
    weights_rounded: bool = False
    ranges_fitted: bool = False
    biases_corrected: bool = False

    @property
    def any(self) -> bool:
        """Whether anything is to be done."""
        return self.models > 0

    @property
    def models(self) -> int:
        """How many models are made and measured."""
        fitted = len(_CUT_WEIGHTS) if self.ranges_fitted else 0
        return self.tuned + self.weights_rounded + fitted + self.biases_corrected

    def check(self, scheme: Scheme) -> None:
        """Raise UsageError if a step is not for a scheme."""
        if self.ranges_fitted and scheme.activation_bits != 8:  # noqa: PLR2004
            raise UsageError(
                f"ranges are fitted (--fit-ranges, a part of --refine) for activations of 8 bits, "
                f"not of {scheme.activation_bits}, which cut nothing off"
            )


@dataclass(frozen=True)
class Refined:
    """An integer model after all steps.

    Attributes:
        trial: of the search, which the steps began with.
        model: content of the ``.tflite`` file.
        ranges: what it was quantized with.
        steps: what each step gave.
    """

    trial: Trial
    model: bytes
    ranges: Ranges
    steps: tuple[Refinement, ...]


def refined(
    study: Study,
    float_model: bytes,
    table: RangeTable,
    scheme: Scheme,
    wanted: Steps,
    *,
    objective: str,
    pictures: Sequence[Image],
    choosing: Score,
    confirming: Score,
    kept: KeptResults,
    source: str,
    on_model: Callable[[int], None],
) -> Refined:
    """Do what is wanted to the chosen model of a search, and keep each step that helps.

    Args:
        study: of the search.
        float_model: content of the ``.tflite`` file that was searched for.
        table: the ranges of every candidate.
        scheme: how it was quantized.
        wanted: the steps.
        objective: of the search. Tuned ranges are judged by it, which was done while they were
            tuned; if it is the mean, they have to help by more than chance, too.
        pictures: LR ``(h, w, 3)`` ``uint8`` of candidates.
        choosing: scores a model on the images that chose; asked for some more than once.
        confirming: scores it on those that confirm; the same.
        kept: what an earlier run has made and measured; what is made now is added.
        source: named in errors.
        on_model: called with the number of models made and measured so far, of ``wanted.models``.

    Raises:
        ModelError: a model cannot be run or quantized.
        StudyError: a result cannot be kept.
    """

    def rounded(integer: bytes) -> bytes:
        rounds = partial(round_weights, float_model, integer, pictures, source=source)
        return kept.made_once("rounded weights", integer, rounds)

    done = count(1)
    trial, model = study.best, study.model
    steps = []
    if wanted.tuned:
        untuned = best_of(one for one in study.trials if not one.proposal.factors)
        untuned = untuned or study.baseline
        before = quantize(float_model, untuned.proposal.ranges(table), scheme, source=source)
        step = _compared("tuned ranges", before, model, choosing, confirming)
        if objective != "mean":
            step = replace(step, kept=trial != untuned)
        if not step.kept:
            trial, model = untuned, before
        steps.append(step)
        on_model(next(done))
    ranges = trial.proposal.ranges(table)
    rounding = wanted.weights_rounded
    if rounding:
        model, step = better_of("rounded weights", model, rounded(model), choosing, confirming)
        rounding = step.kept
        steps.append(step)
        on_model(next(done))
    if wanted.ranges_fitted:
        counted = count_values(float_model, table.merged(), pictures, source=source)
        tried = []
        for weight in _CUT_WEIGHTS:
            fitted = counted.fitted(weight)
            other = quantize(float_model, fitted, scheme, source=source)
            if rounding:
                other = rounded(other)
            tried.append((fsum(choosing(other)), other, fitted))
            on_model(next(done))
        _, other, fitted = max(tried, key=lambda one: one[0])
        steps.append(_compared("fitted ranges", model, other, choosing, confirming))
        model, ranges = (other, fitted) if steps[-1].kept else (model, ranges)
    if wanted.biases_corrected:
        corrects = partial(correct_biases, float_model, model, pictures, source=source)
        corrected = kept.made_once("corrected biases", model, corrects)
        model, step = better_of("corrected biases", model, corrected, choosing, confirming)
        steps.append(step)
        on_model(next(done))
    return Refined(trial, model, ranges, tuple(steps))


def equalization_gain(
    found: Equalization,
    scheme: Scheme,
    *,
    pictures: Sequence[Image],
    choosing: Score,
    confirming: Score,
    source: str,
) -> Refinement:
    """Say what equalization, which was kept before the search, gave on images that it never saw.

    Both float models are quantized with the ranges of the same pictures together.

    Args:
        found: what was kept.
        scheme: how to quantize.
        pictures: LR ``(h, w, 3)`` ``uint8`` of candidates.
        choosing: scores a model on the images that chose.
        confirming: scores it on those that confirm.
        source: named in errors.

    Raises:
        ModelError: a model cannot be run or quantized.
    """
    named = {str(number): picture for number, picture in enumerate(pictures)}
    before, after = (
        quantize(one, collect(one, named, source=source).merged(), scheme, source=source)
        for one in (found.original, found.model)
    )
    return replace(
        _compared("equalized channels", before, after, choosing, confirming), kept=found.kept
    )


def better_of(
    step: str, before: bytes, after: bytes, choosing: Score, confirming: Score
) -> tuple[bytes, Refinement]:
    """Return the model that is better on the images that chose, and what the step gave.

    Args:
        step: its name.
        before: content of the integer ``.tflite`` file as it was.
        after: the same after the step.
        choosing: scores a model on the images that chose.
        confirming: scores it on those that confirm.
    """
    found = _compared(step, before, after, choosing, confirming)
    return (after if found.kept else before), found


def _compared(
    step: str, before: bytes, after: bytes, choosing: Score, confirming: Score
) -> Refinement:
    """Measure both models on both halves."""
    old, new = choosing(before), choosing(after)
    chosen = paired_bootstrap(new, old)
    confirmed = paired_bootstrap(confirming(after), confirming(before))
    return Refinement(step, chosen.mean, confirmed, kept=chosen.low > 0)
