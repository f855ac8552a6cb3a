"""Files and folders that a command is to make, checked before anything slow is done."""

import os
from dataclasses import dataclass
from pathlib import Path

from qsr.atomic import replacing
from qsr.errors import ModelError, UsageError


@dataclass(frozen=True)
class Product:
    """A file that is made.

    Attributes:
        what: it is, for errors.
        suffix: that its name ends in.
        option: that names it.
    """

    what: str
    suffix: str
    option: str


def check_new(path: Path, product: Product, *, folder_is_made: bool = False) -> None:
    """Check that a file can be made.

    Args:
        path: of the file.
        product: what it is.
        folder_is_made: whether a missing folder is made for it.

    Raises:
        UsageError: its name is of another kind or that of a folder, or its folder is missing, no
            folder or cannot be written to.
    """
    if path.suffix != product.suffix:
        raise UsageError(f"{path}: give {product.what} a name that ends in {product.suffix}")
    if path.is_dir():
        raise UsageError(f"{path}: a folder; give {product.what} the name of a file")
    folder = path.parent
    if folder_is_made:
        folder = next(parent for parent in path.parents if parent.exists())
    if not folder.exists():
        raise UsageError(
            f"{path}: no folder {folder}; make it first, or give another {product.option}"
        )
    if not folder.is_dir():
        raise UsageError(f"{path}: {folder} is no folder; give another {product.option}")
    if not os.access(folder, os.W_OK):
        raise UsageError(f"{path}: {folder} cannot be written to; give another {product.option}")


def check_new_folder(folder: Path, option: str) -> None:
    """Check that a folder is there, or can be made.

    Args:
        folder: that is wanted.
        option: that names it.

    Raises:
        UsageError: it is a file, lies in one, or cannot be written to.
    """
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not there.is_dir():
        what = "a file" if there == folder else f"{there} is no folder"
        raise UsageError(f"{folder}: {what}; give another {option}")
    if not os.access(there, os.W_OK):
        raise UsageError(f"{folder}: {there} cannot be written to; give another {option}")


def make_folder(folder: Path, option: str = "-o") -> None:
    """Make a folder unless it is there.

    Args:
        folder: that is wanted.
        option: that names it.

    Raises:
        ModelError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ModelError(
            f"{folder}: the folder cannot be made ({error.strerror}); give another {option}"
        ) from error


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all.

    Args:
        path: of the file.
        text: its content.

    Raises:
        UsageError: it cannot be written.
    """
    try:
        with replacing(path) as unfinished:
            unfinished.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror})") from error
