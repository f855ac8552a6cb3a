"""``qsr evaluate``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qsr.cli.intervals import with_interval
from qsr.cli.options import Json, SkipBadImages
from qsr.cli.output import print_json, print_skipped, print_table, shown_progress
from qsr.cli.sizes import height_and_width

if TYPE_CHECKING:
    from qsr.jobs.evaluate import Cost, Drop, EvaluationReport

_BYTES_PER_KB = 1000


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("evaluate")(evaluate)


def evaluate(
    models: Annotated[
        list[str],
        typer.Argument(
            help="Each a network of the zoo (see qsr models), a .tflite, .keras, .h5 or SavedModel "
            "path, or bicubic. The first is what the drops of the others are measured from."
        ),
    ],
    data: Annotated[
        list[Path] | None,
        typer.Option(
            help="Photographs, or a folder of LR/HR images; may be given again. By default "
            "scikit-image's photographs."
        ),
    ] = None,
    scale: Annotated[int, typer.Option(help="Scale of bicubic, when it stands alone.")] = 3,
    size: Annotated[
        str, typer.Option(help="Width and height of the input that times are for, in pixels.")
    ] = "640x360",
    latency: Annotated[
        bool, typer.Option("--latency/--no-latency", help="Take the models' times on this host.")
    ] = True,
    skip_bad_images: SkipBadImages = False,
    json: Json = False,
) -> None:
    """Score float and integer models by PSNR and SSIM, and compare them with the first.

    Scores are of the 8-bit picture; PSNR in RGB shaves 1 pixel, luminance one scale.

    qsr evaluate model_fp32.tflite model_ptq.tflite model_qat.tflite --data DIR
    """
    from qsr.jobs.evaluate import evaluate_with_costs

    with shown_progress() as progress:
        report = evaluate_with_costs(
            models,
            data or [],
            scale=scale,
            lr_size=height_and_width(size) if latency else None,
            skip_bad_images=skip_bad_images,
            on_progress=progress,
        )
    for result in report.sets:
        print_skipped(result.skipped)
    if json:
        print_json(report)
    else:
        print_evaluation(report)


def print_evaluation(report: "EvaluationReport") -> None:
    """Print a table for each set of images, and how times were taken."""
    several, timed = len(report.costs) > 1, report.lr_size is not None
    columns = ["model", "PSNR RGB\n(dB)", "PSNR Y\n(dB)", "SSIM Y"]
    columns += ["drop RGB\n(dB) [95 %]", "worst image\n(dB)"] if several else []
    columns += ["size\n(kB)"]
    columns += ["median\n(ms)"] if timed else []
    columns += ["times the first\n[95 %]"] if several and timed else []
    for result in report.sets:
        rows = []
        for evaluation, drop, cost in zip(
            result.evaluations, result.drops, report.costs, strict=True
        ):
            row = [
                evaluation.model,
                f"{evaluation.psnr_rgb_db:.3f}",
                f"{evaluation.psnr_y_db:.3f}",
                f"{evaluation.ssim_y:.4f}",
            ]
            row += _of_drop(drop) if several else []
            row += ["" if cost.file_bytes is None else f"{cost.file_bytes / _BYTES_PER_KB:.1f}"]
            row += (
                ["" if cost.latency is None else f"{cost.latency.median_ms:.1f}"] if timed else []
            )
            row += [_of_ratio(cost)] if several and timed else []
            rows.append(row)
        print_table(f"{result.data}: {len(result.evaluations[0].images)} images", columns, rows)
    _print_times(report)


def print_costs(report: "EvaluationReport") -> None:
    """Print what models cost, without scores."""
    rows = [
        [
            cost.model,
            "" if cost.file_bytes is None else f"{cost.file_bytes / _BYTES_PER_KB:.1f}",
            "" if cost.latency is None else f"{cost.latency.median_ms:.1f}",
            _of_ratio(cost),
        ]
        for cost in report.costs
    ]
    columns = ["model", "size\n(kB)", "median\n(ms)", "times the first\n[95 %]"]
    print_table("size and time", columns, rows)
    _print_times(report)


def _print_times(report: "EvaluationReport") -> None:
    """Say how times were taken."""
    if report.lr_size is None:
        return
    height, width = report.lr_size
    typer.echo(f"times: input {width}x{height}, 1 thread of {report.host}, in turns")
    for cost in report.costs:
        if cost.untimed and cost.file_bytes is not None:
            typer.echo(f"no time of {cost.model}: {cost.untimed}")


def _of_drop(drop: "Drop | None") -> list[str]:
    """Return the cells on how far a model lies below the first."""
    if drop is None:
        return ["", ""]
    mean = drop.mean_db
    return [
        with_interval(mean.mean, mean.low, mean.high, 4),
        f"{drop.worst_image} {drop.worst_db:.4f}",
    ]


def _of_ratio(cost: "Cost") -> str:
    """Return the cell on how many times as long as the first a model takes."""
    ratio = cost.ratio
    return "" if ratio is None else with_interval(ratio.median, ratio.low, ratio.high, 3)
