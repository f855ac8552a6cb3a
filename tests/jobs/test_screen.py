"""The screen of a search: which models it is drawn from, and when one is kept or drawn anew."""

from dataclasses import replace

import numpy as np
import pytest
import skimage.data

from qsr.calibration import Scheme, collect
from qsr.calibration.executor import local_processes
from qsr.data.decoded import HeldPairs
from qsr.images import downscale_bicubic
from qsr.jobs.screen import _usual, screen_for
from qsr.tflite.runtime import inspect_model

PICTURES = (
    *(skimage.data.hubble_deep_field()[..., :3], skimage.data.coffee(), skimage.data.chelsea()),
)
"""297 000 LR pixels at x2, of which screening is worth while."""


@pytest.fixture(scope="module")
def large():
    """These photographs at a scale: ``scale -> pairs``."""

    def make(scale):
        cut = [hr[: len(hr) // 12 * 12, : hr.shape[1] // 12 * 12] for hr in PICTURES]
        return HeldPairs(("0", "1", "2"), tuple((downscale_bicubic(hr, scale), hr) for hr in cut))

    return make


@pytest.fixture(scope="module")
def table(espcn, photographs):
    """The ranges of four candidates."""
    return collect(espcn, photographs)


@pytest.fixture
def draw(espcn, table, large, tmp_path):
    """Ask for a screen with other arguments, and tell its progress too."""

    def drawn(**change):
        told = []
        arguments = {
            "pairs": large(2),
            "hashes": ["a", "b", "c"],
            "facts": replace(
                inspect_model(espcn), input_dtype="uint8", output_dtype="uint8", quantized=True
            ),
            "executor": None,
            "path": tmp_path / "screen.npz",
        } | change
        model, rows = arguments.pop("model", espcn), arguments.pop("table", table)
        scheme = arguments.pop("scheme", Scheme())
        on_progress = lambda *now: told.append(now)  # noqa: E731
        return screen_for(model, rows, scheme, **arguments, on_progress=on_progress), told

    return drawn


def test_usual(table):
    """The reference is the candidate whose ranges are of median width; of two, the narrower."""
    steps = np.arange(1, 5, dtype=np.float32)[:, None]
    stairs = replace(
        table,
        minimum=np.zeros_like(table.minimum),
        maximum=steps[[2, 0, 3, 1]] * np.ones_like(table.maximum),
    )
    third, first, fourth, second = stairs.images
    assert _usual(stairs) == second
    assert _usual(stairs.subset([third, first, fourth])) == third
    assert _usual(stairs.subset([first])) == first


def test_kept(draw, tmp_path):
    """A screen is drawn once: asked for again, it is the same and nothing is measured."""
    first, told = draw()
    assert [now for now, _ in told] == list(range(1, told[-1][1] + 1))
    again, told = draw()
    assert told == []
    assert again.identity == first.identity
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("change", ["hashes", "scheme", "table"])
def test_another(draw, table, tmp_path, change):
    """Other images, another scheme or other candidates get a screen of their own."""
    draw()
    others = {
        "hashes": ["a", "b", "d"],
        "scheme": Scheme(per_channel=False),
        "table": table.subset(["rocket"]),
    }
    _, told = draw(**{change: others[change]})
    assert told
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("damage", ["empty", "torn", "text", "other"])
def test_damaged(draw, tmp_path, damage):
    """A screen that cannot be read is drawn anew, and is the same."""
    first, _ = draw()
    (path,) = tmp_path.iterdir()
    match damage:
        case "empty":
            path.write_bytes(b"")
        case "torn":
            path.write_bytes(path.read_bytes()[:-100])
        case "text":
            path.write_text("no screen")
        case "other":
            with path.open("wb") as file:
                np.savez(file, side=np.array(24))
    again, told = draw()
    assert told
    assert again.identity == first.identity
    assert draw()[1] == []


def test_processes(draw, tmp_path):
    """Drawn by worker processes, it is the same."""
    alone, _ = draw()
    with local_processes(2) as executor:
        together, told = draw(executor=executor, path=tmp_path / "other.npz")
    assert told
    assert together.identity == alone.identity


def test_not_worth_while(draw, espcn, large, tmp_path):
    """For a few small images, or a model of one size, none is drawn, and nothing is measured."""
    lr, hr = large(2)[2]
    small = HeldPairs(("small",), ((lr[:40, :40], hr[:80, :80]),))
    fixed = replace(inspect_model(espcn), fixed_size=(40, 48))
    for change in ({"pairs": small}, {"facts": fixed}):
        assert draw(**change) == (None, [])
    assert list(tmp_path.iterdir()) == []


def test_black(draw, xcat, large, tmp_path):
    """Without a candidate whose model can be run, there is nothing to draw from."""
    black = collect(xcat, {"black": np.zeros((30, 30, 3), np.uint8)})
    facts = replace(inspect_model(xcat), input_dtype="uint8", output_dtype="uint8", quantized=True)
    pairs = large(3)
    pairs = pairs.at([0, 1, 2, 0])
    screen, told = draw(model=xcat, table=black, pairs=pairs, facts=facts)
    assert screen is None
    assert told[-1] == (len(told), len(told))
    assert list(tmp_path.iterdir()) == []
