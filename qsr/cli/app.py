"""All commands in one application."""

from typing import Annotated

import typer

import qsr
from qsr.cli import (
    audit,
    benchmark,
    check,
    compare,
    evaluate,
    fold_clip,
    models,
    qat,
    quantize,
    search,
    table,
    train,
    upscale,
)


def build_app() -> typer.Typer:
    """Return the application."""
    app = typer.Typer(
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback()
    def options(
        version: Annotated[
            bool,
            typer.Option("--version", help="Print the version.", callback=_print_version),
        ] = False,
    ) -> None:
        """Make super-resolution networks survive 8-bit quantization.

        Any command takes --debug to show the traceback of an error.
        """

    for module in (
        search,
        audit,
        quantize,
        check,
        fold_clip,
        evaluate,
        benchmark,
        compare,
        upscale,
        train,
        qat,
        models,
        table,
    ):
        module.register(app)
    return app


def _print_version(asked: bool) -> None:
    """Print the version and leave, if that is what is asked for."""
    if asked:
        typer.echo(qsr.__version__)
        raise typer.Exit
