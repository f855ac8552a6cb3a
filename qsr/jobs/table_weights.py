"""Where the weights of a table's rows come from."""

from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from qsr.errors import ModelError, UsageError
from qsr.jobs.table_report import NOT_TRAINED, Measured
from qsr.jobs.table_runs import description, read_run, trained_model
from qsr.models.provenance import Parameters
from qsr.models.weights import load_weights_into
from qsr.models.zoo import BICUBIC, build, pretrained_path, provenance
from qsr.quiet import import_tensorflow
from qsr.tables.paper import PaperRow
from qsr.tflite.convert import convert_keras
from qsr.training.recipe import Recipe
from qsr.training.recipe_files import load_recipe

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
    that ship with qsr. A training that broke down or is not finished leaves the row without: other
    weights in its place would not be what was asked for.

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
    try:
        found = _found(recipe, runs, broken)
        content = None
        if found.weights is not None:
            load_weights_into(model, Path(found.weights))
            content = convert_keras(model, source=found.weights)
    except ModelError as error:
        raise ModelError(f"row {row.name} ({row.recipe}): {error}") from error
    return FloatRow(replace(found, parameters=_parameters(model)), content)


def _found(recipe: Recipe, runs: Path, broken: str | None) -> Measured:
    """Say where the weights of a recipe are, and of how many steps; or why there are none."""
    trained = trained_model(runs, recipe.name)
    if broken is not None:
        return Measured(missing=f"its training broke down: {broken}")
    if trained.exists():
        run = read_run(runs, recipe.name)
        return Measured(
            weights=str(trained),
            origin="run",
            steps=None if run is None else run.steps,
            lacks_added_data=run is not None and run.lacks_added_data,
        )
    if description(runs, recipe.name).exists():
        return Measured(missing=f"its training in {trained.parent} is not finished")
    path = _shipped(recipe)
    if path is None:
        return Measured(missing=NOT_TRAINED)
    known = provenance(recipe.network)
    return Measured(
        weights=str(path), origin="shipped", steps=None if known is None else known.steps
    )


def _shipped(recipe: Recipe) -> Path | None:
    """Return the weights that ship with qsr for this recipe, if they do."""
    try:
        path = pretrained_path(recipe.network)
    except UsageError:  # none ship
        return None
    return path if path.stem == recipe.name else None


def _parameters(model: "tf_keras.Model") -> Parameters:
    trained, frozen = (
        sum(prod(weight.shape) for weight in weights)
        for weights in (model.trainable_weights, model.non_trainable_weights)
    )
    return Parameters(trained=trained, frozen=frozen)
