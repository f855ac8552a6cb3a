"""``qsr fold-clip`` as a user meets it."""

import json

import numpy as np
import pytest

from qsr import calibration as cal
from qsr.tflite.clips import clip_runs
from qsr.tflite.graph import Graph


@pytest.fixture(scope="module")
def integer(trained_xcat, photographs):
    """An integer XCAT in whose grids the clip copies."""
    return cal.quantize(trained_xcat, cal.collect(trained_xcat, photographs).merged())


@pytest.fixture
def model(integer, tmp_path):
    """Its file."""
    path = tmp_path / "model.tflite"
    path.write_bytes(integer)
    return path


@pytest.fixture
def cutting(integer, tmp_path):
    """The file of the same network in a grid of -0.2 to 1.3."""
    graph = Graph(integer)
    (run,) = clip_runs(graph)
    bound = run.clips[0].inputs[1]
    wide = graph.with_grids(dict.fromkeys([*run.tensors[:-1], bound], (1.5 / 255, -94)))
    path = tmp_path / "cutting.tflite"
    path.write_bytes(Graph(wide).with_constants({bound: np.full_like(graph.constant(bound), 76)}))
    return path


def test_folded(qsr, model, photos, tmp_path):
    """It says what was removed and that no byte differs, with both sets of kernels."""
    said = qsr("fold-clip", model, "-o", tmp_path / "out.tflite", "--images", photos / "candidates")
    assert said.code == 0
    assert "removed, as they copy: MINIMUM, RELU" in said.out
    for kernels in ("XNNPACK", "built-in"):
        assert f"{kernels} kernels: 0 of 44,172 bytes differ on 4 images" in said.out
    assert f"qsr benchmark {model} {tmp_path / 'out.tflite'}" in said.out
    assert (tmp_path / "out.tflite").exists()


def test_offer(qsr, cutting, photos, tmp_path):
    """A clip that cuts is told with the grid that it needs, and the command that gives it one."""
    out = tmp_path / "out.tflite"
    said = qsr("fold-clip", cutting, "-o", out, "--images", photos / "candidates")
    assert said.code == 0
    assert "removed: nothing" in said.out
    assert "spans 0 to 1: ADD -0.2 to 1.3, DEPTH_TO_SPACE -0.2 to 1.3" in said.out
    assert f"qsr fold-clip {cutting} --pin -o {out}" in said.out
    assert "qsr quantize FLOAT_MODEL" in said.out
    pinned = qsr("fold-clip", cutting, "--pin", "-o", out, "--images", photos / "candidates")
    assert "(ADD): -0.2 to 1.3 became 0 to 1" in pinned.out
    assert "these grids change" in pinned.out
    assert "removed, as they copy: MINIMUM, RELU" in pinned.out


def test_json(qsr, model, photos, tmp_path):
    """As JSON it is the report."""
    words = ("-o", tmp_path / "out.tflite", "--images", photos / "candidates", "--json")
    report = json.loads(qsr("fold-clip", model, *words).out)
    assert report["removed"] == ["MINIMUM", "RELU"]
    assert [check["changed"] for check in report["checks"]] == [0, 0]


def test_no_integer_model(qsr, network):
    """A float model is one clear line."""
    assert "a float model" in qsr("fold-clip", network).failure
