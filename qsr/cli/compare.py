"""``qsr compare``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qsr.cli.command_line import command_line
from qsr.cli.options import Json, SkipBadImages
from qsr.cli.output import print_json, print_skipped, print_table, shown_progress
from qsr.errors import UsageError

if TYPE_CHECKING:
    from qsr.jobs.compare import CompareReport

_LEAST_PERCENT = 0.001
"""A smaller share of values is shown as less than this."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("compare")(compare)


def compare(
    context: typer.Context,
    reference: Annotated[
        str,
        typer.Argument(help="fp32 for the run's float model, or a model: float, or integer too."),
    ] = "fp32",
    tested: Annotated[
        str,
        typer.Argument(help="int8 or uint8 for the run's integer model, or an integer .tflite."),
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
    workers: Annotated[
        int | None, typer.Option(help="Processes; by default one for each core.")
    ] = None,
    skip_bad_images: SkipBadImages = False,
    report: Annotated[
        Path | None, typer.Option(help="Write a page with figures and pictures here, one file.")
    ] = None,
    csv: Annotated[Path | None, typer.Option(help="Write the layers as CSV here.")] = None,
    overlay: Annotated[
        Path | None,
        typer.Option(help="Folder to write the layers' errors into for Google's Model Explorer."),
    ] = None,
    json: Json = False,
) -> None:
    """Show where an integer model differs from its float model, why, and what to do.

    SQNR is that of the error accumulated up to a layer; local, that of the layer alone, fed the
    reference's values. Alone is what the output loses when this layer alone is quantized, recovered
    what it gets back when this layer alone stays in float, in dB of PSNR. Cut off is the share of
    the reference's values beyond the grid, levels the share of the grid's integers that occur.
    """
    from qsr.jobs.compare import compare_models

    with shown_progress() as progress:
        found = compare_models(
            reference,
            tested,
            run=run,
            images=images,
            limit=limit,
            workers=workers,
            skip_bad_images=skip_bad_images,
            page=report,
            csv=csv,
            overlays=overlay,
            command=command_line(context),
            on_progress=progress,
        )
    print_skipped(found.skipped)
    if json:
        print_json(found)
    else:
        _print(found)
    if found.unwritten:
        raise UsageError("; ".join(found.unwritten))
    for what, path in (("report", report), ("layers", csv), ("overlay", overlay)):
        if path is not None and not json:
            typer.echo(f"{what}: {path}")


def _print(found: "CompareReport") -> None:
    comparison, diagnosis = found.comparison, found.diagnosis
    for line in (diagnosis.costs_most, diagnosis.why, diagnosis.what_to_do):
        typer.echo(line)
    typer.echo()
    print_table(
        f"{found.tested} against {found.reference}",
        [
            "layer",
            "operator",
            "SQNR (dB)",
            "local (dB)",
            "alone (dB)",
            "recovered (dB)",
            "cut off (%)",
            "levels (%)",
            "scale",
            "values",
            "grid",
        ],
        _rows(found),
    )
    causes = comparison.causes
    if causes is not None:
        print_table(
            "what each cause takes by itself, in dB of PSNR",
            ["cause", "dB"],
            [
                ["weights and biases rounded", f"{causes.weights_db:.4f}"],
                ["activations rounded and cut off", f"{causes.activations_db:.4f}"],
                ["  of which cut off", f"{causes.saturation_db:.4f}"],
                ["grids of input and output", f"{causes.io_grid_db:.4f}"],
                ["more when together", f"{causes.interaction_db:.4f}"],
                ["integer arithmetic", f"{causes.kernels_db:.4f}"],
                *(
                    [["the reference's own rounding", f"{-causes.reference_rounding_db:.4f}"]]
                    if causes.reference_rounding_db
                    else []
                ),
                ["drop", f"{causes.total_db:.4f}"],
            ],
        )
        typer.echo(
            f"rounding its output to 8 bits takes {causes.last_rounding_db:.4f} dB from the "
            "reference, too; the drop is measured after that"
        )
    for where, names in (
        ("reference", comparison.only_reference),
        ("tested model", comparison.only_tested),
    ):
        if names:
            typer.echo(f"tensors that only the {where} has: {', '.join(names)}")
    count = len(comparison.pictures)
    typer.echo(
        f"PSNR against the originals (RGB, {count} images of {found.images}): reference "
        f"{found.reference_psnr_db:.3f} dB, tested {found.tested_psnr_db:.3f} dB, drop "
        f"{found.drop_db:.4f} dB"
    )


def _rows(found: "CompareReport") -> list[list[str]]:
    """Return a row for each layer."""
    rows = []
    for layer in found.comparison.layers:
        error, cost = layer.accumulated, layer.cost
        rows.append(
            [
                layer.label,
                layer.operator,
                f"{error.sqnr_db:.2f}",
                "" if layer.local is None else f"{layer.local.sqnr_db:.2f}",
                "" if cost is None else f"{cost.alone_db:.4f}",
                "" if cost is None else f"{cost.recovered_db:.4f}",
                _percent(error.saturated_share),
                "" if error.used_levels is None else f"{100 * error.used_levels:.0f}",
                f"{layer.scale:.6f}",
                f"{layer.minimum:.3f}..{layer.maximum:.3f}",
                f"{layer.grid_minimum:.3f}..{layer.grid_maximum:.3f}",
            ]
        )
    return rows


def _percent(share: float) -> str:
    if 0 < 100 * share < _LEAST_PERCENT:
        return f"<{_LEAST_PERCENT}"
    return f"{100 * share:.3f}" if share else "0"
