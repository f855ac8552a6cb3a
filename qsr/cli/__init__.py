"""The command line. Each command parses, calls one public function of ``qsr.jobs``, and prints."""

import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from io import TextIOWrapper
from pathlib import Path
from typing import NoReturn


def main(arguments: Sequence[str] | None = None) -> None:
    """Run ``qsr``; ``--debug`` anywhere on the line shows tracebacks, not one-line errors.

    Args:
        arguments: what follows ``qsr`` on the line; that of the process if None.

    Raises:
        SystemExit: always, with the exit code.
    """
    from qsr.cli.failures import one_line_failures

    _prepare_streams()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's errors, not its news
    given = list(sys.argv[1:] if arguments is None else arguments)
    words = [word for word in given if word != "--debug"]
    with nullcontext() if "--debug" in given else one_line_failures(words):
        _run(words)


def _run(words: Sequence[str]) -> NoReturn:
    """Run one command and leave."""
    import typer

    from qsr.cli.app import build_app

    command = typer.main.get_command(build_app())
    code = 0
    try:
        # Not command.main(): it would take Ctrl-C and a broken pipe for itself.
        with command.make_context("qsr", list(words) or ["--help"]) as context:
            command.invoke(context)
    except typer.Exit as left:  # after --help
        code = left.exit_code
    sys.stdout.flush()
    sys.exit(code)


def _prepare_streams() -> None:
    """Make output fit to be written to, whatever the caller left of it."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed: a file of ours must not get its descriptor
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 (for good)
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files can be any bytes
