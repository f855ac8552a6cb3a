"""``qsr check``: what it prints, and its exit code."""

import json
import subprocess
import sys

import pytest

from qsr import calibration as cal


@pytest.fixture(scope="module")
def integer(tmp_path_factory, trained_xcat, photographs):
    """An integer model that is ready."""
    ranges = cal.collect(trained_xcat, photographs).merged()
    path = tmp_path_factory.mktemp("integer") / "integer.tflite"
    path.write_bytes(cal.quantize(trained_xcat, ranges))
    return path


def test_pass(qsr, integer):
    """A model without errors passes, and each finding says what, where, and what to do."""
    said = qsr("check", integer)
    assert said.code == 0
    lines = said.out.splitlines()
    assert "QSR103 warning: output: the clip of the output copies bytes" in lines
    assert any("do: qsr fold-clip MODEL" in line for line in lines)
    assert lines[-1].startswith(f"{integer}: passed: 0 error, ")
    assert lines[-1].endswith("without images")


def test_fail(qsr, integer):
    """An error makes it exit with 1, unless it is ignored."""
    said = qsr("check", integer, "--target", "edge-tpu")
    assert said.code == 1
    assert "failed" in said.out.splitlines()[-1]
    ignored = qsr(
        *("check", integer, "--target", "edge-tpu"),
        *("--ignore", "QSR904", "--ignore", "QSR906:input"),
    )
    assert ignored.code == 0
    assert "2 ignored" in ignored.out.splitlines()[-1]


def test_nothing_to_ignore(qsr, integer):
    """A code that no finding has, there or anywhere, is told on standard error, and with it where.

    Codes that are ignored are not told.
    """
    words = ("--ignore", "QSR103", "--ignore", "QSR103:input", "--ignore", "QSR701")
    said = qsr("check", integer, *words)
    assert said.code == 0
    assert said.err.splitlines()[-2:] == [
        "nothing to ignore: --ignore QSR103:input: QSR103 is found at output alone",
        "nothing to ignore: --ignore QSR701: QSR701 is not found",
    ]
    assert "nothing to ignore" not in qsr("check", integer, *words[:2]).err
    report = json.loads(qsr("check", integer, *words, "--json").out)
    assert [line.partition(": ")[0] for line in report["unmatched"]] == [
        *("--ignore QSR103:input", "--ignore QSR701")
    ]


def test_json(qsr, integer, photos):
    """The whole report as JSON, with the same exit code."""
    said = qsr(
        *("check", integer, "--images", photos / "validation", "--limit", "2"),
        *("--target", "edge-tpu", "--json"),
    )
    assert said.code == 1
    report = json.loads(said.out)
    assert report["passed"] is False
    assert len(report["images"]) == 2
    by_code = {one["code"]: one for one in report["findings"]}
    assert by_code["QSR904"]["severity"] == "error"
    assert by_code["QSR201"]["evidence"]["scale"] == pytest.approx(1 / 255)


def test_without_tensorflow(integer, network):
    """Without images, no .tflite file, float or integer, needs TensorFlow to be checked."""
    script = (
        "import sys\n"
        "from qsr.jobs.check import check_model\n"
        "for path in sys.argv[1:]:\n"
        "    assert check_model(path, target='edge-tpu').findings\n"
        "assert not {'tensorflow', 'tf_keras', 'keras'} & set(sys.modules)\n"
    )
    subprocess.run(  # noqa: S603 (this interpreter, our own words)
        [sys.executable, "-c", script, str(integer), str(network)], check=True
    )


def test_wrong(qsr, integer):
    """A mistyped code or target is one line and exit code 2, with what is close to it."""
    said = qsr("check", integer, "--ignore", "qsr9O4:output")
    assert said.code == 2
    assert "no code qsr9O4; did you mean QSR904 or " in said.failure
    assert "codes are QSR101, " in qsr("check", integer, "--ignore", "W291").failure
    assert "give one of: artpec-8" in qsr("check", integer, "--target", "coral").failure


@pytest.mark.parametrize("unusable", ["missing", "no model", "no images", "no option"])
def test_unusable(unusable, qsr, integer, photos, tmp_path):
    """What cannot be checked exits with 2, so that 1 means that the model failed."""
    (tmp_path / "text.tflite").write_text("no model")
    words = {
        "missing": (tmp_path / "gone.tflite",),
        "no model": (tmp_path / "text.tflite",),
        "no images": (integer, "--images", photos / "empty"),
        "no option": (integer, "--imags", photos),
    }
    said = qsr("check", *words[unusable])
    assert (said.code, said.out) == (2, "")
    assert qsr("evaluate", tmp_path / "gone.tflite", "--data", photos / "validation").code == 1


@pytest.mark.parametrize("error", [OSError(5, "broken disk"), MemoryError(), ZeroDivisionError()])
def test_fault(error, qsr, integer, monkeypatch):
    """A fault of the machine, or of qsr, is no verdict on the model either."""

    def fail(*_, **__):
        raise error

    monkeypatch.setattr("qsr.jobs.check.check_model", fail)
    assert qsr("check", integer).code == 2
    assert " with 2 if the model could not be checked" in " ".join(qsr("check", "-h").out.split())
