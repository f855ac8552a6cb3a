"""``qsr quantize``."""

from pathlib import Path
from typing import Annotated

import typer

from qsr.cli.options import Json, Model, PinIo, ReaderName, SchemeName, SkipBadImages
from qsr.cli.output import print_json, print_next, print_skipped, shown_progress


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("quantize")(quantize)


def quantize(
    model: Model,
    more_repdata: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="images",
            help="Representative images too, so that --repdata takes many.",
            show_default=False,
        ),
    ] = None,
    repdata: Annotated[
        list[Path] | None,
        typer.Option(help="Representative images: photographs and folders of them."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o", "--out", help="The integer .tflite model; by default model_uint8.tflite or alike."
        ),
    ] = None,
    ranges: Annotated[
        Path | None,
        typer.Option(
            help="Ranges measured before, instead of images: a calibration result (JSON) of "
            "--save-ranges or of LiteRT's quantizer.",
            show_default=False,
        ),
    ] = None,
    save_ranges: Annotated[
        Path | None,
        typer.Option(
            help="Write the ranges of the integer model as a calibration result (JSON), which "
            "LiteRT's quantizer takes too.",
            show_default=False,
        ),
    ] = None,
    scheme: SchemeName = "uint8",
    pin_io: PinIo = True,
    reader: ReaderName = "exact",
    images_are_lr: Annotated[
        bool, typer.Option("--lr", help="The images are LR already: feed them as they are.")
    ] = False,
    equalized: Annotated[
        bool,
        typer.Option(
            "--equalize",
            help="First rescale channels that share a grid, where the network stays what it is: "
            "for networks in which ReLU or PReLU lies between convolutions.",
        ),
    ] = False,
    biases_corrected: Annotated[
        bool,
        typer.Option(
            "--correct-biases",
            help="Take back by the biases what quantizing shifts on the average.",
        ),
    ] = False,
    skip_bad_images: SkipBadImages = False,
    json: Json = False,
) -> None:
    """Quantize a model with representative images chosen by hand, or with ranges measured before.

    qsr quantize xcat --repdata photo1.jpg photo2.jpg -o model_uint8.tflite
    """
    from qsr.jobs.quantize import quantize_model

    with shown_progress() as progress:
        report = quantize_model(
            model,
            [*(repdata or []), *(more_repdata or [])],
            out,
            ranges=ranges,
            save_ranges=save_ranges,
            scheme=scheme,
            pin_io=pin_io,
            reader=reader,
            images_are_lr=images_are_lr,
            equalized=equalized,
            biases_corrected=biases_corrected,
            skip_bad_images=skip_bad_images,
            on_progress=progress,
        )
    print_skipped(report.skipped)
    if json:
        print_json(report)
        return
    if equalized and not report.equalized:
        typer.echo("--equalize: no layers of this network can be equalized")
    made_from = report.ranges or f"{len(report.images)} representative images"
    typer.echo(
        f"{report.integer_model}: {report.integer_bytes:,} bytes (float: {report.float_bytes:,}), "
        f"{report.scheme}, from {made_from}"
    )
    if report.saved_ranges is not None:
        typer.echo(f"{report.saved_ranges}: its ranges")
    print_next(
        "next, see what it loses",
        *("qsr", "evaluate", report.model, report.integer_model, "--data", "DIR"),
    )
