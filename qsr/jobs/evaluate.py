"""Scores of several models on several sets of images."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory

from qsr.benchmark import (
    CHALLENGE_LR_SIZE,
    Latency,
    TimeRatio,
    host_name,
    host_times,
    summary,
    time_ratio,
)
from qsr.calibration.bootstrap import Interval, paired_bootstrap
from qsr.data.bundled import write_bundled
from qsr.data.decoded import DecodedPairs, decode
from qsr.data.pairs import find_pairs
from qsr.errors import ModelError, UsageError
from qsr.evaluation import Evaluation, ImageScore, evaluate, evaluate_bicubic
from qsr.images import MAX_FACTOR
from qsr.jobs.images import check_sets, usable
from qsr.jobs.models import load_any
from qsr.jobs.progress import Progress, silent
from qsr.models.zoo import BICUBIC
from qsr.tflite.runtime import ModelFacts, inspect_model

_ROUNDS = 10
_SSIM_WINDOW = 11  # pixels along a side, which must fit when the border is shaved off


@dataclass(frozen=True, kw_only=True)
class Drop:
    """How far a model's RGB PSNR lies below the first model's, image by image.

    Pictures of both are in 8 bits: a float model's is rounded, as an integer one can be no better.

    Attributes:
        mean_db: over the images, with its paired bootstrap confidence interval.
        worst_image: name of the image where it is largest.
        worst_db: the drop on that image.
    """

    mean_db: Interval
    worst_image: str
    worst_db: float


@dataclass(frozen=True)
class ScoresOnSet:
    """Scores of all models on one set of images.

    Attributes:
        data: the set's folder, or ``bundled photographs``.
        skipped: one line on each image that was left out as unusable.
        evaluations: per model, in the order given; the first is the reference of the others.
    """

    data: str
    skipped: tuple[str, ...]
    evaluations: tuple[Evaluation, ...]

    def drop_db(self, evaluation: Evaluation) -> float:
        """Return how far a model's mean RGB PSNR lies below the first model's, in dB."""
        return self.evaluations[0].psnr_rgb_db - evaluation.psnr_rgb_db

    @property
    def drops_db(self) -> tuple[float, ...]:
        """The drop of each model from the first, in dB; that of the first is 0."""
        return tuple(self.drop_db(evaluation) for evaluation in self.evaluations)

    @property
    def drops(self) -> tuple[Drop | None, ...]:
        """The drop of each model from the first, in full; None for the first."""
        first, *others = (evaluation.images for evaluation in self.evaluations)
        return (None, *(_drop(first, images) for images in others))


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a model costs.

    Attributes:
        model: what it is called.
        file_bytes: size of its ``.tflite`` file; None for bicubic interpolation.
        latency: time for a picture on this host; None if it was not taken.
        ratio: of its times to the first model's; None for the first, and without either's times.
        untimed: why there is no time, in a few words; empty if there is.
    """

    model: str
    file_bytes: int | None
    latency: Latency | None
    ratio: TimeRatio | None
    untimed: str


@dataclass(frozen=True, kw_only=True)
class EvaluationReport:
    """Scores and costs of models.

    Attributes:
        sets: the scores on each set.
        costs: per model, in the order given.
        lr_size: height and width of the picture that times are for, in pixels; None without times.
        threads: of the interpreter, when times were taken.
        host: processor that times were taken on.
    """

    sets: tuple[ScoresOnSet, ...]
    costs: tuple[Cost, ...]
    lr_size: tuple[int, int] | None
    threads: int
    host: str


def evaluate_with_costs(
    models: Sequence[str],
    data: Sequence[Path] = (),
    *,
    scale: int = 3,
    lr_size: tuple[int, int] | None = CHALLENGE_LR_SIZE,
    skip_bad_images: bool = False,
    on_progress: Progress = silent,
) -> EvaluationReport:
    """Score models as :func:`evaluate_models`, and find out what they cost.

    Times are taken on this host with one thread, in turns.

    Args:
        models: as there.
        data: as there.
        scale: as there.
        lr_size: height and width of the picture to take times on, in pixels; None takes none.
        skip_bad_images: leave unusable images out instead of stopping.
        on_progress: called while working.

    Returns:
        Scores and costs.

    Raises:
        ImageError: a folder or an image is unusable.
        ModelError: a model is unusable, or the models enlarge by different factors.
        UsageError: ``scale`` is no factor to enlarge by, or a side of ``lr_size`` is below 1.
    """
    if lr_size is not None and min(lr_size) < 1:
        raise UsageError(f"a picture of {lr_size[1]}x{lr_size[0]} pixels has no times")
    loaded = _loaded(models, data, scale)
    return EvaluationReport(
        sets=_scored(
            *(models, loaded, data, scale),
            skip_bad_images=skip_bad_images,
            on_progress=on_progress,
        ),
        costs=costs_of(models, loaded, lr_size, on_progress=on_progress),
        lr_size=lr_size,
        threads=1,
        host=host_name(),
    )


def evaluate_models(
    models: Sequence[str],
    data: Sequence[Path] = (),
    *,
    scale: int = 3,
    skip_bad_images: bool = False,
    on_progress: Progress = silent,
) -> tuple[ScoresOnSet, ...]:
    """Score models on folders of photographs or of LR/HR images.

    Args:
        models: each a name from the zoo, a path that :func:`load_any` takes, or ``bicubic``. The
            first is what the drops of the others are measured from.
        data: folders, of which the validation split is taken if there are several; the bundled
            validation photographs if empty.
        scale: of bicubic upscaling when no model is given beside it.
        skip_bad_images: leave unusable images out instead of stopping.
        on_progress: called while working.

    Returns:
        The scores on each set.

    Raises:
        ImageError: a folder or an image is unusable.
        ModelError: a model is unusable, or the models enlarge by different factors.
        UsageError: ``scale`` is no factor to enlarge by.
    """
    loaded = _loaded(models, data, scale)
    return _scored(
        *(models, loaded, data, scale), skip_bad_images=skip_bad_images, on_progress=on_progress
    )


