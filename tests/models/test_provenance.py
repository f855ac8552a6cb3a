"""The files that lie beside shipped weights."""

import json
from dataclasses import asdict

import numpy as np
import pytest

from qsr.errors import ModelError
from qsr.models import zoo
from qsr.models.provenance import Parameters, Scores, read_provenance
from qsr.models.zoo import ZOO, build, load, pretrained_path, provenance

SHIPPED = [name for name in ZOO if (zoo._PRETRAINED / ZOO[name].pretrained).exists()]

WHOLE = {
    "network": "espcn",
    "config": {"scale": 3, "activation": "tanh", "clipped": False},
    "parameters": {"trained": 31131, "frozen": 0},
    "commands": ["qsr train espcn_x3 --data photos"],
    "steps": 100000,
    "seconds": 1800,
    "training_images": {"photos": "96 photographs, CC0"},
    "licence": "Apache-2.0",
    "scores": {"Set5": {"psnr_y_db": 32.5, "psnr_rgb_db": 30, "uint8_psnr_y_db": 32.4}},
}


@pytest.fixture
def file(tmp_path):
    """Write a provenance file with some fields changed: ``file(field=value) -> path``."""

    def write(**changed):
        path = tmp_path / "espcn_x3.json"
        fields = {key: value for key, value in (WHOLE | changed).items() if value is not None}
        path.write_text(json.dumps(fields))
        return path

    return write


def test_read(file):
    """Every field is read; a score that was not measured is None."""
    read = read_provenance(file())
    assert read.parameters == Parameters(trained=31131)
    assert read.commands == ("qsr train espcn_x3 --data photos",)
    scores = Scores(psnr_y_db=32.5, psnr_rgb_db=30.0, uint8_psnr_y_db=32.4)
    assert read.scores == {"Set5": scores}
    assert scores.uint8_psnr_rgb_db is None
    assert (read.steps, read.seconds, read.machine) == (100000, 1800.0, "")
    again = asdict(read)
    assert {key: again[key] for key in ("network", "config", "training_images", "licence")} == {
        key: WHOLE[key] for key in ("network", "config", "training_images", "licence")
    }


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"steps": None}, r"steps: Field required"),
        ({"step": 1}, r"step: Unexpected"),
        ({"steps": "many"}, r"steps: Input should be a valid integer"),
        ({"parameters": {"trained": 1, "froze": 0}}, r"parameters\.froze: Unexpected"),
        ({"scores": {"Set5": {"psnr_y_db": 1.0}}}, r"scores\.Set5\.psnr_rgb_db: Field required"),
        ({"commands": "qsr train"}, r"commands: Input should be a valid array"),
    ],
)
def test_wrong_field(file, changed, words):
    """A field that is missing, unknown or of another type is an error that names it."""
    with pytest.raises(ModelError, match=rf"espcn_x3\.json: .*: {words}") as caught:
        read_provenance(file(**changed))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]"])
def test_damaged(tmp_path, content):
    """A file that is no such JSON is an error of one line that names it."""
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ModelError, match=r"a\.json: not where weights come from: ") as caught:
        read_provenance(tmp_path / "a.json")
    assert "\n" not in str(caught.value)


def test_missing(tmp_path):
    """Weights that ship without such a file are an error that names it."""
    with pytest.raises(ModelError, match=r"a\.json: cannot be read: No such file"):
        read_provenance(tmp_path / "a.json")


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped(name):
    """Weights that ship are of the network and config that their file tells, parameters too."""
    told = provenance(name)
    assert told.network == name
    model = build(name, ZOO[name].config(**told.config))
    assert asdict(ZOO[name].config(**told.config)) == told.config
    shipped = load(pretrained_path(name))
    assert [weight.shape for weight in shipped.weights] == [w.shape for w in model.weights]
    sizes = [
        sum(int(np.prod(weight.shape)) for weight in weights)
        for weights in (shipped.trainable_weights, shipped.non_trainable_weights)
    ]
    assert sizes == [told.parameters.trained, told.parameters.frozen]
    assert told.commands
    assert told.steps > 0
    assert told.training_images


def test_bicubic():
    """Bicubic has scores and no weights; they are what others measured."""
    told = provenance("bicubic")
    assert (told.network, told.steps, told.parameters) == ("bicubic", 0, Parameters(trained=0))
    expected = {"Set5": (28.64, 30.41), "Set14": (25.89, 27.63), "B100": (25.90, 27.21)}
    for name, (rgb, luminance) in expected.items():
        scores = told.scores[name]
        found = (scores.psnr_rgb_db, scores.psnr_y_db)
        assert found == pytest.approx((rgb, luminance), abs=0.01)


def test_not_shipped(monkeypatch, tmp_path):
    """Where no weights ship nothing is told of them, and asking for them is an error."""
    monkeypatch.setattr(zoo, "_PRETRAINED", tmp_path)
    assert provenance("abpn") is None
    with pytest.raises(zoo.UsageError, match="no weights of abpn ship with qsr"):
        pretrained_path("abpn")
