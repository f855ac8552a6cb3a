"""``qsr train``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qsr.cli.options import Json, SkipBadImages
from qsr.cli.output import print_json, print_next, shown_progress

if TYPE_CHECKING:
    from qsr.jobs.train import TrainingProgress


_MOST_LOST_DB = 0.5
"""Between the best checkpoint and the last weights; more is told."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("train")(train)


def train(
    recipe: Annotated[
        str, typer.Argument(help="A shipped recipe (xcat_x3, abpn_x3, ...), or a .toml file.")
    ],
    more_data: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="folders",
            help="Images to train on too, so that --data takes many.",
            show_default=False,
        ),
    ] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option(help="Images to train on: folders.", show_default=False),
    ] = None,
    added_data: Annotated[
        list[Path] | None,
        typer.Option(
            help="Images that a later stage trains on too, as the paper's stage 2 adds Flickr2K.",
            show_default=False,
        ),
    ] = None,
    validation: Annotated[
        list[Path] | None,
        typer.Option(
            help="Images to validate on; by default DIV2K's own, or some held out of --data."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Run folder; by default runs/train-RECIPE.")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="section.field=value of the recipe; may be given again."),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(help="A .keras file of the same network to start from.", show_default=False),
    ] = None,
    first_stage: Annotated[int, typer.Option(help="The stage to start with.")] = 1,
    smoke: Annotated[
        bool,
        typer.Option(
            "--smoke",
            help="Shorten everything to seconds, to see that it works; needs no --data.",
        ),
    ] = False,
    skip_bad_images: SkipBadImages = False,
    json: Json = False,
) -> None:
    """Train a network from a recipe; stopped at any time, the same command goes on.

    A checkpoint is kept, and PSNR on the validation images measured, every 2000 steps, or every
    epoch if that is shorter, rounded up to a multiple of 50 steps.
    """
    from qsr.jobs.train import train_recipe

    with shown_progress() as progress:

        def show_steps(state: "TrainingProgress") -> None:
            psnr = state.validation_psnr_db
            note = f"{state.steps_per_second:.0f} steps/s"
            if psnr is not None:
                note += f", validation {psnr:.2f} dB"
            progress(f"train, stage {state.stage}", state.step, state.steps, note)

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
            on_steps=show_steps,
        )
    if json:
        print_json(result)
        return
    typer.echo(
        f"{result.model}: {result.validation_psnr_db:.3f} dB RGB on {result.validation_images} "
        f"validation images after {result.steps:,} steps\n"
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
