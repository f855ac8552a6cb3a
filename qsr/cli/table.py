"""``qsr table``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qsr.cli.options import SkipBadImages
from qsr.cli.output import shown_progress

if TYPE_CHECKING:
    from qsr.jobs.train import TrainingProgress


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("table")(table)


def table(
    number: Annotated[int, typer.Argument(help="Table of the paper, 1 to 4.")],
    train: Annotated[
        list[Path] | None,
        typer.Option(
            help="Train the rows that --runs lacks on these images: a folder; may be given again.",
            show_default=False,
        ),
    ] = None,
    added_data: Annotated[
        list[Path] | None,
        typer.Option(help="Images that stage 2 trains on too.", show_default=False),
    ] = None,
    validation: Annotated[
        list[Path] | None,
        typer.Option(
            help="Images to validate on; by default some are held out of --train.",
            show_default=False,
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            help="Training steps of each row, all its stages together; by default its recipe's."
        ),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="section.field=value of every recipe; may be given again."),
    ] = None,
    runs: Annotated[
        Path | None,
        typer.Option(help="Folder of trainings, each named as its recipe; by default runs/tables."),
    ] = None,
    with_claims: Annotated[
        bool,
        typer.Option(
            "--claims",
            help="Add XCATs without intensity augmentation, clipped ReLU, frozen anchor.",
        ),
    ] = False,
    skip_bad_images: SkipBadImages = False,
) -> None:
    """Print a table of the paper next to ours.

    Rows are trained one after the other; stopped at any time, the same command goes on.
    """
    from qsr.jobs.table_training import TABLE_RUNS, RowTraining, train_rows
    from qsr.tables.paper import claims, paper_table

    rows = (*paper_table(number).rows, *(claims() if with_claims else ()))
    with shown_progress() as progress:

        def show_steps(recipe: str, state: "TrainingProgress") -> None:
            psnr = state.validation_psnr_db
            note = f"stage {state.stage}" + (f", {psnr:.2f} dB" if psnr is not None else "")
            progress(f"train {recipe}", state.step, state.steps, note)

        broken = train_rows(
            rows,
            RowTraining(
                data=train or [],
                added_data=added_data or [],
                validation=validation or [],
                steps=steps,
                overrides=overrides or [],
            ),
            runs=runs or TABLE_RUNS,
            skip_bad_images=skip_bad_images,
            on_progress=progress,
            on_steps=show_steps,
        )
    for recipe, why in broken.items():
        typer.echo(f"{recipe}: {why}", err=True)
