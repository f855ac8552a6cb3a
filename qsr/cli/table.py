"""``qsr table``."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qsr.cli.command_line import command_line
from qsr.cli.options import Json, ReportFile, SkipBadImages
from qsr.cli.output import print_json, print_skipped, print_table, shown_progress
from qsr.cli.pages import check_page, write_page

if TYPE_CHECKING:
    from qsr.jobs.pages import Origin, Page
    from qsr.jobs.table_report import TableReport
    from qsr.jobs.table_training import RowTraining
    from qsr.jobs.train import TrainingProgress


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("table")(table)


def table(
    context: typer.Context,
    number: Annotated[int, typer.Argument(help="Table of the paper, 1 to 4.")],
    data: Annotated[
        list[Path] | None,
        typer.Option(
            help="Images to score on, a folder (Set5, B100, DIV2K, ...); may be given again.",
            show_default=False,
        ),
    ] = None,
    runs: Annotated[
        Path | None,
        typer.Option(
            help="Folder of trainings, each named as its recipe, and of all that is computed from "
            "them; by default runs/tables."
        ),
    ] = None,
    train: Annotated[
        list[Path] | None,
        typer.Option(
            help="First train the rows that --runs lacks on these images: a folder; may be given "
            "again. Without --data nothing else is done.",
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
            help="Images to validate on in training; by default the validation images that --train "
            "has itself (DIV2K), else some held out of it.",
            show_default=False,
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            help="Training steps of each row, all stages together, rounded to whole epochs; by "
            "default those of its recipe."
        ),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="section.field=value of every recipe; may be given again."),
    ] = None,
    with_claims: Annotated[
        bool,
        typer.Option(
            "--claims",
            help="Add XCATs without intensity augmentation, clipped ReLU, frozen anchor.",
        ),
    ] = False,
    with_naive: Annotated[
        bool,
        typer.Option(
            "--naive",
            help="Make the UINT8 model of TFLiteConverter, too, of all --candidates together.",
        ),
    ] = False,
    candidates: Annotated[
        Path | None,
        typer.Option(
            help="Images that may become representative; by default scikit-image's photographs."
        ),
    ] = None,
    choosing: Annotated[
        Path | None, typer.Option(help="Images that choose among --candidates.")
    ] = None,
    threads: Annotated[int, typer.Option(help="Threads, when times are taken.")] = 1,
    rounds: Annotated[int, typer.Option(help="How often each model's time is taken.")] = 20,
    workers: Annotated[
        int | None, typer.Option(help="Number of processes; by default one per core.")
    ] = None,
    skip_bad_images: SkipBadImages = False,
    json: Json = False,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print Markdown, with the command that made it.")
    ] = False,
    page: ReportFile = None,
) -> None:
    """Print a table of the paper next to ours: PSNR in FP32 and UINT8, size, time and score.

    A row's weights are those of its training in --runs, else those that ship with qsr. Its UINT8
    model is the best that qsr search-repdata finds among --candidates, not refined in Tables 1 and
    3: that would give back what tells their rows apart. Table 4 has the one of --naive, too.
    Stopped at any time, the same command goes on.
    """
    from qsr.jobs.table import make_table

    check_page(page)
    with shown_progress() as progress:

        def show_steps(recipe: str, state: "TrainingProgress") -> None:
            psnr = state.validation_psnr_db
            note = f", validation {psnr:.2f} dB" if psnr is not None else ""
            progress("train", state.step, state.steps, f"{recipe}, stage {state.stage}{note}")

        report = make_table(
            number,
            data or [],
            training=_training(train, added_data, validation, steps, overrides),
            with_claims=with_claims,
            with_naive=with_naive,
            runs=runs,
            candidates=candidates,
            choosing=choosing,
            threads=threads,
            rounds=rounds,
            workers=workers,
            skip_bad_images=skip_bad_images,
            on_progress=progress,
            on_steps=show_steps,
        )
    for one in report.sets:
        print_skipped(one.skipped)
    write_page(page, command_line(context), partial(_page, report))
    if json:
        print_json(report)
    elif markdown:
        _print_markdown(report, command_line(context))
    else:
        _print(report)


def _page(report: "TableReport", origin: "Origin") -> "Page":
    from qsr.cli.table_layout import grids, notes
    from qsr.jobs.table_page import table_page

    return table_page(report, grids(report), notes(report), origin)


def _training(
    data: list[Path] | None,
    added_data: list[Path] | None,
    validation: list[Path] | None,
    steps: int | None,
    overrides: list[str] | None,
) -> "RowTraining":
    from qsr.jobs.table_training import RowTraining

    return RowTraining(
        data=tuple(data or ()),
        added_data=tuple(added_data or ()),
        validation=tuple(validation or ()),
        steps=steps,
        overrides=tuple(overrides or ()),
    )


def _print(report: "TableReport") -> None:
    from qsr.cli.table_layout import grids, notes

    for grid in grids(report):
        print_table(grid.title, grid.columns, grid.rows)
    for note in notes(report):
        typer.echo(note)


def _print_markdown(report: "TableReport", command: str) -> None:
    from qsr.cli.table_layout import grids, markdown, notes

    for grid in grids(report):
        typer.echo(markdown(grid))
    for note in notes(report):
        typer.echo(f"- {note}")
    typer.echo(f"\nMade by:\n\n```\n{command}\n```")
