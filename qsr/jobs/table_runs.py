"""What the folder of a row's training says of it."""

import json
from dataclasses import dataclass
from pathlib import Path

from qsr.errors import ModelError, UsageError
from qsr.training.recipe_files import parse_recipe


@dataclass(frozen=True, kw_only=True)
class TrainingRun:
    """A training, as its folder describes it.

    Attributes:
        steps: of all its stages together.
        epochs: of all its stages together.
        lacks_added_data: whether a stage adds images to the others, and was given none.
    """

    steps: int
    epochs: int
    lacks_added_data: bool

    def is_of(self, steps: int) -> bool:
        """Whether this is the training that is made of so many steps, rounded to whole epochs."""
        return 2 * abs(self.steps - steps) <= self.epochs


def trained_model(runs: Path, recipe: str) -> Path:
    """Return where the finished training of a recipe leaves its network."""
    return runs / recipe / "model.keras"


def description(runs: Path, recipe: str) -> Path:
    """Return where the training of a recipe, finished or not, says what it is of."""
    return runs / recipe / "recipe.json"


def read_run(runs: Path, recipe: str) -> TrainingRun | None:
    """Read what the training of a recipe says of itself; None if it says nothing.

    Raises:
        ModelError: what it says cannot be read, or is of another recipe.
    """
    path = description(runs, recipe)
    if not path.exists():
        return None
    try:
        written = json.loads(path.read_text(encoding="utf-8"))
        loaded = parse_recipe(written["recipe"], source=str(path))
        stages = loaded.stages[int(written["first stage"]) - 1 :]
        added = written.get("added images")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, UsageError) as error:
        raise ModelError(f"{path}: not readable: {error}") from error
    if loaded.name != recipe:
        raise ModelError(
            f"{path.parent}: holds a training of {loaded.name}, not of {recipe}; move it to a "
            "folder of its own name"
        )
    return TrainingRun(
        steps=len(stages) * loaded.training.steps,
        epochs=len(stages) * loaded.training.epochs,
        lacks_added_data=not added and any(stage.added_data for stage in stages),
    )
