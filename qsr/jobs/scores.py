"""PSNR of a model on each of many images, measured by all workers."""

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from math import nan

from qsr.calibration.executor import completed
from qsr.errors import ModelError
from qsr.evaluation import PsnrScore

_PARTS = 16
"""Pieces that the images are cut into, so that all workers share them."""


@dataclass(frozen=True)
class ScoreOrNan:
    """Scores an integer model on each image, by NaN if TFLite cannot run it.

    Attributes:
        psnr: scores models that it can run.
    """

    psnr: PsnrScore

    def __call__(self, model: bytes) -> list[float]:
        """Return the PSNR of a ``.tflite`` file's content on each image, in dB."""
        try:
            return self.psnr(model)
        except ModelError:
            return [nan] * len(self.psnr.pairs)

    def part(self, index: int, count: int) -> "ScoreOrNan":
        """Return the score on one of ``count`` parts of the images."""
        return ScoreOrNan(self.psnr.part(index, count))


def shared_score(
    model: bytes,
    *,
    score: PsnrScore | ScoreOrNan,
    images: int,
    executor: Executor | None,
    on_scored: Callable[[int], None] | None = None,
) -> tuple[float, ...]:
    """Return a model's score on each image, each measured by one worker.

    Args:
        model: content of the ``.tflite`` file.
        score: measures it.
        images: their number.
        executor: runs the workers; None measures here.
        on_scored: called with the number of images that are measured, if given.

    Raises:
        ModelError: the model cannot be run, with a :class:`~qsr.evaluation.PsnrScore`.
    """
    one_go = executor is None and on_scored is None
    count = 1 if one_go else min(_PARTS, images)
    parts = [(index, (index, count)) for index in range(count)]
    scores: dict[int, list[float]] = {}
    for index, found in completed(_score_of_part, (model, score), parts, executor):
        scores[index] = found
        if on_scored is not None:
            on_scored(sum(len(part) for part in scores.values()))
    return tuple(one for index in range(count) for one in scores[index])


def _score_of_part(
    shared: tuple[bytes, PsnrScore | ScoreOrNan], part: tuple[int, int]
) -> list[float]:
    """Score a model on a part of the images; runs in a worker."""
    model, score = shared
    return score.part(*part)(model)
