"""Arguments and options that several commands share."""

from typing import Annotated, Literal

import typer

Model = Annotated[
    str,
    typer.Argument(
        help="A network of the zoo (see qsr models), or a .tflite, .keras, .h5 or SavedModel."
    ),
]
SchemeName = Annotated[
    str,
    typer.Option(
        "--scheme",
        help="uint8, int8, uint8-per-tensor, int8-per-tensor, or uint8-16x8 and int8-16x8 with "
        "activations of 16 bits.",
    ),
]
PinIo = Annotated[
    bool,
    typer.Option(
        "--pin-io/--io-from-images",
        help="Give input and output their true grid, or leave it to the images.",
    ),
]
ReaderName = Annotated[
    Literal["exact", "converter"],
    typer.Option("--reader", help="How ranges are read; converter: as TFLiteConverter would."),
]
SkipBadImages = Annotated[
    bool, typer.Option("--skip-bad-images", help="Leave unusable images out.")
]
Json = Annotated[bool, typer.Option("--json", help="Print the whole report as JSON.")]
