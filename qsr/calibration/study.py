"""What a search found: its trials, the best of them, and what that one is worth elsewhere."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import isnan

from qsr.calibration.bootstrap import Interval
from qsr.calibration.proposal import Proposal


@dataclass(frozen=True)
class Trial:
    """One proposal, quantized, and measured as far as it took.

    Attributes:
        proposal: what the ranges were made from.
        score: value of the objective; higher is better. NaN if there is no integer model with these
            ranges or it could not be run, and an estimate if the trial was dropped.
        item_scores: score of each selection item, in the caller's units; empty if dropped.
        model_hash: SHA-256 of the integer model; empty if TFLite refuses to make it. Trials of one
            hash are one model.
    """

    proposal: Proposal
    score: float
    item_scores: tuple[float, ...]
    model_hash: str

    @property
    def images(self) -> tuple[str, ...]:
        """Names of the images whose ranges entered."""
        return self.proposal.images

    @property
    def dropped(self) -> bool:
        """Whether it was not measured on every item: a race dropped it, or there is no model."""
        return not self.item_scores


@dataclass(frozen=True)
class Confirmation:
    """The winner and the baseline on items that took no part in choosing.

    Attributes:
        best: score of each item for the winner.
        baseline: the same for the baseline.
        gain: the mean difference of the two, with its paired bootstrap interval.
    """

    best: tuple[float, ...]
    baseline: tuple[float, ...]
    gain: Interval


@dataclass(frozen=True)
class Study:
    """A finished search.

    Attributes:
        trials: the baseline, then every trial in the order in which the strategy asked for them,
            whatever the order in which they were finished.
        best: the trial of the highest score among those that were measured in full; of equals, the
            first.
        baseline: what the winner is compared with.
        model: content of the winner's integer ``.tflite`` model.
        distinct_models: number of different integer models among the trials.
        resumed: number of models that an earlier run had measured in full.
        confirmation: what winner and baseline are worth elsewhere; None if it was not asked for.
    """

    trials: tuple[Trial, ...]
    best: Trial
    baseline: Trial
    model: bytes
    distinct_models: int
    resumed: int
    confirmation: Confirmation | None


def best_of(trials: Iterable[Trial]) -> Trial | None:
    """Return the trial of the highest score among those measured in full; of equals, the first.

    None if each was dropped or could not be run.
    """
    finished = [trial for trial in trials if not trial.dropped and not isnan(trial.score)]
    return max(finished, key=lambda trial: trial.score, default=None)
