"""What is kept of the integer models of a table's rows, and when it is taken again."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

import qsr.jobs.table_quantized
from qsr.jobs.progress import silent
from qsr.jobs.table_quantized import Method, Searching, searched


@pytest.fixture
def how(images, tmp_path):
    """How a search is made here."""
    return Searching(
        images / "candidates", images / "scored", "content", 3, tmp_path, 1, False, silent
    )


@pytest.fixture
def searches(monkeypatch):
    """Replace the search by a list of what it is asked for; it finishes at once."""
    made = []

    def search(model, *, out, scheme, **settings):
        made.append({"scheme": scheme, **settings})
        out.mkdir()
        path = out / f"model_{scheme}.tflite"
        path.write_bytes(Path(model).read_bytes())
        (out / "summary.json").write_text(
            '{"integer_model": "", "validation": "", "chosen": {"images": ["a"]}}'
        )
        return SimpleNamespace(integer_model=path, chosen=SimpleNamespace(images=("a",)))

    monkeypatch.setattr(qsr.jobs.table_quantized, "search_repdata", search)
    return made


def test_kept(how, searches, network):
    """The same model, images and settings are searched with once."""
    model = network.read_bytes()
    assert searched(model, "row", how) == searched(model, "row", how)
    assert len(searches) == 1


@pytest.mark.parametrize(
    "setting",
    [
        {"scheme": "int8"},
        {"strategy": "greedy"},
        {"objective": "worst"},
        {"exact": True},
        {"equalized": False},
        {"pin_io": False},
        {"reader": "converter"},
        {"refined": True},
    ],
    ids=str,
)
def test_other_setting(how, searches, network, setting):
    """Another setting is searched with anew, and reaches the search."""
    model = network.read_bytes()
    searched(model, "row", how)
    searched(model, "row", replace(how, method=Method(**setting)))
    first, second = searches
    asked = {"refining": None} if setting == {"refined": True} else setting
    assert asked.items() <= second.items()
    assert {**first, **asked} == second


@pytest.mark.parametrize("other", [{"content": "other"}, {"scale": 2}], ids=str)
def test_other_images(how, searches, network, other):
    """So are other images, and another scale."""
    searched(network.read_bytes(), "row", how)
    searched(network.read_bytes(), "row", replace(how, **other))
    assert len(searches) == 2


def test_other_method(how, searches, network, monkeypatch):
    """A search that qsr now makes in another way is made anew."""
    searched(network.read_bytes(), "row", how)
    monkeypatch.setattr(qsr.jobs.table_quantized, "_METHOD", -1)
    searched(network.read_bytes(), "row", how)
    assert len(searches) == 2
