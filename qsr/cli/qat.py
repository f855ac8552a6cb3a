"""``qsr qat``."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qsr.cli.command_line import command_line
from qsr.cli.options import (
    Json,
    KeepClip,
    MoreTrainingData,
    Overrides,
    RecipeName,
    ReportFile,
    SkipBadImages,
    Smoke,
    TrainingData,
    TrainingValidation,
)
from qsr.cli.output import counted, print_json, print_next, shown_progress, steps_shown
from qsr.cli.pages import check_page, write_page
from qsr.cli.steps import words_of

if TYPE_CHECKING:
    from qsr.jobs.pages import Origin, Page
    from qsr.jobs.qat import QatReport


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("qat")(qat)


def qat(
    context: typer.Context,
    recipe: RecipeName,
    more_data: MoreTrainingData = None,
    data: TrainingData = None,
    validation: TrainingValidation = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            help="A .keras file of the recipe's network; by default the weights that ship.",
            show_default=False,
        ),
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option(
            help="Run folder of search-repdata: start from its float model and chosen ranges.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Run folder; by default runs/qat-RECIPE.")
    ] = None,
    overrides: Overrides = None,
    steps: Annotated[int, typer.Option(help="Steps of training.")] = 4000,
    rate: Annotated[float, typer.Option(help="Highest learning rate.")] = 1e-4,
    hr_weight: Annotated[
        float,
        typer.Option(
            help="How far targets are moved from the float network's pictures (0) to HR images (1)."
        ),
    ] = 0.2,
    keep_clip: KeepClip = False,
    smoke: Smoke = False,
    skip_bad_images: SkipBadImages = False,
    page: ReportFile = None,
    json: Json = False,
) -> None:
    """Fine-tune a network with the errors of 8 bits, and export the integer model.

    Quantization-aware training, for networks that lose too much by search-repdata alone. It starts
    from trained weights; stopped at any time, the same command goes on.
    """
    from qsr.jobs.qat import qat_from_recipe

    check_page(page)
    with shown_progress() as progress:
        report = qat_from_recipe(
            recipe,
            [*(data or []), *(more_data or [])],
            validation=validation or [],
            weights=weights,
            run=run,
            out=out,
            overrides=overrides or [],
            steps=steps,
            rate=rate,
            hr_weight=hr_weight,
            keep_clip=keep_clip,
            smoke=smoke,
            skip_bad_images=skip_bad_images,
            on_progress=progress,
            on_steps=steps_shown(progress),
        )
    write_page(page, command_line(context), partial(_page, report))
    if json:
        print_json(report)
        return
    drops = [report.fp32_psnr_db - psnr for psnr in (report.ptq_psnr_db, report.qat_psnr_db)]
    typer.echo(
        f"{counted(report.validation_images, 'validation image')}, RGB: "
        f"FP32 {report.fp32_psnr_db:.3f} dB; "
        f"UINT8 {report.ptq_psnr_db:.3f} dB before training (drop {drops[0]:.4f}), "
        f"{report.qat_psnr_db:.3f} dB after {report.best_step:,} of {report.steps:,} steps "
        f"(drop {drops[1]:.4f})"
    )
    if report.equalization_gain_db is not None:
        typer.echo(
            f"the network's channels were {'' if report.equalized else 'not '}equalized first: the "
            f"integer model comes {report.equalization_gain_db:+.2f} dB closer to the float "
            "network's pictures with them equalized"
        )
    typer.echo(words_of(report.rounding))
    helped = report.qat_psnr_db > report.ptq_psnr_db
    if not helped:
        typer.echo("training did not help: more --steps may, or another --rate")
    typer.echo(f"integer model: {report.model}{'' if helped else ', as it was before training'}")
    print_next(
        "next, compare them on images that took no part",
        *(
            "qsr",
            "evaluate",
            report.float_model,
            report.ptq_model,
            report.qat_model,
            "--data",
            "DIR",
        ),
    )


def _page(report: "QatReport", origin: "Origin") -> "Page":
    from qsr.jobs.qat_page import qat_page

    return qat_page(report, origin)
