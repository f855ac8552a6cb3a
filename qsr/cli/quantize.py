"""``qsr quantize``."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qsr.cli.evaluate import print_costs, print_evaluation
from qsr.cli.options import Json, KeepClip, Model, PinIo, ReaderName, SkipBadImages
from qsr.cli.output import print_json, print_next, print_skipped, shown_progress
from qsr.cli.sizes import height_and_width
from qsr.cli.steps import words_of

if TYPE_CHECKING:
    from qsr.jobs.quantize import QuantizeReport, SchemesReport

_MOST_NAMES = 8
"""So many operators are named."""


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
            "-o",
            "--out",
            help="The integer .tflite model, by default model_uint8.tflite or alike; with several "
            "--scheme their folder, made if it is missing.",
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
    scheme: Annotated[
        list[str] | None,
        typer.Option(
            help="uint8 (the default), int8, uint8-per-tensor, int8-per-tensor, or uint8-16x8 and "
            "int8-16x8 with activations of 16 bits; several are made and compared.",
            show_default=False,
        ),
    ] = None,
    float_layers: Annotated[
        list[str] | None,
        typer.Option(
            "--float",
            metavar="LAYER",
            help="A layer or tensor that stays in float, by its name or a pattern such as "
            "'block1*'; may be given again.",
            show_default=False,
        ),
    ] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option(
            help="Validation images to compare the models on: photographs, or a folder of LR/HR "
            "images; may be given again.",
            show_default=False,
        ),
    ] = None,
    size: Annotated[
        str, typer.Option(help="Width and height of the input that times are for, in pixels.")
    ] = "320x180",
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
            "for networks in which ReLU or PReLU lies between convolutions. With --data, only if "
            "that helps on half of the images.",
        ),
    ] = False,
    biases_corrected: Annotated[
        bool,
        typer.Option(
            "--correct-biases",
            help="Take back by the biases what quantizing shifts on the average. With --data, only "
            "if that helps on half of the images.",
        ),
    ] = False,
    keep_clip: KeepClip = False,
    input_size: Annotated[
        str | None,
        typer.Option(
            metavar="WxH",
            help="Width and height of the only input that the integer model is to take, in pixels, "
            "as compilers for NPUs want it; by default any.",
            show_default=False,
        ),
    ] = None,
    skip_bad_images: SkipBadImages = False,
    json: Json = False,
) -> None:
    """Quantize a model with representative images chosen by hand, or with ranges measured before.

    qsr quantize xcat --repdata photo1.jpg photo2.jpg -o model_uint8.tflite

    With --data, or with several --scheme, the models are compared with the float model; half of
    the images then choose whether --equalize and --correct-biases are kept, if they are asked for,
    and the models are compared on the other half:

    qsr quantize xcat photo1.jpg --scheme uint8 --scheme uint8-16x8 --data DIR
    """
    from qsr.jobs.quantize import quantize_schemes

    with shown_progress() as progress:
        report = quantize_schemes(
            model,
            [*(repdata or []), *(more_repdata or [])],
            out,
            schemes=scheme or ["uint8"],
            data=data or (),
            lr_size=height_and_width(size),
            ranges=ranges,
            save_ranges=save_ranges,
            float_layers=float_layers or (),
            pin_io=pin_io,
            reader=reader,
            images_are_lr=images_are_lr,
            equalized=equalized,
            biases_corrected=biases_corrected,
            keep_clip=keep_clip,
            input_size=height_and_width(input_size, "--input-size") if input_size else None,
            skip_bad_images=skip_bad_images,
            on_progress=progress,
        )
    first, compared = report.quantized[0], report.comparison
    print_skipped(first.skipped)
    for result in compared.sets if compared else ():
        print_skipped(result.skipped)
    if json:
        print_json(report if compared else first)
    else:
        _print(report)


def _print(report: "SchemesReport") -> None:
    first, compared = report.quantized[0], report.comparison
    for one in report.quantized:
        _print_made(one)
    if first.saved_ranges is not None:
        typer.echo(
            f"{first.saved_ranges}: {'its' if len(report.quantized) == 1 else 'their'} ranges"
        )
    if compared is not None and compared.sets:
        print_evaluation(compared)
        if report.choosing_images:
            typer.echo(_chosen_on(report))
        return
    if compared is not None:
        print_costs(compared)
        typer.echo("no drop in dB: it is measured on validation images, which --data names")
    print_next(
        "next, see what it loses" if compared is None else "next, see what they lose",
        *("qsr", "evaluate", first.model, *(one.integer_model for one in report.quantized)),
        *("--data", "DIR"),
    )
    print_next(
        "and where, and why",
        *("qsr", "compare", first.model, first.integer_model, "--images", "DIR"),
    )


def _print_made(report: "QuantizeReport") -> None:
    made_from = report.ranges or f"{len(report.images)} representative images"
    typer.echo(
        f"{report.integer_model}: {report.integer_bytes:,} bytes (float: {report.float_bytes:,}), "
        f"{report.scheme}, from {made_from}"
    )
    for step in report.steps:
        typer.echo(f"  {words_of(step)}")
    if report.removed:
        typer.echo(f"  removed, as they copied bytes: {', '.join(report.removed)}")
    if report.input_size is not None:
        height, width = report.input_size
        typer.echo(f"  takes {width}x{height} pixels alone")
    if report.in_float:
        typer.echo(f"  in float: {_some(report.in_float)}")


def _chosen_on(report: "SchemesReport") -> str:
    """Say which images chose, and what the scores are worth."""
    count = report.choosing_images
    if report.confirmed:
        return f"steps were chosen on {count} other images of --data; these took no part"
    return (
        f"steps were chosen on these very images, too few to divide ({count}): the drop is "
        "flattered; qsr evaluate confirms it on others"
    )


def _some(names: Sequence[str]) -> str:
    """Return names, or how many there are of each kind if they are many."""
    if len(names) <= _MOST_NAMES:
        return ", ".join(names)
    counts = Counter(name.partition(" ")[0] for name in names)
    return ", ".join(f"{count} {kind}" for kind, count in counts.items())
