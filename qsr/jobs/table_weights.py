"""Where the weights of a table's rows come from."""

import json
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from qsr.errors import ModelError, UsageError
from qsr.jobs.table_report import Measured
from qsr.jobs.table_training import trained_model
from qsr.models.provenance import Parameters
from qsr.models.weights import load_weights_into
from qsr.models.zoo import BICUBIC, build, pretrained_path, provenance
from qsr.quiet import import_tensorflow
from qsr.tables.paper import PaperRow
from qsr.tflite.convert import convert_keras
from qsr.training.recipe import Recipe
from qsr.training.recipe_files import load_recipe, parse_recipe

if TYPE_CHECKING:
    import tf_keras


@dataclass(frozen=True)
class FloatRow:
    """A row with its float model.

    Attributes:
        measured: weights, origin, steps and parameters.
        model: content of the float ``.tflite`` file; None if there are no weights.
    """

    measured: Measured
    model: bytes | None


def float_row(row: PaperRow, runs: Path, broken: str | None = None) -> FloatRow:
    """Find the weights of a row, check that they are of its network, and convert them.

    They are those of a training in ``runs``, or, for the published network of a zoo entry, those
    that ship with qsr.

    Args:
        row: of a table.
        runs: where trainings lie, each in a folder named as its recipe.
        broken: why the training of the row broke down, if it did.

    Raises:
        ModelError: the weights are of another network than the row's, or of another recipe.
    """
    if row.network == BICUBIC or row.recipe is None:
        return FloatRow(Measured(origin="formula"), None)
    recipe = load_recipe(row.recipe)
    import_tensorflow()
    model = build(recipe.network, recipe.model)
    trained = trained_model(runs, row.recipe)
    if trained.exists():
        found = Measured(weights=str(trained), origin="run", steps=_steps(row, trained.parent))
    elif (path := _shipped(recipe)) is not None:
        known = provenance(recipe.network)
        found = Measured(
            weights=str(path), origin="shipped", steps=None if known is None else known.steps
        )
    else:
        unfinished = (trained.parent / "recipe.json").exists()
        why = broken or ("its training is not finished" if unfinished else "not trained")
        return FloatRow(Measured(parameters=_parameters(model), missing=why), None)
    assert found.weights is not None  # noqa: S101 (of both kinds)
    try:
        load_weights_into(model, Path(found.weights))
        content = convert_keras(model, source=found.weights)
    except ModelError as error:
        raise ModelError(f"row {row.name} ({row.recipe}): {error}") from error
    return FloatRow(
        Measured(
            weights=found.weights,
            origin=found.origin,
            steps=found.steps,
            parameters=_parameters(model),
        ),
        content,
    )


def _shipped(recipe: Recipe) -> Path | None:
    """Return the weights that ship with qsr for this recipe, if they do."""
    try:
        path = pretrained_path(recipe.network)
    except UsageError:  # none ship
        return None
    return path if path.stem == recipe.name else None


def _steps(row: PaperRow, run: Path) -> int | None:
    """Return the steps that a training took, as it wrote them down; None if it did not."""
    path = run / "recipe.json"
    if not path.exists():
        return None
    try:
        written = json.loads(path.read_text(encoding="utf-8"))
        recipe = parse_recipe(written["recipe"], source=str(path))
        stages = len(recipe.stages) - int(written["first stage"]) + 1
    except (OSError, ValueError, KeyError, TypeError, UsageError) as error:
        raise ModelError(f"row {row.name}: {path}: not readable: {error}") from error
    if recipe.name != row.recipe:
        raise ModelError(
            f"row {row.name}: {run}: holds a training of {recipe.name}, not of {row.recipe}; move "
            "it to a folder of its own name"
        )
    return stages * recipe.training.steps


def _parameters(model: "tf_keras.Model") -> Parameters:
    trained, frozen = (
        sum(prod(weight.shape) for weight in weights)
        for weights in (model.trainable_weights, model.non_trainable_weights)
    )
    return Parameters(trained=trained, frozen=frozen)