def common_scale(facts: Mapping[str, ModelFacts], default: int) -> int:
    """Return the scale of all models.

    Args:
        facts: of each model, by what errors call it.
        default: the scale if there are none.

    Raises:
        ModelError: they enlarge by different factors.
    """
    scales = {fact.scale: model for model, fact in facts.items()}
    if len(scales) > 1:
        (one, first), (other, second) = list(scales.items())[:2]
        raise ModelError(
            f"{first} enlarges x{one} and {second} x{other}; compare models of one scale"
        )
    return next(iter(scales), default)


def least_lr_to_score(facts: Iterable[ModelFacts], scale: int) -> int:
    """Return the shortest side of LR images that models can be scored on, in pixels.

    Args:
        facts: of the models.
        scale: HR size over LR size.
    """
    to_score = 2 + ceil(_SSIM_WINDOW / scale)  # one LR pixel's worth is shaved off each border
    return max([to_score, *(fact.smallest_side for fact in facts)])


def costs_of(
    models: Sequence[str],
    loaded: Mapping[str, bytes],
    lr_size: tuple[int, int] | None,
    *,
    on_progress: Progress = silent,
) -> tuple[Cost, ...]:
    """Find out what models cost; a model that cannot take a picture of that size has no time.

    Args:
        models: what they are called; the first is what the times of the others are compared with.
        loaded: content of each; what is missing costs nothing known.
        lr_size: height and width of the picture to take times on, in pixels; None takes none.
        on_progress: called while working.

    Raises:
        ModelError: a model cannot be run.
    """
    untimed = {model: _untimed(model, loaded.get(model), lr_size) for model in models}
    timed = [model for model in loaded if not untimed[model]]
    taken = host_times(
        [(model, loaded[model]) for model in timed],
        lr_size=lr_size or CHALLENGE_LR_SIZE,
        rounds=_ROUNDS,
        on_round=partial(on_progress, "take times"),
    )
    times = dict(zip(timed, taken, strict=True))
    first = times.get(models[0])
    return tuple(
        Cost(
            model=model,
            file_bytes=len(loaded[model]) if model in loaded else None,
            latency=summary(times[model]) if model in times else None,
            ratio=time_ratio(times[model], first) if index and first and model in times else None,
            untimed=untimed[model],
        )
        for index, model in enumerate(models)
    )


def _loaded(models: Sequence[str], data: Sequence[Path], scale: int) -> dict[str, bytes]:
    """Load models, once what can be checked at once is."""
    if not 1 <= scale <= MAX_FACTOR:
        raise UsageError(f"--scale must be 1 to {MAX_FACTOR}, not {scale}")
    check_sets(data, split="valid")
    return {model: load_any(model) for model in models if model != BICUBIC}


def _scored(
    models: Sequence[str],
    loaded: Mapping[str, bytes],
    data: Sequence[Path],
    scale: int,
    *,
    skip_bad_images: bool,
    on_progress: Progress,
) -> tuple[ScoresOnSet, ...]:
    """Score models on all sets, once every image of each was looked at."""
    facts = {model: inspect_model(content, source=model) for model, content in loaded.items()}
    scale = common_scale(facts, scale)
    least_lr = least_lr_to_score(facts.values(), scale)
    with TemporaryDirectory(prefix="qsr-") as scratch:
        folders = list(data) or [write_bundled(Path(scratch) / "bundled")[1]]
        checked = [
            usable(
                find_pairs(folder, scale, "valid"),
                least_lr=least_lr,
                skip_bad=skip_bad_images,
                stage=f"check {folder.name}",
                on_progress=on_progress,
            )
            for folder in folders
        ]
        results = []
        for number, (folder, (pairs, skipped)) in enumerate(zip(folders, checked, strict=True)):
            images = decode(pairs, Path(scratch) / str(number))
            evaluations = []
            for model in models:
                report = partial(on_progress, f"{model} on {folder.name}")
                evaluations.append(_evaluate(model, loaded, images, report))
            shown = str(folder) if data else "bundled photographs"
            results.append(ScoresOnSet(shown, skipped, tuple(evaluations)))
    return tuple(results)


def _evaluate(
    model: str,
    loaded: Mapping[str, bytes],
    images: DecodedPairs,
    on_progress: Callable[[int, int], None],
) -> Evaluation:
    if model == BICUBIC:
        return evaluate_bicubic(
            images, scale=images.scale, names=images.names, on_progress=on_progress
        )
    return evaluate(loaded[model], images, name=model, names=images.names, on_progress=on_progress)


def _drop(first: Sequence[ImageScore], images: Sequence[ImageScore]) -> Drop:
    reference = [image.psnr_rgb_db for image in first]
    scores = [image.psnr_rgb_db for image in images]
    drops = [one - other for one, other in zip(reference, scores, strict=True)]
    worst = max(range(len(drops)), key=drops.__getitem__)
    return Drop(
        mean_db=paired_bootstrap(reference, scores),
        worst_image=images[worst].name,
        worst_db=drops[worst],
    )


def _untimed(model: str, content: bytes | None, lr_size: tuple[int, int] | None) -> str:
    """Return why no time of a model is taken; empty if one is."""
    if content is None:
        return "no model"
    if lr_size is None:
        return "not asked for"
    fixed = inspect_model(content, source=model).fixed_size
    if fixed is None or fixed == tuple(lr_size):
        return ""
    return f"takes {fixed[1]}x{fixed[0]} pixels alone"
