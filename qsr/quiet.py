"""Keeps what C++ libraries print to standard error away from the terminal, and hands it over."""

import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, Any

_STDERR = 2


@dataclass
class Captured:
    """What was printed while standard error was captured; ``text`` is filled at the end."""

    text: str = field(default="")


@dataclass
class _Swap:
    """The file that standard error goes to while any block of any thread runs."""

    file: IO[bytes]
    saved: int
    users: int = 0


_lock = threading.RLock()
_swap: _Swap | None = None


@contextmanager
def captured_stderr() -> Iterator[Captured]:
    """Send the process's standard error to a file while the block runs.

    Python's own ``sys.stderr`` shares the file descriptor, so nothing that must be seen may be
    printed inside the block. Blocks may nest, and overlap in several threads: the first to begin
    swaps the descriptor and the last to end restores it, so each captures all that the process
    prints while it runs, what other threads print too.
    """
    captured = Captured()
    swap, start = _entered()
    try:
        yield captured
    finally:
        captured.text = _left(swap, start)


def import_tensorflow() -> Any:
    """Import TensorFlow without its greetings; takes seconds, once per process."""
    with captured_stderr():
        import tensorflow as tf

        tf.config.list_physical_devices()  # looks for a GPU, and says so if there is none
    return tf


def restore_stderr() -> None:
    """Restore standard error for what is said last, whichever block still has it.

    Ctrl-C that comes while a block begins or ends can leave it swapped, and nobody to restore it.
    """
    global _swap  # noqa: PLW0603 (there is one standard error in a process)
    with _lock:
        if _swap is not None:
            os.dup2(_swap.saved, _STDERR)
            _swap = None


def _entered() -> tuple[_Swap, int]:
    """Swap standard error unless it is already; return the swap, and its file's size so far."""
    global _swap  # noqa: PLW0603
    with _lock:
        if _swap is None:
            sys.stderr.flush()
            file = tempfile.TemporaryFile()  # noqa: SIM115 (the last to leave closes it)
            _swap = _Swap(file, saved=os.dup(_STDERR))
            os.dup2(file.fileno(), _STDERR)
        _swap.users += 1
        return _swap, _size(_swap.file)


def _left(swap: _Swap, start: int) -> str:
    """Restore standard error if nobody else needs it swapped; return what came since ``start``."""
    global _swap  # noqa: PLW0603
    with _lock:
        swap.users -= 1
        if swap.users == 0:
            os.dup2(swap.saved, _STDERR)
            _swap = None  # before it is closed: restore_stderr may be asked for at any moment
            os.close(swap.saved)
        # Read by offset: seeking would move the place where the others' output is written.
        text = os.pread(swap.file.fileno(), _size(swap.file) - start, start)
        if swap.users == 0:
            swap.file.close()
        return text.decode(errors="replace")


def _size(file: IO[bytes]) -> int:
    return os.fstat(file.fileno()).st_size
