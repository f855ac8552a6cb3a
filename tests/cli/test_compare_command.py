"""``qsr compare`` from the command line: what it says, as text, as JSON and as files."""

import csv
import json
import re
from io import StringIO

import pytest

import qsr.jobs.compare as compare_job
from qsr.errors import UsageError


def parsed(text):
    """Read JSON that has none of the numbers that JSON does not know."""
    return json.loads(text, parse_constant=pytest.fail)


@pytest.fixture
def compared(qsr, searched):
    """Compare the models of a finished search."""

    def run(*more):
        return qsr("compare", "fp32", "int8", "--run", searched, "--workers", "1", *more)

    return run


def test_text_and_json(compared):
    """The three lines, the tables and the JSON hold the same words and numbers."""
    text = compared().out
    report = parsed(compared("--json").out)
    diagnosis = report["diagnosis"]
    lines = [diagnosis[name] for name in ("costs_most", "why", "what_to_do")]
    assert text.splitlines()[:3] == lines
    for said in (
        f"reference {report['reference_psnr_db']:.3f} dB",
        f"tested {report['tested_psnr_db']:.3f} dB",
        f"drop {report['drop_db']:.4f} dB",
        f"{report['tested']} against {report['reference']}",
    ):
        assert said in text
    comparison = report["comparison"]
    for layer in comparison["layers"]:
        numbers = rf"{re.escape(layer['label'])}\s.*\s{layer['accumulated']['sqnr_db']:.2f}\s"
        if layer["cost"] is not None:
            numbers += rf".*\s{layer['cost']['alone_db']:.4f}\s.*{layer['scale']:.6f}\s"
        assert re.search(numbers, text)
    causes = comparison["causes"]
    parts = {
        "weights and biases rounded": causes["weights_db"],
        "activations rounded and cut off": causes["activations_db"],
        "grids of input and output": causes["io_grid_db"],
        "more when together": causes["interaction_db"],
        "integer arithmetic": causes["kernels_db"],
    }
    for row, value in parts.items():
        assert re.search(rf"{row}\s.*\s{value:.4f}\b", text)
    assert sum(parts.values()) == pytest.approx(report["drop_db"], abs=1e-9)
    assert re.search(rf"of which cut off\s.*\s{causes['saturation_db']:.4f}\b", text)
    for name in comparison["only_tested"]:
        assert name in text


def test_json_without_noise(qsr, network, photos, tmp_path):
    """A comparison full of infinities, a model with itself, is JSON that anything can read."""
    model = tmp_path / "integer.tflite"
    assert qsr("quantize", network, "--repdata", photos / "candidates", "-o", model).code == 0
    words = ("compare", model, model, "--images", photos / "validation", "--workers", "1")
    report = parsed(qsr(*words, "--json").out)
    assert {one["accumulated"]["sqnr_db"] for one in report["comparison"]["layers"]} == {"inf"}
    assert report["drop_db"] == 0
    assert qsr(*words).code == 0


def test_files(compared, tmp_path):
    """A page, a table and overlays are written where they are asked for, and named."""
    page, table, folder = (tmp_path / name for name in ("page.html", "layers.csv", "overlays"))
    said = compared("--report", page, "--csv", table, "--overlay", folder)
    assert said.code == 0
    for what, path in (("report", page), ("layers", table), ("overlay", folder)):
        assert f"{what}: {path}\n" in said.out
    assert f"--report {page}" in page.read_text(encoding="utf-8")
    rows = list(csv.DictReader(StringIO(table.read_text(encoding="utf-8"))))
    report = parsed(compared("--json").out)
    assert [row["name"] for row in rows] == [
        layer["name"] for layer in report["comparison"]["layers"]
    ]
    for overlay in folder.iterdir():
        assert parsed(overlay.read_text(encoding="utf-8"))["results"]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--report", "page.pdf"), "page.pdf: give the page a name that ends in .html"),
        (("--csv", "none/layers.csv"), "none/layers.csv: no folder none; make it first"),
        (("--overlay", "file"), "file: a file; give another --overlay"),
        (("--overlay", "file/folder"), "file/folder: file is no folder; give another --overlay"),
        (("--workers", "0"), "--workers must be at least 1"),
        (("--limit", "0"), "--limit must be at least 1"),
        (("int8", "fp32"), "give the float model first"),
    ],
)
def test_refused_early(qsr, tmp_path, monkeypatch, words, named):
    """What cannot be done is one line, said before a model is made; nothing is written."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    said = qsr("compare", *words)
    assert said.code == 2
    assert named in said.failure
    assert len(said.err.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("place", [0, 1])
def test_bad_models(qsr, network, photos, tmp_path, place):
    """A missing, damaged or unfit model is named in one line."""
    damaged = tmp_path / "damaged.tflite"
    damaged.write_bytes(network.read_bytes()[:3000])
    words = ("--images", photos / "validation", "--workers", "1")
    for bad in (damaged, tmp_path / "missing.tflite"):
        models = [network, network]
        models[place] = bad
        said = qsr("compare", *models, *words)
        assert said.code == 1
        assert said.failure.startswith(f"qsr: {bad}: ")
    said = qsr("compare", network, network, *words)
    assert "both compute in float" in said.failure


def test_small_image(qsr, searched, bad_picture):
    """An image that is all border is named; without it, the others are compared."""
    folder, bad = bad_picture
    words = ("compare", "--run", searched, "--images", folder, "--workers", "1")
    assert qsr(*words).failure.startswith(f"qsr: {bad}: ")
    said = qsr(*words, "--skip-bad-images")
    assert said.code == 0
    assert f"left out: {bad}: " in said.err


@pytest.fixture
def bad_picture(photos, tmp_path):
    """A folder of two images, one of them of 6x6 pixels; and that one."""
    import numpy as np
    from PIL import Image

    folder = tmp_path / "pictures"
    folder.mkdir()
    Image.open(photos / "validation/coffee.png").save(folder / "coffee.png")
    Image.fromarray(np.zeros((6, 6, 3), np.uint8)).save(folder / "small.png")
    return folder, folder / "small.png"


def test_unwritten(compared, tmp_path, monkeypatch):
    """What was measured is printed even if a file cannot be written in the end; the code is 2."""

    def full(path, _text):
        raise UsageError(f"{path} cannot be written (No space left on device)")

    monkeypatch.setattr(compare_job, "write_text", full)
    page = tmp_path / "page.html"
    said = compared("--report", page)
    assert said.code == 2
    assert "SQNR (dB)" in said.out
    assert said.err.splitlines()[-1] == f"qsr: {page} cannot be written (No space left on device)"
