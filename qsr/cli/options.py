"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated, Any, Literal

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
Limit = Annotated[
    int, typer.Option("--limit", help="At most so many of the images, evenly spread.")
]
SkipBadImages = Annotated[
    bool, typer.Option("--skip-bad-images", help="Leave unusable images out.")
]
ReportFile = Annotated[
    Path | None,
    typer.Option(
        "--report", help="Write a page with tables and figures here, one file.", show_default=False
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print the whole report as JSON.")]
KeepClip = Annotated[bool, typer.Option("--keep-clip", help="Leave operators that copy bytes in.")]

RecipeName = Annotated[
    str, typer.Argument(help="A shipped recipe (xcat_x3, espcn_x3, ...), or a .toml file.")
]
MoreTrainingData = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="folders",
        help="Images to train on too, so that --data takes many.",
        show_default=False,
    ),
]
TrainingData = Annotated[
    list[Path] | None,
    typer.Option("--data", help="Images to train on: folders.", show_default=False),
]
TrainingValidation = Annotated[
    list[Path] | None,
    typer.Option(
        "--validation",
        help="Images to validate on; by default DIV2K's own, or some held out of --data.",
        show_default=False,
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set", help="section.field=value of the recipe; may be given again.", show_default=False
    ),
]
Smoke = Annotated[
    bool,
    typer.Option(
        "--smoke", help="Shorten everything to seconds, to see that it works; needs no --data."
    ),
]


def images_option(purpose: str) -> Any:
    """Return the option ``--images`` of a command.

    Args:
        purpose: what the images are for, as its help begins.
    """
    return typer.Option(
        "--images",
        help=f"{purpose}: photographs, or a folder of LR/HR images.",
        show_default=False,
    )
