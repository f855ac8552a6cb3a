"""``qsr evaluate``."""

from pathlib import Path
from typing import Annotated

import typer

from qsr.cli.options import Json, SkipBadImages
from qsr.cli.output import print_json, print_skipped, print_table, shown_progress


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
    skip_bad_images: SkipBadImages = False,
    json: Json = False,
) -> None:
    """Score float and integer models by PSNR and SSIM.

    Scores are of the 8-bit picture; PSNR in RGB shaves 1 pixel, luminance one scale.
    """
    from qsr.jobs.evaluate import evaluate_models

    with shown_progress() as progress:
        results = evaluate_models(
            models,
            data or [],
            scale=scale,
            skip_bad_images=skip_bad_images,
            on_progress=progress,
        )
    for result in results:
        print_skipped(result.skipped)
    if json:
        print_json(results)
        return
    for result in results:
        rows = [
            [
                evaluation.model,
                f"{evaluation.psnr_rgb_db:.3f}",
                f"{evaluation.psnr_y_db:.3f}",
                f"{evaluation.ssim_y:.4f}",
                f"{result.drop_db(evaluation):.4f}" if index else "",
            ]
            for index, evaluation in enumerate(result.evaluations)
        ]
        print_table(
            f"{result.data}: {len(result.evaluations[0].images)} images",
            ["model", "PSNR RGB (dB)", "PSNR Y (dB)", "SSIM Y", "drop RGB (dB)"],
            rows,
        )
