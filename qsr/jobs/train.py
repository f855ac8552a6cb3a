"""Training from a recipe on folders of images."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from qsr.data.bundled import write_bundled
from qsr.data.layouts import has_split
from qsr.errors import ImageError, UsageError
from qsr.jobs.images import LEAST_LR_TO_SCORE, check_there, usable_for_training
from qsr.jobs.progress import Progress, silent
from qsr.jobs.run_folder import RUNS
from qsr.training.recipe import smoke_size
from qsr.training.recipe_files import load_recipe
from qsr.training.train import Progress as TrainingProgress
from qsr.training.train import TrainingResult, check_start, train

__all__ = ["TrainingProgress", "train_recipe"]


def train_recipe(
    recipe: str,
    data: Sequence[Path] = (),
    *,
    added_data: Sequence[Path] = (),
    validation: Sequence[Path] = (),
    out: Path | None = None,
    overrides: Sequence[str] = (),
    weights: Path | None = None,
    first_stage: int = 1,
    smoke: bool = False,
    skip_bad_images: bool = False,
    decoded: Path | None = None,
    on_progress: Progress = silent,
    on_steps: Callable[[TrainingProgress], None] | None = None,
) -> TrainingResult:
    """Train the network of a recipe, or go on where an earlier run was stopped.

    Args:
        recipe: name of a shipped recipe, or the path of a ``.toml`` file.
        data: folders of photographs or of LR/HR images; may be empty only with ``smoke``, which
            then takes the bundled photographs.
        added_data: the same, for the stages that train on an added data set too.
        validation: the same, to validate on; if empty, the validation images that ``data`` itself
            has (DIV2K), or else every tenth training image, at most ten, held out.
        out: run folder; ``runs/train-<recipe>`` if None.
        overrides: ``section.field=value``.
        weights: ``.keras`` file of the same network to start from.
        first_stage: the stage to start with, counted from 1.
        smoke: shorten everything to some seconds, to see that it works.
        skip_bad_images: leave unusable and too small images out instead of stopping.
        decoded: folder for the decoded images in place of that in ``out``, to share them with the
            next training.
        on_progress: called while images are checked and decoded.
        on_steps: called every 50 steps.

    Returns:
        Paths and numbers of the finished training.

    Raises:
        ImageError: a folder or an image is unusable.
        ModelError: the loss is no longer finite, or ``weights`` are of another network.
        StudyError: the folder belongs to another training.
        UsageError: the recipe is wrong, no data is given, or data that no stage adds.
    """
    loaded = load_recipe(recipe, overrides)
    if smoke:
        loaded = smoke_size(loaded)
    check_start(loaded, weights, first_stage)
    out = out or RUNS / f"train-{loaded.name}"
    if not data and not smoke:
        raise UsageError("give at least one folder of images with --data")
    adding = [number for number, stage in enumerate(loaded.stages, start=1) if stage.added_data]
    if added_data and not any(number >= first_stage for number in adding):
        raise UsageError(
            "--added-data is given, and no stage that is trained adds data; give it with --data, "
            "or set stages.N.added_data=true"
        )
    check_there([*data, *added_data, *validation])
    with TemporaryDirectory(prefix="qsr-") as scratch:
        if not data:
            data, validation = ([side] for side in write_bundled(Path(scratch)))

        found = partial(usable_for_training, skip_bad=skip_bad_images, on_progress=on_progress)
        scale, patch = loaded.model.scale, loaded.training.lr_patch_px
        training_pairs = found(data, scale, patch, "train")
        added_pairs = found(added_data, scale, patch, "train") if added_data else ()
        validation = validation or [folder for folder in data if has_split(folder, "valid")]
        validation_pairs = (
            found(validation, scale, LEAST_LR_TO_SCORE, "valid") if validation else ()
        )
        if adding and not added_data:
            note = f"no --added-data: stage {adding[0]} trains on --data alone"
            on_progress("check images", len(training_pairs), len(training_pairs), note)
        bad: list[ImageError] = []
        return train(
            loaded,
            training_pairs,
            validation_pairs,
            out,
            added_pairs=added_pairs,
            weights=weights,
            first_stage=first_stage,
            decoded=decoded,
            on_bad=bad.append if skip_bad_images else None,
            on_decode=lambda done, total: on_progress(
                "decode images", done, total, f"{len(bad)} left out" if bad else ""
            ),
            on_progress=on_steps,
        )
