"""The trainings behind the rows of a table, one after the other, each with the same budget."""

import gc
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from qsr.atomic import locked
from qsr.errors import ModelError, StudyError, UsageError
from qsr.jobs.images import check_there
from qsr.jobs.progress import Progress, silent
from qsr.jobs.run_folder import RUNS
from qsr.jobs.table_runs import read_run, trained_model
from qsr.jobs.train import TrainingProgress, train_recipe
from qsr.tables.paper import PaperRow
from qsr.training.recipe_files import load_recipe

TABLE_RUNS = RUNS / "tables"
"""Where the trainings of the rows lie unless the user says otherwise."""

_LOCK = ".qsr-decoded-lock"  # held while rows are trained on what is decoded beside it


@dataclass(frozen=True, kw_only=True)
class RowTraining:
    """How missing rows are trained.

    Attributes:
        data: folders of images to train on.
        added_data: folders that stages with ``added_data`` train on too.
        validation: folders to validate on; if empty, the validation images that ``data`` itself has
            (DIV2K), or else images held out of it.
        steps: steps of each row, all stages together, rounded to whole epochs; None takes those of
            its recipe.
        overrides: ``section.field=value`` for every recipe.
    """

    data: Sequence[Path]
    added_data: Sequence[Path] = ()
    validation: Sequence[Path] = ()
    steps: int | None = None
    overrides: Sequence[str] = ()


def train_rows(
    rows: Sequence[PaperRow],
    training: RowTraining,
    *,
    runs: Path = TABLE_RUNS,
    skip_bad_images: bool = False,
    on_progress: Progress = silent,
    on_steps: Callable[[str, TrainingProgress], None] | None = None,
) -> Mapping[str, str]:
    """Train the rows that ``runs`` has no finished training of; go on with unfinished ones.

    A training whose loss is no longer finite is given up, and the next row is trained. If steps are
    given, all rows are to have them: a finished training of other steps is an error.

    Args:
        rows: of a table; those without recipe are passed over.
        training: how.
        runs: the folder of a recipe's training is named as the recipe, in here.
        skip_bad_images: leave unusable and too small images out instead of stopping.
        on_progress: called while images are checked and decoded, and after each row.
        on_steps: called with the recipe every 50 steps.

    Returns:
        Recipes that broke down, and in one line why.

    Raises:
        ImageError: a folder or an image is unusable.
        ModelError: what a finished training says of itself cannot be read, or is of another recipe.
        StudyError: a folder in ``runs`` belongs to another training, or one of other steps.
        UsageError: a recipe does not take the overrides, or has more epochs than steps are given.
    """
    check_there([*training.data, *training.added_data, *training.validation])
    recipes = list(dict.fromkeys(row.recipe for row in rows if row.recipe is not None))
    overrides = {recipe: _overrides(recipe, training) for recipe in recipes}
    if training.steps is not None:
        _check_steps(runs, recipes, training.steps)
    broken: dict[str, str] = {}
    missing = [recipe for recipe in recipes if not trained_model(runs, recipe).exists()]
    with _decoded_images(runs) if missing else nullcontext() as decoded:
        for done, recipe in enumerate(missing):
            on_progress("train rows", done, len(missing), recipe)
            stages = load_recipe(recipe, overrides[recipe]).stages
            try:
                train_recipe(
                    recipe,
                    training.data,
                    added_data=training.added_data if any(one.added_data for one in stages) else (),
                    validation=training.validation,
                    out=runs / recipe,
                    overrides=overrides[recipe],
                    skip_bad_images=skip_bad_images,
                    decoded=decoded,
                    on_progress=on_progress,
                    on_steps=_named(on_steps, recipe),
                )
            except StudyError as error:
                raise StudyError(f"{error} (with qsr table: another --runs)") from error
            except ModelError as error:
                broken[recipe] = str(error)
            _let_go()
            on_progress("train rows", done + 1, len(missing), recipe)
    return broken


@contextmanager
def _decoded_images(runs: Path) -> Iterator[Path]:
    """Hold a folder of decoded images that the rows share; removed when all of them are trained.

    Raises:
        StudyError: another process trains rows with it, or it cannot be made.
    """
    folder = runs / "decoded"
    with ExitStack() as held:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            held.enter_context(locked(folder / _LOCK))
        except BlockingIOError as error:
            raise StudyError(
                f"{runs}: another qsr table trains rows there; wait for it, or give another --runs"
            ) from error
        except OSError as error:
            raise StudyError(f"{folder}: cannot be made: {error.strerror}") from error
        yield folder
        shutil.rmtree(folder, ignore_errors=True)


def _overrides(recipe: str, training: RowTraining) -> list[str]:
    """Return the overrides of a recipe, so that it takes the steps that were asked for."""
    overrides = list(training.overrides)
    loaded = load_recipe(recipe, overrides)
    if training.steps is None:
        return overrides
    epochs = loaded.training.epochs * len(loaded.stages)
    if training.steps < epochs:
        raise UsageError(
            f"--steps {training.steps}: {recipe} has {epochs} epochs, so give at least as many "
            "steps, or fewer epochs with --set training.epochs=..."
        )
    return [*overrides, f"training.steps_per_epoch={round(training.steps / epochs)}"]


def _check_steps(runs: Path, recipes: Sequence[str], steps: int) -> None:
    """Raise StudyError if a finished training took other steps than are asked for.

    Weights without a word on their training are taken: they may have been copied there.
    """
    for recipe in recipes:
        if not trained_model(runs, recipe).exists():
            continue
        run = read_run(runs, recipe)
        if run is not None and not run.is_of(steps):
            raise StudyError(
                f"{runs / recipe}: holds a finished training of {run.steps:,} steps, and rows of "
                f"{steps:,} are asked for; give another --runs, or --steps {run.steps}, or move "
                "the folder away"
            )


def _named(
    on_steps: Callable[[str, TrainingProgress], None] | None, recipe: str
) -> Callable[[TrainingProgress], None] | None:
    if on_steps is None:
        return None
    return lambda state: on_steps(recipe, state)


def _let_go() -> None:
    """Free what a training leaves in memory: many follow."""
    import tf_keras

    tf_keras.backend.clear_session()
    gc.collect()
