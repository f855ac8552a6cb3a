"""What a search for representative images reports."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isnan

import numpy as np

from qsr.calibration import Interval, Study, Trial
from qsr.calibration.objective import Objective
from qsr.calibration.ranges import Reader
from qsr.calibration.scheme import Scheme
from qsr.jobs.steps import Step


@dataclass(frozen=True)
class ModelScore:
    """An integer model of the search; PSNR is over RGB, drops are from the float model.

    Attributes:
        images: the images whose ranges entered.
        statistic: how they entered: ``extremes`` for a representative data set.
        tuned_tensors: number of tensors whose range was tuned afterwards.
        objective_db: what was maximised on the images that chose: their mean PSNR, or minus what
            the worst or the 5th percentile of them loses; NaN if TFLite cannot run the model, as
            happens to one whose ranges are of a black image.
        estimated: whether ``objective_db`` was estimated on tiles: the model was dropped early.
        psnr_db: mean over the images that confirm; None if not measured.
        drop_db: how far that lies below the float model, its output rounded to 8 bits.
        worst_drop_db: of the image that loses most among those that confirm.
        refined: whether weights, ranges or biases are others than quantizing with these images
            makes; all scores are of the model as it is then.
    """

    images: tuple[str, ...]
    statistic: str
    tuned_tensors: int
    objective_db: float
    estimated: bool
    psnr_db: float | None = None
    drop_db: float | None = None
    worst_drop_db: float | None = None
    refined: bool = False


@dataclass(frozen=True)
class Singles:
    """The single images of a linear search; those that a race dropped are ranked by estimates.

    Attributes:
        best: the best single image.
        median: the median one.
        worst: the worst one.
    """

    best: ModelScore
    median: ModelScore
    worst: ModelScore


@dataclass(frozen=True)
class Racing:
    """How candidates were dropped early.

    Attributes:
        tiles: number of tiles they were screened on, at most.
        error: probability, in each comparison, of dropping a model that is better by its share of
            the tolerance.
        tolerance_db: what may be lost in all rounds together.
        dropped: number of models that were dropped.
    """

    tiles: int
    error: float
    tolerance_db: float
    dropped: int


@dataclass(frozen=True)
class RepdataReport:
    """What a search for representative images found.

    Attributes:
        model: what the user called the model.
        scheme: how it was quantized.
        reader: how the ranges were read.
        strategy: what was tried.
        objective: what was maximised.
        candidates: number of candidate images.
        trials: number of sets or statistics tried.
        distinct_models: number of different integer models among them.
        measured_models: number of those measured on every selection image.
        selection_images: number of images that chose.
        confirmation_images: number of images that chose nothing.
        selection_names: names of those that chose.
        confirmation_names: names of those that confirm.
        validation: the folder that the validation images lie in, as an absolute path.
        fp32_psnr_db: mean RGB PSNR of the float model on the confirmation images, its output
            rounded to 8 bits.
        chosen: the best of all.
        baseline: all candidates together as one representative data set, the usual practice.
        gain_db: how much less the chosen model loses than the baseline, on the confirmation images.
        tried: the best of what the strategy tried, be it better than the baseline or not.
        singles: the single images, if the strategy tried them.
        racing: how candidates were dropped early; None if none was.
        shared_images: validation images that are candidates too, or copies of images that chose,
            found by their pixels. They may have helped to choose, and took no part in confirming.
        equalization: what equalizing the network's channels before the search gave; None if they
            were not, or if nothing was to be done after the search either.
        splitting: what splitting channels before the search gave; None if none were.
        refinements: what was done to the chosen model after the search, and what each step gave.
        removed: kinds of the integer model's operators that were removed, as they copy bytes.
        notes: one line on each thing that the user should know.
        skipped: one line on each image that was left out as unusable.
        run_folder: where models, ranges, journal and summary lie.
        integer_model: path of the chosen model.
        resumed_models: number of models that an earlier run had measured.
        workers: number of processes; 0 on a cluster.
        seconds: time that this run took.
        stage_seconds: the same by stage.
        measured_db: what was maximised of each trial that was measured on every selection image,
            in the order in which they were asked for.
        estimated_db: its estimate for each trial that was dropped early.
    """

    model: str
    scheme: Scheme
    reader: Reader
    strategy: str
    objective: Objective
    candidates: int
    trials: int
    distinct_models: int
    measured_models: int
    selection_images: int
    confirmation_images: int
    selection_names: tuple[str, ...]
    confirmation_names: tuple[str, ...]
    validation: str
    fp32_psnr_db: float
    chosen: ModelScore
    baseline: ModelScore
    gain_db: Interval
    tried: ModelScore
    singles: Singles | None
    racing: Racing | None
    shared_images: tuple[str, ...]
    equalization: Step | None
    splitting: Step | None
    refinements: tuple[Step, ...]
    removed: tuple[str, ...]
    notes: tuple[str, ...]
    skipped: tuple[str, ...]
    run_folder: str
    integer_model: str
    resumed_models: int
    workers: int
    seconds: float
    stage_seconds: Mapping[str, float]
    measured_db: tuple[float, ...]
    estimated_db: tuple[float, ...]


def steps_around(report: RepdataReport) -> tuple[Step, ...]:
    """Return what was done before the search and after it, and what each step gave."""
    before = (report.equalization, report.splitting)
    return (*(step for step in before if step is not None), *report.refinements)


def model_score(
    trial: Trial,
    confirmed: Sequence[float] | None = None,
    fp32: Sequence[float] | None = None,
) -> ModelScore:
    """Return what is known of a trial.

    Args:
        trial: of the search.
        confirmed: its PSNR on each confirmation image, if measured.
        fp32: that of the float model.
    """
    found = ModelScore(
        images=trial.images,
        statistic=trial.proposal.statistic,
        tuned_tensors=len(trial.proposal.factors),
        objective_db=trial.score,
        estimated=trial.dropped,
    )
    if confirmed is None or fp32 is None:
        return found
    drops = np.subtract(fp32, confirmed)
    return replace(
        found,
        psnr_db=float(np.mean(confirmed)),
        drop_db=float(drops.mean()),
        worst_drop_db=float(drops.max()),
    )


def singles_of(study: Study) -> Singles | None:
    """Return the best, median and worst single image; None if fewer than two were tried."""
    singles = {
        trial.images: trial
        for trial in study.trials
        if len(trial.images) == 1 and trial.proposal.is_data_set
    }
    if len(singles) < 2:  # noqa: PLR2004 (one is no ranking)
        return None
    ranked = sorted(
        singles.values(),
        key=lambda trial: (not isnan(trial.score), not trial.dropped, trial.score),
        reverse=True,
    )
    best, median, worst = (
        model_score(trial) for trial in (ranked[0], ranked[len(ranked) // 2], ranked[-1])
    )
    return Singles(best, median, worst)
