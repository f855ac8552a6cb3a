"""``qsr audit-repdata`` from beginning to end."""

import json
import re
import shlex

import numpy as np
import pytest
from PIL import Image


def parsed(text):
    """Read JSON that has none of the numbers that JSON does not know."""
    return json.loads(text, parse_constant=pytest.fail)


@pytest.fixture
def dark(photos, tmp_path):
    """A folder of one dark image."""
    (tmp_path / "dark").mkdir()
    picture = np.asarray(Image.open(photos / "candidates/coffee.png"))
    Image.fromarray(picture // 4 + 20).save(tmp_path / "dark/night.png")
    return tmp_path / "dark"


def test_text_and_json(qsr, network, photos):
    """The words come first; the table and the JSON hold the same numbers."""
    words = ("audit-repdata", network, "--images", photos / "candidates", "--workers", "1")
    words = (*words, "--against", photos / "validation")
    text = qsr(*words).out
    report = parsed(qsr(*words, "--json").out)
    sentences = report["verdict"]["sentences"]
    assert text.startswith("\n".join(sentences))
    assert 2 <= len(sentences) <= 5
    for tensors in report["audit"]["grids"]:
        tensor = max(tensors, key=lambda one: one["saturation"]["share"])
        share = 100 * (tensor["saturation"]["above_share"] + tensor["saturation"]["below_share"])
        more = rf" \(\+{len(tensors) - 1}\)" if len(tensors) > 1 else ""
        grid = rf"{tensor['grid_minimum']:.3f}\.\.{tensor['grid_maximum']:.3f}"
        assert re.search(rf"{tensor['label']}{more}\s+{grid}\s.*\s{share:.4f}\s", text)
    assert re.search(rf"^drop: .*without {report['audit']['drop']['image']} ", text, re.MULTILINE)
    assert "input: pinned, exact" in text


def test_next_step(qsr, network, dark, photos):
    """The command that is proposed can be pasted, and goes on."""
    said = qsr("audit-repdata", network, "--images", dark, "--workers", "1")
    assert said.out.startswith("Likely too narrow")
    assert "one image: no halves to compare" in said.out
    (line,) = re.findall(r"^  (qsr .*)$", said.out, re.MULTILINE)
    words = [photos / "validation" if word == "DIR" else word for word in shlex.split(line)[1:]]
    said = qsr(*words, "--workers", "1")
    assert said.out.startswith("Too narrow")
    assert "qsr search-repdata" in said.out


def test_bad_input(qsr, network, photos, tmp_path):
    """No images, a missing folder and an empty one are named, each in a line."""
    assert "--images" in qsr("audit-repdata", network).err
    assert "nowhere" in qsr("audit-repdata", network, "--images", tmp_path / "nowhere").failure
    line = qsr("audit-repdata", network, "--images", photos / "empty").failure
    assert f"{photos / 'empty'}" in line


def test_skipped(qsr, network, photos, dark):
    """Images that were left out are named on standard error, and the rest is audited."""
    (dark / "bad.png").write_bytes(b"no image")
    words = ("audit-repdata", network, "--images", dark, "--workers", "1")
    assert qsr(*words).failure.startswith(f"qsr: {dark / 'bad.png'}: ")
    said = qsr(*words, "--skip-bad-images", "--against", photos / "validation", "--json")
    assert f"left out: {dark / 'bad.png'}: " in said.err
    assert parsed(said.out)["audit"]["images"] == 1


def test_fixed_size(qsr, abpn, photos, tmp_path):
    """A model of one size says what it does to images of others."""
    (tmp_path / "abpn.tflite").write_bytes(abpn)
    words = ("audit-repdata", tmp_path / "abpn.tflite", "--images", photos / "candidates")
    assert "takes 48x40 pixels alone" in qsr(*words, "--workers", "1").out
