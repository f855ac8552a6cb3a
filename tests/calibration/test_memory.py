"""How much memory measuring takes, in a process of its own, as Linux tells it."""

import subprocess
import sys

import pytest

LIMIT_MIB = 1536
SCRIPT = """
import re, sys
from pathlib import Path
import numpy as np
from qsr import calibration as cal
model, count, height, width = sys.argv[1], *map(int, sys.argv[2:])
def image(seed):
    return lambda: np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
cal.collect(model, ((str(seed), image(seed)) for seed in range(count)))
held = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())
print(int(held[1]) / 1024)  # getrusage counts what the parent held, too, when it forked
"""


@pytest.fixture
def peak_mib(trained_xcat, tmp_path):
    """Measure ranges in a new process; return the most memory that it held, in MiB."""
    model = tmp_path / "model.tflite"
    model.write_bytes(trained_xcat)

    def peak(count, height, width):
        words = [sys.executable, "-c", SCRIPT, model, *map(str, (count, height, width))]
        run = subprocess.run(words, check=True, capture_output=True, text=True)  # noqa: S603
        return float(run.stdout)

    return peak


def test_large_photograph(peak_mib):
    """The LR image of an 8K photograph is measured in less than 1.5 GiB."""
    assert peak_mib(1, 1440, 2560) < LIMIT_MIB


def test_many_photographs(peak_mib):
    """Four times as many images take no more memory, but for a few rows and what malloc keeps."""
    assert peak_mib(12, 300, 400) < peak_mib(3, 300, 400) + 60
