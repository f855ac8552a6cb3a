"""``qsr models``, as text and as JSON."""

import json
import re

import pytest

from qsr.models import zoo


@pytest.fixture
def two_shipped(monkeypatch, tmp_path):
    """Let weights of two networks ship: one measured in UINT8 too, one without scores."""
    (tmp_path / "bicubic_x3.json").write_text((zoo._PRETRAINED / "bicubic_x3.json").read_text())
    told = {
        "network": "espcn",
        "config": {"scale": 3},
        "parameters": {"trained": 31131, "frozen": 0},
        "commands": ["qsr train espcn_x3"],
        "steps": 100000,
        "seconds": 5400,
        "training_images": {"photos": "96 photographs"},
        "licence": "Apache-2.0",
        "scores": {
            "Set5": {"psnr_y_db": 32.504, "psnr_rgb_db": 30.5, "uint8_psnr_y_db": 32.396},
            "Urban100": {"psnr_y_db": 26.0, "psnr_rgb_db": 24.5},
        },
    }
    bare = told | {"network": "xcat", "scores": {}, "seconds": 9000}
    bare["parameters"] = {"trained": 16519, "frozen": 81}
    for name, content in (("espcn", told), ("xcat", bare)):
        (tmp_path / f"{name}_x3.json").write_text(json.dumps(content))
        (tmp_path / f"{name}_x3.keras").write_bytes(b"")
    monkeypatch.setattr(zoo, "_PRETRAINED", tmp_path)


@pytest.mark.usefixtures("two_shipped")
def test_text(qsr):
    """Each network has a row: parameters, every set's scores, training, or that it is missing."""
    said = qsr("models")
    assert said.code == 0
    found = re.findall(r"^  (\w+) +(x.*)$", said.out, re.MULTILINE)
    rows = {name: row.split() for name, row in found}
    (head,) = re.findall(r"^ +model .*$", said.out, re.MULTILINE)
    columns = ["model", "scale", "parameters", "Set5", "Set14", "B100", "Urban100", "training"]
    assert head.split() == columns
    steps = ["100000", "steps,"]
    assert rows["bicubic"] == ["x3", "0", "30.41", "27.63", "27.21"]
    assert rows["espcn"] == ["x3", "31131", "32.50/32.40", "26.00", *steps, "90", "min"]
    assert rows["xcat"] == ["x3", "16519", "+", "81", "frozen", *steps, "2.5", "h"]
    for name, parameters in (("xlsr", "21947"), ("abpn", "42539"), ("fsrcnn", "24683")):
        assert rows[name] == ["x3", parameters, "not", "shipped"]


@pytest.mark.usefixtures("two_shipped")
def test_json(qsr):
    """The same as JSON, with everything that is known; null for weights that do not ship."""
    models = {one["name"]: one for one in json.loads(qsr("models", "--json").out)}
    assert list(models) == ["bicubic", "xcat", "xlsr", "abpn", "fsrcnn", "espcn"]
    assert models["espcn"]["provenance"]["scores"]["Set5"]["uint8_psnr_y_db"] == 32.396
    assert models["espcn"]["provenance"]["commands"] == ["qsr train espcn_x3"]
    assert models["xcat"]["parameters"] == {"trained": 16519, "frozen": 81}
    assert models["fsrcnn"] == {
        "name": "fsrcnn",
        "scale": 3,
        "parameters": {"trained": 24683, "frozen": 0},
        "provenance": None,
    }


@pytest.mark.usefixtures("two_shipped")
def test_damaged(qsr):
    """A damaged file beside weights is an error of one line that names it."""
    (zoo._PRETRAINED / "espcn_x3.json").write_text("{")
    assert "espcn_x3.json: not where weights come from" in qsr("models").failure


@pytest.mark.usefixtures("two_shipped")
def test_not_shipped(qsr):
    """Another command that is given a network without weights says that none ship."""
    assert "no weights of abpn ship with qsr" in qsr("evaluate", "abpn").failure
