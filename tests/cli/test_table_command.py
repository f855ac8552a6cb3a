"""``qsr table`` as a user runs it."""

import json
import shutil

import pytest

from qsr.models.zoo import pretrained_path


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder of trainings that holds one, of XCAT; the same one in all tests."""
    root = tmp_path_factory.mktemp("runs")
    (root / "xcat_x3").mkdir()
    shutil.copy(pretrained_path("xcat"), root / "xcat_x3/model.keras")
    return root


@pytest.fixture
def options(photos, runs):
    """What every table here is made with."""
    return (
        *("--data", photos / "candidates", "--runs", runs, "--rounds", "1", "--workers", "1"),
        *("--candidates", photos / "candidates", "--choosing", photos / "validation"),
    )


def test_table(qsr, options):
    """A table is printed with its notes, and the work that goes before shows progress."""
    said = qsr("table", "4", *options)
    assert said.code == 0
    lines = said.out.splitlines()
    assert lines[0].startswith("Table 4: ")
    (parameters,) = (line for line in lines if line.startswith("  parameters, ours"))
    assert parameters.split()[2:] == ["24683", "31131", "21947", "42539", "16519"]
    (naive,) = (line for line in lines if line.startswith("  UINT8 PSNR, ours, naive"))
    assert float(naive.split()[-1]) > 15
    assert "such as astronaut" in said.out
    assert "quantize rows" in said.err


def test_json(qsr, options):
    """``--json`` prints the record; missing cells are null."""
    report = json.loads(qsr("table", "2", *options, "--naive", "--json").out)
    rows = {row["paper"]["name"]: row["ours"] for row in report["rows"]}
    assert rows["XCAT"]["scores"]["candidates"]["fp32"]["y_db"] > 20
    assert rows["XCAT"]["scores"]["candidates"]["naive_uint8"]["y_db"] > 15
    assert rows["XCAT"]["latency"] is None
    assert rows["XCAT"]["origin"] == "run"
    assert report["sets"][0]["images"] == 4


def test_markdown(qsr, options, runs):
    """``--markdown`` prints tables and notes, and the command with the options that were given."""
    said = qsr("table", "2", *options, "--markdown")
    assert said.out.startswith("## Table 2: ")
    command = said.out.partition("```\n")[2].partition("\n```")[0]
    assert command.startswith("qsr table 2 --data ")
    assert f"--runs {runs}" in command
    assert "--rounds 1" in command
    assert command.endswith("--markdown")
    assert "--threads" not in command
    assert "--json" not in command


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["9"], (2, "there is no table 9; give one of 1, 2, 3, 4")),
        (["1"], (2, "give at least one folder of images to score on with --data")),
        (["1", "--data", "gone"], (1, "gone: no such file or folder")),
        (["1", "--steps", "100"], (2, "are about training; give the images to train on")),
        (["1", "--train", ".", "--set", "model.blocs=3"], (2, "did you mean blocks?")),
        (["1", "--train", ".", "--steps", "3"], (2, "--steps 3: xcat_x3 has 100 epochs")),
    ],
)
def test_bad_input(qsr, tmp_path, monkeypatch, words, expected):
    """What is wrong is told in one line, and nothing is left behind."""
    code, message = expected
    monkeypatch.chdir(tmp_path)
    said = qsr("table", *words)
    assert said.code == code
    assert message in said.failure
    assert list(tmp_path.iterdir()) == []


def test_help(qsr):
    """The help says that steps are rounded, and which images validate."""
    said = " ".join(qsr("table", "--help").out.replace("│", " ").split())
    assert "all stages together, rounded to whole epochs" in said
    assert "the validation images that --train has itself (DIV2K)" in said
