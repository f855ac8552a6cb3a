"""``qsr benchmark``, and the times and drops of ``qsr evaluate``, as they are printed."""

import json

import pytest


@pytest.fixture
def integer(searched):
    """The integer model of a finished search."""
    return searched / "model_uint8.tflite"


def test_here(qsr, network, integer, photos):
    """The table names each model with its size, and says what no score can be given for."""
    words = ("benchmark", network, integer, "--size", "32x24", "--runs", 6, "--warm-up", 0)
    said = qsr(*words)
    assert said.code == 0
    assert "input 32x24" in said.out
    assert "LiteRT, XNNPACK, 1 thread" in said.out
    for model, dtype in ((network, "float32"), (integer, "uint8")):
        (row,) = (line for line in said.out.splitlines() if line.strip().startswith(str(model)))
        assert row.split()[1:3] == [dtype, f"{model.stat().st_size / 1000:.1f}"]
    assert "no challenge score: it needs PSNR; give images with --data\n" in said.out
    said = qsr(*words, "--data", photos / "validation")
    assert "PSNR: mean over 4 images of " in said.out
    assert "no challenge score: it is for inputs of 640x360 pixels\n" in said.out


def test_json(qsr, integer, photos, stand_in_phone):
    """The table and the JSON hold the same numbers, of a phone too."""
    stand_in = stand_in_phone(
        times_us={"0.tflite": [[40_000]], "1.tflite": [[60_000]]}, delegated="partially", old=True
    )
    words = ("benchmark", integer, integer, "--adb", "--benchmark-binary", stand_in.tool)
    words += ("--delegate", "gpu", "--runs", 6, "--data", photos / "validation")
    text = qsr(*words).out
    report = json.loads(qsr(*words, "--json").out)
    first, second = report["models"]
    assert (first["times_ms"], second["times_ms"]) == ([40] * 6, [60] * 6)
    assert second["ratio"] == {"median": 1.5, "low": 1.5, "high": 1.5, "confidence": 0.95}
    assert "1.500 [1.500, 1.500]" in text
    for model in (first, second):
        assert f"{model['latency']['median_ms']:.2f}" in text
        assert f"{model['psnr_rgb_db']:.3f}" in text
        assert f"{model['challenge_score']:.2f}" in text
        assert "--use_gpu=true" in model["on_phone"]["command"]
    assert "Maker Phone 7, benchmark_model, gpu, 1 thread: input 640x360" in text
    assert "the delegate takes a part of it, the processor the rest" in text
    assert "/benchmark_model --graph=/data/local/tmp/qsr-" in text


def test_one_phone_run(qsr, integer, stand_in_phone):
    """One run has a time and no interval, and options are passed on as they are."""
    stand_in = stand_in_phone(times_us={"0.tflite": [[9]], "1.tflite": [[9]]}, old=True)
    words = ("benchmark", integer, integer, "--adb", "--benchmark-binary", stand_in.tool)
    words += ("--delegate", "none", "--benchmark-option", "--use_nnapi=true", "--runs", 1)
    said = qsr(*words, "--benchmark-option=--nnapi_accelerator_name=a b")
    assert "1.000 [" not in said.out
    assert "1.000" in said.out
    assert "each model ran 1 time, in turns" in said.out
    for run in stand_in.runs:
        assert (run["--use_nnapi"], run["--nnapi_accelerator_name"]) == ("true", "a b")
        assert "--use_xnnpack" not in run


@pytest.mark.parametrize(
    ("phones", "words", "code", "line"),
    [
        ({}, ("--adb",), 1, "no phone is attached"),
        ({"A1": "unauthorized"}, ("--adb",), 1, "phone A1 has not allowed this computer"),
        ({"A1": "device", "B2": "device"}, ("--adb",), 2, "choose one with --serial A1, or B2"),
        ({"A1": "device"}, ("--adb", "--serial", "Z9"), 2, "no phone Z9 is attached; there is A1"),
        ({"A1": "device"}, ("--adb",), 1, "phone A1 has no /data/local/tmp/benchmark_model"),
        ({"A1": "device"}, ("--serial", "A1"), 2, "are about a phone; give --adb, too"),
        ({}, ("--size", "big"), 2, "--size must be width and height in pixels, such as 640x360"),
        ({}, ("--size", "640x0"), 2, "must be at least 1"),
        ({}, ("--delegate", "npu"), 2, "'npu' is not one of"),
    ],
)
def test_failures(*, qsr, integer, stand_in_phone, phones, words, code, line):
    """What is wrong is told in one line."""
    stand_in_phone(phones=phones)
    said = qsr("benchmark", integer, *words)
    assert line in said.failure
    assert said.code == code


def test_evaluate(qsr, network, integer, photos):
    """The drop has its interval and its worst image, and models have sizes and times."""
    words = ("evaluate", network, integer, "--size", "32x24", "--data", photos / "validation")
    text = qsr(*words).out
    report = json.loads(qsr(*words, "--no-latency", "--json").out)
    (scores,) = report["sets"]
    drop = scores["drops"][1]
    mean = drop["mean_db"]
    assert f"{mean['mean']:.4f} [{mean['low']:.4f}, {mean['high']:.4f}]" in text
    assert f"{drop['worst_image']} {drop['worst_db']:.4f}" in text
    for cost in report["costs"]:
        assert f"{cost['file_bytes'] / 1000:.1f}" in text
        assert cost["latency"] is None
    assert "times: input 32x24, 1 thread of " in text
    assert "times the first" in text
    assert "times" not in qsr(*words, "--no-latency").out


def test_evaluate_alone(qsr, abpn, photos, tmp_path):
    """One model has no drop and no ratio; one without a time is told, and why."""
    (tmp_path / "fixed.tflite").write_bytes(abpn)
    words = ("evaluate", tmp_path / "fixed.tflite", "--data", photos / "validation")
    text = qsr(*words).out
    assert f"no time of {tmp_path / 'fixed.tflite'}: takes 48x40 pixels alone" in text
    assert "drop" not in text
    assert "times the first" not in text
