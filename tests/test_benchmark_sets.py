"""The benchmark photographs, which are not ours to ship: set QSR_BENCHMARKS to their folder.

It holds ``Set5``, ``Set14`` and ``B100``, each with ``HR`` (sides multiples of 3) and ``LRx3``, as
distributed with SelfExSR (Huang, Singh, Ahuja, "Single Image Super-Resolution from Transformed
Self-Exemplars", CVPR 2015).
"""

import os
from pathlib import Path

import numpy as np
import pytest

from qsr.data.pairs import find_pairs
from qsr.images import downscale_bicubic, upscale_bicubic
from qsr.metrics import psnr_db

FOLDER = os.environ.get("QSR_BENCHMARKS")

pytestmark = [
    pytest.mark.realdata,
    pytest.mark.skipif(FOLDER is None, reason="QSR_BENCHMARKS is not set"),
]

BICUBIC_DB = {"Set5": (28.64, 30.41), "Set14": (25.89, 27.63), "B100": (25.90, 27.21)}


@pytest.fixture(params=BICUBIC_DB)
def name(request):
    """Name a benchmark set."""
    return request.param


@pytest.fixture
def images(name):
    """Load the LR and HR images of a set."""
    return [pair.load() for pair in find_pairs(Path(FOLDER) / name, 3)]


def test_interior_exact(images):
    """Our LR image equals the distributed one in every value off the outermost pixels."""
    for lr, hr in images:
        assert np.array_equal(downscale_bicubic(hr, 3)[1:-1, 1:-1], lr[1:-1, 1:-1])


def test_border_exact(images):
    """With edges replicated, as MATLAB did before it mirrored, the border is equal as well."""
    for lr, hr in images:
        padded = np.pad(hr, ((9, 9), (9, 9), (0, 0)), mode="edge")
        assert np.array_equal(downscale_bicubic(padded, 3)[3:-3, 3:-3], lr)


def test_bicubic_row(name, images):
    """The mean PSNR of bicubic upscaling, over RGB and luminance, is the known one to 0.01 dB."""
    enlarged = [(upscale_bicubic(lr, 3), hr) for lr, hr in images]
    rgb = np.mean([psnr_db(sr, hr, shave=1) for sr, hr in enlarged])
    luminance = np.mean([psnr_db(sr, hr, shave=3, channels="y") for sr, hr in enlarged])
    assert (rgb, luminance) == pytest.approx(BICUBIC_DB[name], abs=0.01)
