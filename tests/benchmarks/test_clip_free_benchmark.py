"""The two ways to be rid of the clip, on small photographs."""

import json
import shutil

import clip_free
import pytest
import skimage.data
from PIL import Image

from qsr.tflite.graph import Graph


@pytest.fixture
def photos(tmp_path):
    """A folder of two candidates and one of three validation images."""
    crops = {
        "candidates/chelsea": skimage.data.chelsea()[90:150, 110:176],
        "candidates/coffee": skimage.data.coffee()[100:160, 200:260],
        "validation/astronaut": skimage.data.astronaut()[100:160, 170:230],
        "validation/chelsea": skimage.data.chelsea()[160:220, 200:269],
        "validation/coffee": skimage.data.coffee()[200:254, 300:360],
    }
    for name, crop in crops.items():
        path = tmp_path / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(crop).save(path)
    return tmp_path


def test_side_by_side(photos, trained_xcat, tmp_path, capsys):
    """Folded and unfolded score the same, no model without a clip has one, and all are timed."""
    network = tmp_path / "network.tflite"
    network.write_bytes(trained_xcat)
    work = tmp_path / "work"
    words = ["--model", str(network), "--work", str(work), "--exact", "--workers", "1"]
    words += ["--rounds", "2", "--height", "20", "--width", "24"]
    for side in ("candidates", "validation"):
        words += [f"--{side}", str(photos / side)]
    assert clip_free.main(words) == 0
    (folder,) = work.iterdir()
    record = json.loads((folder / "record.json").read_text())
    usual, kept, folded, free, free_pinned = record["made"]
    scores = ("drop_db", "worst_drop_db", "together_drop_db", "median_psnr_db", "worst_psnr_db")
    assert [kept[name] for name in scores] == [folded[name] for name in scores]
    assert len({one["together_drop_db"] for one in (usual, kept, free, free_pinned)}) == 4
    assert all(one["latency"]["rounds"] == 2 for one in record["made"])
    clipped = {
        model.parent.name: bool({"MINIMUM", "RELU"} & kinds(model))
        for model in folder.glob("*/model_uint8.tflite")
    }
    assert clipped.pop("clip-from-images")
    assert clipped == dict.fromkeys(
        ["clip-pinned", "clip-free-from-images", "clip-free-pinned"], False
    )
    table = capsys.readouterr().out
    assert table == (folder / "table.md").read_text()
    assert [line.split(" | ")[0] for line in table.splitlines()[4:]] == [
        f"| {way.name}" for way in clip_free.WAYS
    ]


def test_too_few(photos, tmp_path, capsys):
    """One candidate has no median, and that is said."""
    shutil.rmtree(photos / "candidates")
    (photos / "candidates").mkdir()
    words = ["--work", str(tmp_path / "work"), "--validation", str(photos / "validation")]
    assert clip_free.main([*words, "--candidates", str(photos / "candidates")]) != 0
    assert "candidates" in capsys.readouterr().err


def kinds(path):
    """Return the kinds of a model's operators."""
    return {operator.kind for operator in Graph(path.read_bytes()).operators}
