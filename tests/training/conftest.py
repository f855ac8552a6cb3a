"""A training small enough for tests, and one run of it that nothing disturbed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import skimage.data
from PIL import Image

from qsr.data.pairs import find_pairs
from qsr.models.xcat import XcatConfig
from qsr.training.recipe import Recipe, Training

CROPS = {
    "astronaut": skimage.data.astronaut()[0:60, 170:260],
    "chelsea": skimage.data.chelsea()[90:168, 110:170],
    "coffee": skimage.data.coffee()[100:166, 200:266],
    "rocket": skimage.data.rocket()[150:204, 300:375],
}


@dataclass(frozen=True)
class Run:
    """A finished training: its folder, result, reports and log."""

    out: Path
    result: Any
    reports: list[Any]
    log: str


@pytest.fixture(scope="session")
def images(tmp_path_factory):
    """Make four pairs of photograph crops: three to train on, one to validate on."""
    folder = tmp_path_factory.mktemp("images")
    for name, crop in CROPS.items():
        Image.fromarray(crop).save(folder / f"{name}.png")
    pairs = find_pairs(folder, 3)
    return pairs[:3], pairs[3:]


@pytest.fixture(scope="session")
def tiny():
    """Describe 200 steps of a network of four channels, at four learning rates."""
    return Recipe(
        name="tiny",
        model=XcatConfig(blocks=1, x_channels=3, y_channels=1),
        training=Training(
            seed=3, batch_size=2, lr_patch_px=8, epochs=4, steps_per_epoch=50, warmup_epochs=1
        ),
    )


@pytest.fixture(scope="session")
def whole(tiny, images, tmp_path_factory):
    """Run it from beginning to end, with checkpoints after 100 and 200 steps."""
    from qsr.training.train import train

    out = tmp_path_factory.mktemp("whole") / "run"
    reports = []
    result = train(tiny, *images, out, checkpoint_steps=100, on_progress=reports.append)
    return Run(out, result, reports, (out / "log.jsonl").read_text())
