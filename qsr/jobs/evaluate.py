"""Scores of several models on several sets of images."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory

from qsr.data.bundled import write_bundled
from qsr.data.decoded import DecodedPairs, decode
from qsr.data.pairs import find_pairs
from qsr.errors import ModelError, UsageError
from qsr.evaluation import Evaluation, evaluate, evaluate_bicubic
from qsr.images import MAX_FACTOR
from qsr.jobs.images import check_there, usable
from qsr.jobs.models import load_any
from qsr.jobs.progress import Progress, silent
from qsr.models.zoo import BICUBIC
from qsr.tflite.runtime import ModelFacts, inspect_model

_SSIM_WINDOW = 11  # pixels along a side, which must fit when the border is shaved off


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
    if not 1 <= scale <= MAX_FACTOR:
        raise UsageError(f"--scale must be 1 to {MAX_FACTOR}, not {scale}")
    check_there(data)
    loaded = {model: load_any(model) for model in models if model != BICUBIC}
    facts = {model: inspect_model(content, source=model) for model, content in loaded.items()}
    scale = _common_scale(facts, scale)
    to_score = 2 + ceil(_SSIM_WINDOW / scale)  # one LR pixel's worth is shaved off each border
    least_lr = max([to_score, *(fact.smallest_side for fact in facts.values())])
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


def _common_scale(facts: Mapping[str, ModelFacts], default: int) -> int:
    """Return the scale of all models."""
    scales = {fact.scale: model for model, fact in facts.items()}
    if len(scales) > 1:
        (one, first), (other, second) = list(scales.items())[:2]
        raise ModelError(
            f"{first} enlarges x{one} and {second} x{other}; compare models of one scale"
        )
    return next(iter(scales), default)
