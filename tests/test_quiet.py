"""What is printed to standard error by anything in the process, kept and handed over."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from qsr.quiet import captured_stderr

STDERR = 2


def place(descriptor=STDERR):
    """Return what a file descriptor leads to."""
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino


def test_captured():
    """What is written to the descriptor is handed over, and goes nowhere else meanwhile."""
    before = place()
    with captured_stderr() as captured:
        assert place() != before
        os.write(STDERR, b"greetings\n")
    assert captured.text == "greetings\n"
    assert place() == before


def test_restored_after_an_error():
    """An error in the block restores standard error too."""
    before = place()
    with pytest.raises(OSError, match="trouble"), captured_stderr():
        raise OSError("trouble")
    assert place() == before


def test_nested():
    """A block in a block captures what is printed in it; the outer one captures all."""
    before = place()
    with captured_stderr() as outer:
        os.write(STDERR, b"one ")
        with captured_stderr() as inner:
            os.write(STDERR, b"two ")
        assert place() != before
        os.write(STDERR, b"three")
    assert (inner.text, outer.text) == ("two ", "one two three")
    assert place() == before


def test_overlapping_threads():
    """Of two threads whose blocks overlap, the last to leave restores standard error."""
    before = place()
    descriptors = len(list(Path("/dev/fd").iterdir()))
    step = Barrier(2, timeout=20)

    def first():
        with captured_stderr() as captured:
            os.write(STDERR, b"one ")
            step.wait()  # the second may enter
            step.wait()  # it has
        step.wait()
        return captured.text

    def second():
        step.wait()
        with captured_stderr() as captured:
            os.write(STDERR, b"two ")
            step.wait()
            step.wait()  # the first has left
            assert place() != before
            os.write(STDERR, b"three")
        return captured.text

    with ThreadPoolExecutor(2) as pool:
        texts = [task.result() for task in (pool.submit(first), pool.submit(second))]
    assert texts == ["one two ", "two three"]
    assert place() == before
    assert len(list(Path("/dev/fd").iterdir())) == descriptors
