"""``qsr search-repdata``."""

from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qsr.cli.options import Json, Model, PinIo, ReaderName, SchemeName, SkipBadImages
from qsr.cli.output import (
    print_json,
    print_next,
    print_skipped,
    print_table,
    shown_progress,
)

if TYPE_CHECKING:
    from qsr.jobs.search_repdata import ModelScore, RepdataReport


_WORTH_SAYING = 0.5e-4
"""A gain in dB that is not printed as 0.0000."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("search-repdata")(search_repdata)


def search_repdata(
    model: Model = "xcat",
    candidates: Annotated[
        Path | None,
        typer.Option(help="Candidate images: photographs, or a folder of LR/HR images."),
    ] = None,
    validation: Annotated[
        Path | None, typer.Option(help="Images to score on: photographs, or LR/HR images.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Run folder; by default one below runs/.")
    ] = None,
    scheme: SchemeName = "uint8",
    pin_io: PinIo = True,
    reader: ReaderName = "exact",
    workers: Annotated[
        int | None, typer.Option(help="Processes; by default one per core.", show_default=False)
    ] = None,
    skip_bad_images: SkipBadImages = False,
    json: Json = False,
) -> None:
    """Find the representative images that make the best integer model.

    Every candidate alone, and all together, is the representative data set of a real integer model
    that is scored on every validation image. With no arguments: the built-in XCAT x3 on
    scikit-image's photographs. Stop it at any time; the same command goes on where it was.
    """
    from qsr.jobs.search_repdata import search_repdata as run

    with shown_progress() as progress:
        report = run(
            model,
            candidates=candidates,
            validation=validation,
            out=out,
            scheme=scheme,
            pin_io=pin_io,
            reader=reader,
            workers=workers,
            skip_bad_images=skip_bad_images,
            on_progress=progress,
        )
    print_skipped(report.skipped)
    if json:
        print_json(report)
    else:
        _print(report)


def _print(report: "RepdataReport") -> None:
    io = report.scheme.io.upper()
    rows = [["FP32, rounded to 8 bits", f"{report.fp32_psnr_db:.3f}", ""]]
    rows += [
        _row(f"{io} from all {report.candidates} candidates together", report.all_images),
        _row(f"{io} from the best single image, {report.best.images[0]}", report.best),
        _row(f"{io} from the median single image, {report.median.images[0]}", report.median),
        _row(f"{io} from the worst single image, {report.worst.images[0]}", report.worst),
    ]
    print_table(
        f"{report.model} on {report.validation_images} validation images, RGB",
        ["model", "PSNR (dB)", "drop (dB)"],
        rows,
    )
    if report.shared_images:
        named = ", ".join(report.shared_images[:3])
        more = ", ..." if len(report.shared_images) > 3 else ""  # noqa: PLR2004
        typer.echo(
            f"note: {len(report.shared_images)} of the validation images are candidates too "
            f"({named}{more}): on them the drop looks smaller than it is"
        )
    single = len(report.chosen.images) == 1
    chosen = report.chosen.images[0] if single else f"all {report.candidates} candidates together"
    resumed = f", trials resumed: {report.resumed_trials}" if report.resumed_trials else ""
    typer.echo(f"chosen representative data: {chosen}")
    gained = report.all_images.drop_db - report.chosen.drop_db
    if single and gained > _WORTH_SAYING:
        typer.echo(f"choosing it gained {gained:.4f} dB over all candidates together")
    typer.echo(f"integer model: {report.integer_model}")
    typer.echo(
        f"run folder: {report.run_folder}  "
        f"({report.seconds:.0f} s, workers: {report.workers}{resumed})"
    )
    print_next(
        "next, see where the integer model differs",
        *("qsr", "compare", "fp32", report.scheme.io, "--run", report.run_folder),
    )
    print_next(
        "and look at it on photographs of your own",
        *("qsr", "upscale", report.integer_model, "PHOTO...", "-o", "upscaled"),
    )


def _row(label: str, score: "ModelScore") -> list[str]:
    if isnan(score.psnr_db):
        return [label, "cannot run", ""]
    return [label, f"{score.psnr_db:.3f}", f"{score.drop_db:.4f}"]
