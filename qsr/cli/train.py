"""``qsr train``."""

from pathlib import Path
from typing import Annotated

import typer

from qsr.cli.options import (
    Json,
    MoreTrainingData,
    Overrides,
    RecipeName,
    SkipBadImages,
    Smoke,
    TrainingData,
    TrainingValidation,
)
from qsr.cli.output import counted, print_json, print_next, shown_progress, steps_shown

_MOST_LOST_DB = 0.5
"""Between the best checkpoint and the last weights; more is told."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("train")(train)


def train(
    recipe: RecipeName,
    more_data: MoreTrainingData = None,
    data: TrainingData = None,
    added_data: Annotated[
        list[Path] | None,
        typer.Option(
            help="Images that a later stage trains on too, as the paper's stage 2 adds Flickr2K.",
            show_default=False,
        ),
    ] = None,
    validation: TrainingValidation = None,
    out: Annotated[
        Path | None, typer.Option(help="Run folder; by default runs/train-RECIPE.")
    ] = None,
    overrides: Overrides = None,
    weights: Annotated[
        Path | None,
        typer.Option(help="A .keras file of the same network to start from.", show_default=False),
    ] = None,
    first_stage: Annotated[int, typer.Option(help="The stage to start with.")] = 1,
    smoke: Smoke = False,
    skip_bad_images: SkipBadImages = False,
    json: Json = False,
) -> None:
    """Train a network from a recipe; stopped at any time, the same command goes on.

    A checkpoint is kept, and PSNR on the validation images measured, every 2000 steps, or every
    epoch if that is shorter, rounded up to a multiple of 50 steps.
    """
    from qsr.jobs.train import train_recipe

    with shown_progress() as progress:
        result = train_recipe(
            recipe,
            [*(data or []), *(more_data or [])],
            added_data=added_data or [],
            validation=validation or [],
            out=out,
            overrides=overrides or [],
            weights=weights,
            first_stage=first_stage,
            smoke=smoke,
            skip_bad_images=skip_bad_images,
            on_progress=progress,
            on_steps=steps_shown(progress, several_stages=True),
        )
    if json:
        print_json(result)
        return
    typer.echo(
        f"{result.model}: {result.validation_psnr_db:.3f} dB RGB on "
        f"{counted(result.validation_images, 'validation image')} after {result.steps:,} steps\n"
        f"{result.best_model}: {result.best_validation_psnr_db:.3f} dB, the best checkpoint, after "
        f"{result.best_step:,} steps"
    )
    lost = result.best_validation_psnr_db - result.validation_psnr_db
    if lost > _MOST_LOST_DB:
        typer.echo(
            f"the last weights are {lost:.2f} dB below the best checkpoint: training became "
            "unstable; take the best, or lower peak_rate"
        )
    print_next(
        "next, make an integer model of it",
        *("qsr", "search-repdata", result.best_model if lost > _MOST_LOST_DB else result.model),
        *("--candidates", "DIR", "--validation", "DIR"),
    )
