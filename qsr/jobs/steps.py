"""Steps that may improve an integer model: what each gave, and whether it is kept."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import nan
from statistics import fmean

from qsr.calibration import Interval
from qsr.calibration.bootstrap import paired_bootstrap
from qsr.jobs.kept_results import Score

EQUALIZED = "equalized channels"
SPLIT = "split channels"
TUNED = "tuned ranges"
ROUNDED = "rounded weights"
FITTED = "fitted ranges"
CORRECTED = "corrected biases"
_NOTHING = {
    EQUALIZED: "no layers of this network can be equalized",
    SPLIT: "no channel is worth a copy",
    TUNED: "no range is better for it",
    ROUNDED: "every weight is rounded best already",
    FITTED: "the ranges are these already",
    CORRECTED: "every bias is right already",
}


@dataclass(frozen=True)
class Judges:
    """What decides on a step, and what tells how good the decision is.

    Attributes:
        choosing: scores a model on the images that choose; by NaN if it cannot be run.
        confirming: scores it on others; None if there are too few images to divide.
        value: what is to be maximised, of the scores on the images that choose, if it is not their
            mean.
    """

    choosing: Score
    confirming: Score | None
    value: Callable[[Sequence[float]], float] | None = None

    def worth(self, model: bytes) -> float:
        """Return what is to be maximised; NaN if the model cannot be run."""
        return (self.value or fmean)(self.choosing(model))


@dataclass(frozen=True)
class Step:
    """What was done about an integer model's losses, and what it gave.

    Attributes:
        step: what was done.
        choosing_gain_db: by how much mean PSNR grew on the images that chose; None if there were
            none, or nothing to do; NaN if the model cannot be made, or not be run.
        gain_db: the same on images that took no part, with its interval; None if there were none.
        kept: whether it is part of the model: whether the mean grew on the images that chose, by
            more than what their number leaves to chance, or what is maximised in its place grew;
            or whether it was not measured.
    """

    step: str
    choosing_gain_db: float | None
    gain_db: Interval | None
    kept: bool


def judged(step: str, before: bytes, after: bytes | None, judges: Judges | None) -> Step:
    """Measure what a step gave.

    Args:
        step: its name.
        before: content of the integer ``.tflite`` file as it was.
        after: the same after the step; None if it cannot be made.
        judges: measure both; None takes the step unseen.
    """
    if after is None:
        return Step(step, nan, None, kept=False)
    if before == after:
        return Step(step, None, None, kept=False)
    if judges is None:
        return Step(step, None, None, kept=True)
    gain = paired_bootstrap(judges.choosing(after), judges.choosing(before))
    confirmed = None
    if judges.confirming is not None:
        confirmed = paired_bootstrap(judges.confirming(after), judges.confirming(before))
    mean = judges.value is None
    kept = gain.low > 0 if mean else judges.worth(after) > judges.worth(before)
    return Step(step, gain.mean, confirmed, kept=kept)


def nothing_done(step: str) -> str:
    """Return why there was nothing to do in a step of that name."""
    return _NOTHING[step]
