"""What can be done to an integer model once the search has chosen: each step kept if it helps."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from math import inf, isnan

from qsr.calibration import Ranges, RangeTable, Scheme, Study, collect, quantize
from qsr.calibration.study import Trial, best_of
from qsr.errors import ModelError, UsageError
from qsr.jobs.kept_results import KeptResults
from qsr.jobs.steps import CORRECTED, FITTED, ROUNDED, TUNED, Judges, Step, judged
from qsr.quantization.bias_correction import correct_biases
from qsr.quantization.fitted_ranges import count_values
from qsr.quantization.weight_rounding import round_weights
from qsr.tflite.runtime import Image

_CUT_WEIGHTS = (1.0, 3.0, 10.0)
"""How much what ranges cut off may count: the images that choose tell."""


@dataclass(frozen=True, kw_only=True)
class Refining:
    """What is to be done to the chosen model of a search, in this order; by default nothing.

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

    @classmethod
    def every(cls, scheme: Scheme) -> "Refining":
        """Return every step that is for a scheme."""
        return cls(
            tuned=True,
            weights_rounded=True,
            ranges_fitted=_cuts(scheme),
            biases_corrected=True,
        )

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
        if self.ranges_fitted and not _cuts(scheme):
            raise UsageError(
                f"ranges are fitted (--fit-ranges) for activations of 8 bits, "
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
    steps: tuple[Step, ...]

    @property
    def refined(self) -> bool:
        """Whether it is another model than quantizing with the trial's own ranges makes."""
        return any(step.kept for step in self.steps if step.step != TUNED)


def refined(
    study: Study,
    float_model: bytes,
    table: RangeTable,
    scheme: Scheme,
    wanted: Refining,
    *,
    pictures: Sequence[Image],
    judges: Judges,
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
        pictures: LR ``(h, w, 3)`` ``uint8`` of candidates.
        judges: score models on the images that chose and on those that confirm; asked for some
            models more than once.
        kept: what an earlier run has made and measured; what is made now is added.
        source: named in errors.
        on_model: called with the number of models made and measured so far, of ``wanted.models``.

    Raises:
        ModelError: the float model cannot be run or quantized.
        StudyError: a result cannot be kept.
    """

    def rounded(integer: bytes) -> bytes | None:
        rounds = partial(round_weights, float_model, integer, pictures, source=source)
        return _if_possible(lambda: kept.made_once(ROUNDED, integer, rounds))

    def corrected(integer: bytes) -> bytes | None:
        corrects = partial(correct_biases, float_model, integer, pictures, source=source)
        return _if_possible(lambda: kept.made_once(CORRECTED, integer, corrects))

    def fitted(ranges: Ranges) -> bytes | None:
        plain = _if_possible(lambda: quantize(float_model, ranges, scheme, source=source))
        return rounded(plain) if plain is not None and rounding else plain

    done = count(1)
    trial, model = study.best, study.model
    steps = []
    if wanted.tuned:
        untuned = best_of(one for one in study.trials if not one.proposal.factors)
        untuned = untuned or study.baseline
        before = quantize(float_model, untuned.proposal.ranges(table), scheme, source=source)
        step = judged(TUNED, before, model, judges)
        if not step.kept:
            trial, model = untuned, before
        steps.append(step)
        on_model(next(done))
    ranges = trial.proposal.ranges(table)
    rounding = False
    if wanted.weights_rounded:
        model, step = _better(ROUNDED, model, rounded(model), judges)
        rounding = step.kept
        steps.append(step)
        on_model(next(done))
    if wanted.ranges_fitted:
        counted = count_values(float_model, table.merged(), pictures, source=source)
        tried = []
        for weight in _CUT_WEIGHTS:
            others = counted.fitted(weight)
            other = fitted(others)
            value = -inf if other is None else judges.worth(other)
            tried.append((-inf if isnan(value) else value, other, others))
            on_model(next(done))
        _, other, others = max(tried, key=lambda one: one[0])
        model, step = _better(FITTED, model, other, judges)
        ranges = others if step.kept else ranges
        steps.append(step)
    if wanted.biases_corrected:
        model, step = _better(CORRECTED, model, corrected(model), judges)
        steps.append(step)
        on_model(next(done))
    return Refined(trial, model, ranges, tuple(steps))


def network_gain(
    step: str,
    before: bytes,
    after: bytes,
    scheme: Scheme,
    *,
    pictures: Sequence[Image],
    judges: Judges,
    source: str,
) -> Step:
    """Say what a change of the float model before the search gave on images that it never saw.

    Both float models are quantized with the ranges of the same pictures together.

    Args:
        step: what was done to the float model, and kept.
        before: content of the float ``.tflite`` file as it was.
        after: the same after the step.
        scheme: how to quantize.
        pictures: LR ``(h, w, 3)`` ``uint8`` of candidates.
        judges: score a model on the images that chose and on those that confirm.
        source: named in errors.

    Raises:
        ModelError: a model cannot be run or quantized.
    """
    named = {str(number): picture for number, picture in enumerate(pictures)}
    plain, other = (
        quantize(one, collect(one, named, source=source).merged(), scheme, source=source)
        for one in (before, after)
    )
    return replace(judged(step, plain, other, judges), kept=True)


def _better(name: str, model: bytes, other: bytes | None, judges: Judges) -> tuple[bytes, Step]:
    """Return the other model if that step is kept, or else the model; and what the step gave."""
    step = judged(name, model, other, judges)
    return (other if step.kept and other is not None else model), step


def _if_possible(make: Callable[[], bytes]) -> bytes | None:
    """Return what is made; None where the model has no such form: nothing is lost by it."""
    try:
        return make()
    except ModelError:
        return None


def _cuts(scheme: Scheme) -> bool:
    """Whether ranges cut values off that their grids have no room for: 16 bits have it."""
    return scheme.activation_bits == 8  # noqa: PLR2004
