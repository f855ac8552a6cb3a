"""``qsr quantize`` with several schemes, validation images, and layers in float."""

import json
import shlex
import shutil

import pytest

TABLE = ("drop RGB", "median", "times the first")


@pytest.fixture
def quantized(qsr, photos, network, tmp_path):
    """Quantize the network: ``quantized(*options) -> what was said``; it must succeed."""

    def run(*options, out=tmp_path):
        said = qsr("quantize", network, "--repdata", photos / "candidates", "-o", out, *options)
        assert said.code == 0, said.err
        return said

    return run


def test_side_by_side(quantized, photos, network, tmp_path):
    """Each scheme has a line on its model and a row with drop, size and time."""
    schemes = ("uint8", "uint8-per-tensor", "int8-16x8")
    options = [word for scheme in schemes for word in ("--scheme", scheme)]
    said = quantized(*options, "--data", photos / "validation", "--size", "32x24").out
    for scheme in schemes:
        file = tmp_path / f"model_{scheme}.tflite"
        assert f"{file}: {file.stat().st_size:,} bytes" in said
        (row,) = [line for line in said.splitlines() if line.startswith(f"  {scheme} ")]
        assert f"{file.stat().st_size / 1000:.1f}" in row
    assert said.count("removed, as they copied bytes: MINIMUM, RELU") == 3
    assert all(heading in said for heading in TABLE)
    assert f"{network} (FP32)" in said.replace("\n", "")
    assert "times: input 32x24" in said
    assert "missing" not in said


def test_without_images(qsr, quantized, photos, tmp_path):
    """Without validation images it is said that drops are missing, and how to get them."""
    said = quantized("--scheme", "uint8", "--scheme", "int8", "--size", "32x24").out
    assert "no drop in dB: it is measured on validation images, which --data names" in said
    assert "drop RGB" not in said
    assert "median" in said
    (following,) = [line for line in said.splitlines() if line.startswith("  qsr evaluate")]
    words = [photos / "validation" if word == "DIR" else word for word in shlex.split(following)]
    assert str(tmp_path / "model_int8.tflite") in following
    assert qsr(*words[1:], "--no-latency").code == 0


def test_steps(quantized, photos, tmp_path):
    """What a step gave is said, and whether it was kept; unmeasured, that it was not measured."""
    out = tmp_path / "one.tflite"
    said = quantized("--correct-biases", out=out).out
    assert "corrected biases: done, but not measured: --data names images" in said
    words = ("--correct-biases", "--json", "--data", photos / "validation", "--size", "32x24")
    (one,) = json.loads(quantized(*words, out=out).out)["quantized"]
    (step,) = one["steps"]
    assert step["kept"] == (step["choosing_gain_db"] > 0)
    said = quantized(*[word for word in words if word != "--json"], out=out).out
    kept = "kept" if step["kept"] else "not kept"
    gains = (step["choosing_gain_db"], *(step["gain_db"][end] for end in ("mean", "low", "high")))
    on_both = "{:+.4f} dB of mean PSNR on the images that chose, {:+.4f} ({:+.4f} to {:+.4f}) on "
    assert f"corrected biases: {on_both.format(*gains)}the others: {kept}" in said
    assert "steps were chosen on 2 other images of --data; these took no part" in said
    (tmp_path / "few").mkdir()
    shutil.copy(photos / "validation/chelsea.png", tmp_path / "few")
    few = quantized("--correct-biases", "--data", tmp_path / "few", out=out).out
    assert "corrected biases: " in few
    assert "steps were chosen on these very images, too few to divide (1): " in few


def test_json(quantized, photos):
    """The JSON of several schemes holds what was made and the comparison."""
    words = ("--scheme", "uint8", "--scheme", "uint8-16x8", "--data", photos / "validation")
    report = json.loads(quantized(*words, "--size", "32x24", "--json").out)
    assert [one["scheme"] for one in report["quantized"]] == ["uint8", "uint8-16x8"]
    assert len(report["comparison"]["sets"][0]["evaluations"]) == 3
    assert report["comparison"]["lr_size"] == [24, 32]


def test_float(quantized, qsr, photos, network, tmp_path):
    """Layers that stay in float are named; a name that is none is refused with close ones."""
    out = tmp_path / "one.tflite"
    said = quantized("--float", "last_conv", "--float", "block1_?", out=out).out
    assert "in float: CONV_2D block1_x, CONV_2D block1_y, CONV_2D last_conv" in said
    words = ("quantize", network, photos / "candidates/coffee.png", "--float", "lastconv")
    refused = qsr(*words, "-o", out)
    assert (refused.code, refused.failure) == (
        2,
        f"qsr: {network}: no layer or tensor 'lastconv'; did you mean last_conv or first_conv?",
    )


def test_many_in_float(quantized, tmp_path):
    """Many operators in float are counted."""
    said = quantized("--float", "*", out=tmp_path / "one.tflite").out
    assert "8 CONV_2D, " in said


def test_keep_clip(quantized, tmp_path):
    """The clip stays on request, and nothing is said of removing it."""
    assert "copied bytes" not in quantized("--keep-clip", out=tmp_path / "one.tflite").out


def test_input_size(quantized, qsr, photos, network, tmp_path):
    """The one size that a model takes is told; what is no size is refused with the option."""
    out = tmp_path / "one.tflite"
    assert "takes 32x24 pixels alone" in quantized("--input-size", "32x24", out=out).out
    assert "alone" not in quantized(out=out).out
    words = ("quantize", network, photos / "candidates/coffee.png", "--input-size", "32")
    assert "--input-size must be width and height" in qsr(*words).failure


def test_folder(qsr, photos, network, tmp_path):
    """Several schemes need a folder."""
    words = ("quantize", network, photos / "candidates/coffee.png", "-o", tmp_path / "one.tflite")
    refused = qsr(*words, "--scheme", "uint8", "--scheme", "int8")
    assert (refused.code, refused.failure) == (
        2,
        f"qsr: {tmp_path / 'one.tflite'}: with several --scheme, give -o the name of a folder",
    )
