"""Model files: read with clear errors, written atomically."""

import os
from pathlib import Path

from qsr.atomic import replacing
from qsr.errors import ModelError


def read_model(model: bytes | str | os.PathLike[str]) -> tuple[bytes, str]:
    """Return the content of a ``.tflite`` file and what errors should call it.

    Args:
        model: a path, or the content itself.

    Raises:
        ModelError: the file cannot be read.
    """
    if isinstance(model, bytes):
        return model, "model"
    path = Path(model)
    try:
        return path.read_bytes(), str(path)
    except FileNotFoundError as error:
        raise ModelError(f"{path}: no such file") from error
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from error


def write_model(path: Path, model: bytes) -> None:
    """Write a ``.tflite`` file, completely or not at all.

    Raises:
        ModelError: the file cannot be written.
    """
    try:
        with replacing(path) as unfinished:
            unfinished.write_bytes(model)
    except OSError as error:
        raise ModelError(
            f"{path}: cannot be written ({error.strerror}); check the folder and the free disk "
            "space"
        ) from error
