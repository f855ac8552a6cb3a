"""The list of networks."""

import json
import subprocess
import sys

from qsr.jobs.models_table import known_models
from qsr.models import zoo
from qsr.models.provenance import Parameters
from qsr.models.zoo import ZOO, provenance


def test_every_network():
    """Bicubic and every network of the zoo are listed, with what their files tell."""
    models = known_models()
    assert [one.name for one in models] == ["bicubic", *ZOO]
    for one in models:
        assert one.provenance == provenance(one.name)
        assert one.scale == 3
        if one.provenance is not None:
            assert one.parameters == one.provenance.parameters


def test_not_shipped(monkeypatch, tmp_path):
    """Networks without weights have the published network's parameters and scale."""
    (tmp_path / "bicubic_x3.json").write_text((zoo._PRETRAINED / "bicubic_x3.json").read_text())
    monkeypatch.setattr(zoo, "_PRETRAINED", tmp_path)
    _, *networks = known_models()
    assert {one.name: one.parameters.trained for one in networks} == {
        "xcat": 16519,
        "xlsr": 21947,
        "abpn": 42539,
        "fsrcnn": 24683,
        "espcn": 31131,
    }
    assert all(one.provenance is None for one in networks)


def test_told_by_the_weights(monkeypatch, tmp_path):
    """Where weights ship, scale and parameters are those that their file tells."""
    told = json.loads((zoo._PRETRAINED / "xcat_x3.json").read_text())
    told |= {"network": "abpn", "config": {"scale": 2}, "parameters": {"trained": 5, "frozen": 6}}
    (tmp_path / "bicubic_x3.json").write_text((zoo._PRETRAINED / "bicubic_x3.json").read_text())
    (tmp_path / "abpn_x3.json").write_text(json.dumps(told))
    (tmp_path / "abpn_x3.keras").write_bytes(b"")
    monkeypatch.setattr(zoo, "_PRETRAINED", tmp_path)
    (abpn,) = [one for one in known_models() if one.name == "abpn"]
    assert (abpn.scale, abpn.parameters) == (2, Parameters(trained=5, frozen=6))


def test_nothing_heavy():
    """The list is made without loading TensorFlow, Keras or an image library."""
    script = (
        "import json, sys; from qsr.jobs.models_table import known_models; known_models(); "
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    loaded = subprocess.run(  # noqa: S603 (our own script)
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    packages = set(json.loads(loaded.stdout))
    assert "qsr" in packages
    assert not packages & {"tensorflow", "keras", "tf_keras", "skimage", "PIL", "ai_edge_litert"}
