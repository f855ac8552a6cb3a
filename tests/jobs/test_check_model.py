"""Checking models as users have them."""

import numpy as np
import pytest
from PIL import Image

from qsr import calibration as cal
from qsr.errors import ImageError, ModelError, UsageError
from qsr.jobs.check import LARGEST_SIDE, check_model
from qsr.models.xcat import XcatConfig, build_xcat
from qsr.models.zoo import save


@pytest.fixture(scope="module")
def dark(tmp_path_factory, trained_xcat):
    """An integer model whose grids come from one dull picture."""
    ramp = np.linspace(60, 190, 40 * 40 * 3).reshape(40, 40, 3).astype(np.uint8)
    ranges = cal.collect(trained_xcat, {"ramp": ramp}).merged()
    path = tmp_path_factory.mktemp("dark") / "dark.tflite"
    path.write_bytes(cal.quantize(trained_xcat, ranges, cal.Scheme(pin_io=False)))
    return path


def codes(report):
    """Return the codes that were found."""
    return {finding.code for finding in report.findings}


def test_float(network):
    """A float model without sins passes, and nothing is measured without images."""
    report = check_model(str(network))
    assert report.passed
    assert not report.quantized
    assert report.images == ()
    assert {"QSR101", "QSR301"} <= codes(report)
    assert all(finding.cost_db is None for finding in report.findings)


def test_integer(dark, images):
    """Wrong grids fail the check; with images, evenly spread, it says what they cost."""
    assert not check_model(str(dark)).passed
    report = check_model(str(dark), images=images / "scored", limit=2)
    assert report.quantized
    assert report.images == ("astronaut", "coffee")
    costs = {finding.code: finding.cost_db for finding in report.findings}
    assert costs["QSR202"] > 0.5
    assert costs["QSR203"] > 0.5


def test_ignored(dark):
    """What is ignored, everywhere or at one place, is left out, counted, and does not fail."""
    whole = check_model(str(dark))
    left = check_model(str(dark), ignore=["QSR202", "QSR203"])
    assert left.passed
    assert left.ignored == 2
    assert codes(left) == codes(whole) - {"QSR202", "QSR203"}
    elsewhere = check_model(str(dark), ignore=["QSR202:output"])
    assert codes(elsewhere) == codes(whole)
    assert elsewhere.unmatched == ("--ignore QSR202:output: QSR202 is found at input alone",)
    assert left.unmatched == ()
    assert codes(check_model(str(dark), ignore=["QSR202:input"])) == codes(whole) - {"QSR202"}


def test_keras(tmp_path):
    """Of a Keras file it is told that the kernel is trainable and that nothing clips."""
    path = tmp_path / "sinful.keras"
    save(build_xcat(XcatConfig(trainable_anchor=True, clipped=False)), path)
    report = check_model(str(path))
    assert {"QSR102", "QSR302"} <= codes(report)
    assert report.passed  # these are warnings


def test_target(network):
    """What a target does not run fails the check."""
    report = check_model(str(network), target="edge-tpu")
    assert report.target == "edge-tpu"
    assert not report.passed
    assert "QSR904" in codes(report)
    assert check_model(str(network), target="generic-int8").passed


def test_one_size(abpn, tmp_path):
    """A model of one input size gets the middle of each picture in that size."""
    model, photo = tmp_path / "abpn.tflite", tmp_path / "photos" / "noise.png"
    model.write_bytes(abpn)
    photo.parent.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (180, 210, 3)).astype(np.uint8)
    Image.fromarray(noise).save(photo)
    assert check_model(str(model), images=photo.parent).images == ("noise",)
    assert LARGEST_SIDE * 3 > 210  # so that nothing else cut it


def test_wrong_requests(network, images, tmp_path):
    """What cannot be done is told before the model is read."""
    missing = str(tmp_path / "missing.tflite")
    with pytest.raises(UsageError, match="--ignore W291: no code W291; codes are QSR101"):
        check_model(missing, ignore=["W291"])
    with pytest.raises(UsageError, match="no target named 'npu'"):
        check_model(missing, target="npu")
    with pytest.raises(UsageError, match="--limit must be 1 or more"):
        check_model(missing, limit=0)
    with pytest.raises(ImageError, match="no such file or folder"):
        check_model(missing, images=tmp_path / "nowhere")
    with pytest.raises(ModelError, match="no such file"):
        check_model(missing)
    with pytest.raises(ImageError):
        check_model(str(network), images=images / "scored" / "rocket.png" / "x")
