"""``qsr upscale``."""

from pathlib import Path
from typing import Annotated

import typer

from qsr.cli.options import Json, Model, SkipBadImages
from qsr.cli.output import print_json, print_skipped, shown_progress


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("upscale")(upscale)


def upscale(
    model: Model,
    photos: Annotated[list[Path], typer.Argument(help="Photographs, and folders of them.")],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Folder for the results, as PNG.")
    ] = Path("upscaled"),
    threads: Annotated[int, typer.Option(help="Threads.", min=1)] = 1,
    skip_bad_images: SkipBadImages = False,
    json: Json = False,
) -> None:
    """Enlarge photographs with a float or an integer model, to look at."""
    from qsr.jobs.upscale import upscale_photos

    with shown_progress() as progress:
        report = upscale_photos(
            model,
            photos,
            out,
            threads=threads,
            skip_bad_images=skip_bad_images,
            on_progress=progress,
        )
    print_skipped(report.skipped)
    if json:
        print_json(report)
        return
    for photo in report.photos:
        typer.echo(f"{photo.result}: {photo.width} x {photo.height} pixels")
