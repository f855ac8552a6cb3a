"""Files and folders that several processes may want at once: written whole, used by one."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


_UNFINISHED = ".unfinished-"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Write a file completely or not at all.

    Args:
        path: the file; an existing one is replaced at the end, and stays as it was after any
            exception, Ctrl-C too.

    Yields:
        Where to write: a hidden file of a new name, in the same folder and with the same suffix. It
        is flushed to disk before it takes the name ``path``.

    Raises:
        OSError: it cannot be flushed or renamed, or was not written.
    """
    unfinished = path.with_name(f"{_UNFINISHED}{secrets.token_hex(8)}{path.suffix}")
    try:
        yield unfinished
        with unfinished.open("r+b") as file:
            os.fsync(file.fileno())
        unfinished.replace(path)
    except BaseException:
        with suppress(OSError):
            unfinished.unlink()
        raise


def sweep(folder: Path) -> None:
    """Remove what a killed process left unfinished in a folder; call it with the folder locked."""
    for path in folder.glob(f"{_UNFINISHED}*"):
        with suppress(OSError):
            path.unlink()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a file for this process alone, among all who ask for it with this function.

    The system gives the lock back when the process ends, however it ends. Where Python has no
    ``fcntl``, as on Windows, nothing is locked: there, whoever starts two processes on the same
    files has to know better.

    Args:
        path: the file; created empty if missing, and left there.

    Raises:
        BlockingIOError: it is held already, by this process or another.
        OSError: it cannot be opened for writing, or its file system has no locks.
    """
    with path.open("ab") as file:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
