"""``qsr fold-clip``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qsr.cli.options import Json, SkipBadImages, images_option
from qsr.cli.output import print_json, print_next, print_skipped, shown_progress

if TYPE_CHECKING:
    from qsr.jobs.fold_clip import FoldReport


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("fold-clip")(fold_clip)


def fold_clip(
    model: Annotated[Path, typer.Argument(help="An integer .tflite model, from anywhere.")],
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            help="The model without them; by default MODEL_folded.tflite.",
            show_default=False,
        ),
    ] = None,
    images: Annotated[
        list[Path] | None,
        images_option("Images to confirm on (scikit-image's by default; may be given again)"),
    ] = None,
    pin: Annotated[
        bool,
        typer.Option(
            "--pin",
            help="Give clips that cut values off a grid that ends where they cut, so that they can "
            "be removed too. Changes bytes, and measures what that costs.",
        ),
    ] = False,
    skip_bad_images: SkipBadImages = False,
    json: Json = False,
) -> None:
    """Remove the clips of a finished integer model that are proved to copy bytes.

    On phones and PCs a clip is a pass over the enlarged picture. Scales and zero points decide
    whether it does anything; images then confirm that no byte changed.
    """
    from qsr.jobs.fold_clip import fold_clip as run

    with shown_progress() as progress:
        report = run(
            model,
            out,
            images=images or (),
            pin=pin,
            skip_bad_images=skip_bad_images,
            on_progress=progress,
        )
    print_skipped(report.skipped)
    if json:
        print_json(report)
    else:
        _print(report)


def _print(report: "FoldReport") -> None:
    _print_pinned(report)
    if report.removed:
        typer.echo(f"removed, as they copy: {', '.join(report.removed)}")
    elif not report.cutting:
        typer.echo("no clip that copies, and none that cuts values off: there is nothing to remove")
    else:
        typer.echo("removed: nothing, as no operator copies")
    for check in report.checks:
        typer.echo(
            f"{check.kernels} kernels: {check.changed} of {check.values:,} bytes differ on "
            f"{check.images} images"
        )
    _print_cutting(report)
    typer.echo(
        f"{report.integer_model}: {report.integer_bytes:,} bytes (before: {report.model_bytes:,})"
    )
    if any(clip.changes for clip in report.cutting):
        print_next(
            "next, give them that grid in this file, and see what it changes",
            *("qsr", "fold-clip", report.model, "--pin", "-o", report.integer_model),
        )
        print_next(
            "or, with the float model at hand, make it anew",
            *("qsr", "quantize", "FLOAT_MODEL", "--repdata", "PHOTO...", "-o", "model.tflite"),
        )
    if report.removed:
        print_next(
            "next, see how much faster it is",
            *("qsr", "benchmark", report.model, report.integer_model),
        )


def _print_pinned(report: "FoldReport") -> None:
    """Say which grids were changed, and what that changed."""
    change = report.pin_change
    if change is None:
        return
    for clip in report.pinned:
        for tensor in clip.changes:
            typer.echo(
                f"{tensor.tensor} ({tensor.writer}): {_span(tensor.lowest, tensor.highest)} "
                f"became {_span(clip.lowest, clip.highest)}"
            )
    gain = change.gain_db
    typer.echo(
        f"these grids change {change.changed / change.values:.1%} of the bytes, by at most "
        f"{change.largest}: {change.before_psnr_db:.4f} dB became {change.after_psnr_db:.4f} "
        f"({gain.mean:+.4f}, {gain.confidence:.0%} interval {gain.low:+.4f} to {gain.high:+.4f}) "
        f"on {change.images} images"
    )


def _print_cutting(report: "FoldReport") -> None:
    """Say which clips stay, and what would make them copy."""
    for clip in report.cutting:
        kinds = ", ".join(clip.operators)
        if clip.obstacle:
            typer.echo(f"{kinds} cut values off and stay: {clip.obstacle}")
            continue
        wider = ", ".join(
            f"{tensor.writer} {_span(tensor.lowest, tensor.highest)}" for tensor in clip.changes
        )
        typer.echo(
            f"{kinds} cut values off; they copy if the grid of these spans "
            f"{_span(clip.lowest, clip.highest)}: {wider}"
        )


def _span(lowest: float, highest: float) -> str:
    return f"{lowest:.4g} to {highest:.4g}"
