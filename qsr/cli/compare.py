"""``qsr compare``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qsr.cli.options import Json, SkipBadImages
from qsr.cli.output import print_json, print_skipped, print_table, shown_progress

if TYPE_CHECKING:
    from qsr.jobs.compare import CompareReport

_WORTH_SAYING = 0.5e-5
"""A saturated share that is not printed as 0.000 %."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("compare")(compare)


def compare(
    float_model: Annotated[
        str, typer.Argument(help="fp32 for the run's float model, or a .tflite path.")
    ] = "fp32",
    integer_model: Annotated[
        str, typer.Argument(help="int8 or uint8 for the run's integer model, or a .tflite path.")
    ] = "int8",
    run: Annotated[
        Path | None,
        typer.Option(
            help="Run folder; by default the newest below runs/, else the built-in XCAT, quantized "
            "on the spot."
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(help="Images to compare on; by default the run's validation images."),
    ] = None,
    limit: Annotated[int, typer.Option(help="At most so many of them, evenly spread.")] = 20,
    skip_bad_images: SkipBadImages = False,
    json: Json = False,
) -> None:
    """Show layer by layer where an integer model differs from its float model.

    SQNR is that of the error accumulated up to a layer; saturated is the share of float values that
    lie beyond the integer tensor's range.
    """
    from qsr.jobs.compare import compare_models

    with shown_progress() as progress:
        report = compare_models(
            float_model,
            integer_model,
            run=run,
            images=images,
            limit=limit,
            skip_bad_images=skip_bad_images,
            on_progress=progress,
        )
    print_skipped(report.skipped)
    if json:
        print_json(report)
    else:
        _print(report)


def _print(report: "CompareReport") -> None:
    comparison = report.comparison
    rows = [
        [
            layer.label,
            layer.operator,
            f"{layer.sqnr_db:.2f}",
            f"{100 * layer.saturated_share:.3f}",
            f"{layer.scale:.6f}",
            str(layer.zero_point),
            f"{layer.minimum:.3f}..{layer.maximum:.3f}",
            f"{layer.grid_minimum:.3f}..{layer.grid_maximum:.3f}",
        ]
        for layer in comparison.layers
    ]
    print_table(
        f"{report.integer_model} against {report.float_model}",
        ["layer", "operator", "SQNR (dB)", "saturated (%)", "scale", "zero point", "float", "grid"],
        rows,
    )
    for where, names in (
        ("float", comparison.unmatched_float),
        ("integer", comparison.unmatched_integer),
    ):
        if names:
            typer.echo(f"tensors that only the {where} model has: {', '.join(names)}")
    count = len(comparison.images)
    typer.echo(
        f"PSNR against the originals (RGB, {count} images of {report.images}): "
        f"FP32 {report.float_psnr_db:.3f} dB, integer {report.integer_psnr_db:.3f} dB, "
        f"drop {report.drop_db:.4f} dB"
    )
    weakest = min(comparison.layers, key=lambda layer: layer.sqnr_db)
    typer.echo(f"lowest SQNR: {weakest.label}, {weakest.sqnr_db:.2f} dB")
    inner = [layer for layer in comparison.layers if not layer.tied_to_output]
    clipped = max(inner, key=lambda layer: layer.saturated_share, default=None)
    if clipped is not None and clipped.saturated_share > _WORTH_SAYING:
        typer.echo(
            f"most saturated, output aside: {clipped.label}, "
            f"{100 * clipped.saturated_share:.3f} % of its values"
        )
