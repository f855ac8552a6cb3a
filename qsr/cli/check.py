"""``qsr check``."""

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qsr.cli.command_line import command_line
from qsr.cli.options import Json, Limit, Model, ReportFile, SkipBadImages, images_option
from qsr.cli.output import print_json, print_skipped, shown_progress
from qsr.cli.pages import check_page, write_page

if TYPE_CHECKING:
    from qsr.jobs.check import CheckReport
    from qsr.jobs.pages import Origin, Page


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("check")(check)


def check(
    context: typer.Context,
    model: Model,
    images: Annotated[
        Path | None,
        images_option("To measure costs in dB, dead channels and outliers on"),
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
    limit: Limit = 20,
    skip_bad_images: SkipBadImages = False,
    page: ReportFile = None,
    json: Json = False,
) -> None:
    """Check whether a float or integer model is ready for 8 bits.

    Exits with 0 if there is no finding of severity error (warnings do not count), with 1 if there
    is one, and with 2 if the model could not be checked: a wrong option, or a file that is missing
    or cannot be used. Costs are PSNR in RGB against the originals.
    """
    from qsr.jobs.check import check_model

    check_page(page)
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
    for line in report.unmatched:
        sys.stderr.write(f"nothing to ignore: {line}\n")
    write_page(page, command_line(context), partial(_page, report))
    if json:
        print_json(report)
    else:
        _print(report)
    if not report.passed:
        raise typer.Exit(1)


def _page(report: "CheckReport", origin: "Origin") -> "Page":
    from qsr.jobs.check_page import check_page as page_of

    return page_of(report, origin)


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
