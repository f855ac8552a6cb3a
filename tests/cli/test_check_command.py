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
    """A mistyped code or target is one line and exit code 2."""
    said = qsr("check", integer, "--ignore", "QSR99")
    assert said.code == 2
    assert "no code QSR99" in said.failure
    assert "give one of: artpec-8" in qsr("check", integer, "--target", "coral").failure
