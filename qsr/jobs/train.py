"""Training from a recipe on folders of images."""

from collections.abc import Callable, Sequence
from pathlib import Path

from qsr.data.pairs import Pair, find_all_pairs
from qsr.errors import UsageError
from qsr.jobs.images import LEAST_LR_TO_SCORE, check_there, usable
from qsr.jobs.progress import Progress, silent
from qsr.jobs.run_folder import RUNS
from qsr.training.recipe import load_recipe
from qsr.training.train import Progress as TrainingProgress
from qsr.training.train import TrainingResult, hold_out, train

__all__ = ["TrainingProgress", "train_recipe"]


def train_recipe(
    recipe: str,
    data: Sequence[Path],
    *,
    validation: Sequence[Path] = (),
    out: Path | None = None,
    overrides: Sequence[str] = (),
    skip_bad_images: bool = False,
    on_progress: Progress = silent,
    on_steps: Callable[[TrainingProgress], None] | None = None,
) -> TrainingResult:
    """Train the network of a recipe, or go on where an earlier run was stopped.

    Args:
        recipe: name of a shipped recipe, or the path of a ``.toml`` file.
        data: folders of photographs or of LR/HR images.
        validation: the same, to validate on; if empty, every tenth training image, at most ten, is
            held out.
        out: run folder; ``runs/train-<recipe>`` if None.
        overrides: ``section.field=value``.
        skip_bad_images: leave unusable and too small images out instead of stopping.
        on_progress: called while images are checked and decoded.
        on_steps: called every 50 steps.

    Returns:
        Paths and numbers of the finished training.

    Raises:
        ImageError: a folder or an image is unusable.
        ModelError: the loss is no longer finite.
        StudyError: the folder belongs to another training.
        UsageError: the recipe is wrong, or no data is given.
    """
    loaded = load_recipe(recipe, overrides)
    if not data:
        raise UsageError("give at least one folder of images with --data")
    check_there([*data, *validation])

    def checked(folders: Sequence[Path], least_lr: int) -> Sequence[Pair]:
        pairs, skipped = usable(
            find_all_pairs(folders, loaded.model.scale),
            least_lr=least_lr,
            skip_bad=skip_bad_images,
            stage="check images",
            on_progress=on_progress,
        )
        if skipped:
            on_progress("check images", len(pairs), len(pairs), f"{len(skipped)} left out")
        return pairs

    training_pairs = checked(data, loaded.training.lr_patch_px)
    if validation:
        validation_pairs = checked(validation, LEAST_LR_TO_SCORE)
    else:
        training_pairs, validation_pairs = hold_out(training_pairs)
    return train(
        loaded,
        training_pairs,
        validation_pairs,
        out or RUNS / f"train-{loaded.name}",
        on_decode=lambda done, total: on_progress("decode images", done, total),
        on_progress=on_steps,
    )
