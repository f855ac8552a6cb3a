"""Files that a user asked for: looked at before the work, written whole after it."""

import os
from collections.abc import Iterable
from pathlib import Path

from qsr.atomic import replacing
from qsr.errors import UsageError


def check_writable(paths: Iterable[Path | None]) -> None:
    """Check that files can be written, before hours of work are done for them.

    Args:
        paths: what the user gave; None is passed over.

    Raises:
        UsageError: one is a folder, lies in a folder that is missing or cannot be written to, or
            is given twice.
    """
    given = [path for path in paths if path is not None]
    for place, path in enumerate(given):
        if path in given[:place]:
            raise UsageError(f"{path}: given for two files; name another for one of them")
        if path.is_dir():
            raise UsageError(f"{path}: a folder; give the name of a file")
        if not path.parent.is_dir():
            raise UsageError(f"{path}: there is no folder {path.parent}; make it first")
        if not os.access(path.parent, os.W_OK):
            raise UsageError(f"{path}: {path.parent} cannot be written to; name another folder")


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all.

    Raises:
        UsageError: it cannot be written.
    """
    try:
        with replacing(path) as unfinished:
            unfinished.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror})") from error
