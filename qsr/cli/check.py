"""``qsr check``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qsr.cli.options import Json, Model, SkipBadImages
from qsr.cli.output import print_json, print_skipped, shown_progress

if TYPE_CHECKING:
    from qsr.jobs.check import CheckReport


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("check")(check)


def check(
    model: Model,
    images: Annotated[
        Path | None,
        typer.Option(
            help="Photographs, or a folder of LR/HR images, to measure on: costs in dB, dead "
            "channels, outliers."
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            help="Hardware that it is to run on: artpec-8, edge-tpu, ethos-u, generic-int8 or "
            "hexagon."
        ),
    ] = None,
    ignore: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CODE", help="Leave a code out, or CODE:LAYER for one layer; may be repeated."
        ),
    ] = None,
    limit: Annotated[int, typer.Option(help="At most so many images, evenly spread.")] = 20,
    skip_bad_images: SkipBadImages = False,
    json: Json = False,
) -> None:
    """Check whether a float or integer model is ready for 8 bits.

    Exits with 0 if there is no finding of severity error (warnings do not count), else with 1.
    Costs are PSNR in RGB against the originals.
    """
    from qsr.jobs.check import check_model

    with shown_progress() as progress:
        report = check_model(
            model,
            images=images,
            target=target,
            ignore=ignore or [],
            limit=limit,
            skip_bad_images=skip_bad_images,
            on_progress=progress,
        )
    print_skipped(report.skipped)
    if json:
        print_json(report)
    else:
        _print(report)
    if not report.passed:
        raise typer.Exit(1)


def _print(report: "CheckReport") -> None:
    for finding in report.findings:
        typer.echo(f"{finding.code} {finding.severity}: {finding.where}: {finding.title}")
        typer.echo(f"  {finding.problem}")
        if finding.cost_db is not None:
            typer.echo(f"  costs {finding.cost_db:.4f} dB")
        if not finding.advice.startswith("nothing"):
            typer.echo(f"  do: {finding.advice}")
    counts = [
        f"{sum(one.severity == severity for one in report.findings)} {severity}"
        for severity in ("error", "warning", "info")
    ]
    ignored = f", {report.ignored} ignored" if report.ignored else ""
    measured = f"on {len(report.images)} images" if report.images else "without images"
    verdict = "passed" if report.passed else "failed"
    typer.echo(f"{report.model}: {verdict}: {', '.join(counts)}{ignored}, {measured}")
