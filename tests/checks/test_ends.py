"""What bytes stand for at both ends."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qsr import calibration as cal
from qsr.checks.picture_grid import PictureGrid
from qsr.metrics import psnr_db
from qsr.tflite.graph import end_grids

EVERY_BYTE = np.arange(256, dtype=np.uint8)


@pytest.fixture(scope="module")
def dark(trained_xcat, dull):
    """An integer model calibrated on a dull picture alone, the ends too, as the paper did."""
    measured = cal.collect(trained_xcat, {"ramp": dull[0].lr}).merged()
    return cal.quantize(trained_xcat, measured, cal.Scheme(pin_io=False))


@pytest.mark.parametrize("io", ["uint8", "int8"])
def test_exact(io, found, trained_xcat, ranges):
    """Ends pinned to black and white are exact, for uint8 and int8."""
    findings = found(cal.quantize(trained_xcat, ranges, cal.Scheme(io=io)))
    assert "QSR201" in findings
    assert not {"QSR202", "QSR203"} & findings.keys()


def test_of_255(found, abpn):
    """A network of 0..255 whose bytes are exact is told so: its scale is 1."""
    ramp = np.linspace(0, 255, 40 * 48 * 3).reshape(40, 48, 3).astype(np.uint8)
    measured = cal.collect(abpn, {"ramp": ramp}).merged()
    assert found(cal.quantize(abpn, measured))["QSR201"][0].evidence["scale"] == 1.0


def test_wrong(found, dark, pictures):
    """Ends from a dull picture are errors: brightness by hand, and what it costs."""
    findings = found(dark, pictures)
    first, last = end_grids(dark)
    for code, end in (("QSR202", first), ("QSR203", last)):
        (finding,) = findings[code]
        errors = [255 * end.scale * (byte - end.zero_point) - byte for byte in range(256)]
        assert finding.evidence["worst_error_levels"] == pytest.approx(max(errors, key=abs))
        assert finding.evidence["mean_error_levels"] == pytest.approx(np.mean(np.abs(errors)))
        assert finding.cost_db > 0.5
    assert "QSR201" not in findings


def test_cost_of_the_input(found, dark, pictures, run_bare):
    """The input's cost is that of raw bytes against the bytes that stand for the picture."""
    first, last = end_grids(dark)

    def score(fed):
        total = 0.0
        for picture in pictures:
            shown = run_bare(dark, fed(picture.lr)[None], fast=True)[0].astype(float)
            real = np.rint(np.clip((shown - last.zero_point) * last.scale * 255, 0, 255))
            total += psnr_db(real.astype(np.uint8), picture.hr, shave=1)
        return total / len(pictures)

    def encoded(picture):
        codes = np.rint(picture / 255 / first.scale + first.zero_point)
        return np.clip(codes, 0, 255).astype(np.uint8)

    (finding,) = found(dark, pictures)["QSR202"]
    assert finding.cost_db == pytest.approx(score(encoded) - score(lambda lr: lr), abs=0.01)


def test_float_ends(found, trained_xcat, ranges):
    """Float ends are told as such, not as wrong grids."""
    findings = found(cal.quantize(trained_xcat, ranges, cal.Scheme(io="float32")))
    assert findings["QSR902"][0].where == "input and output"
    assert not {"QSR201", "QSR202", "QSR203", "QSR901"} & findings.keys()


def test_of_a_float_model(found, trained_xcat, pictures, dull):
    """A float model is warned of images that would darken it, and not if they reach both ends."""
    findings = found(trained_xcat, dull)
    assert findings["QSR204"][0].cost_db > 0.5
    ends = np.where(np.indices((120, 120, 3)).sum(axis=0) % 40 < 20, 0, 255).astype(np.uint8)
    whole = type(dull[0])("ends", ends[::3, ::3].copy(), ends)
    assert "QSR204" not in found(trained_xcat, (*pictures, whole))


@given(
    scale=st.floats(0.3 / 255, 3 / 255),
    zero_point=st.integers(0, 255),
)
def test_encode_and_decode(scale, zero_point):
    """A byte is encoded by the code whose level is nearest; decoding gives levels back, rounded."""
    grid = PictureGrid(scale, zero_point, 1.0)
    levels = 255 * scale * (EVERY_BYTE.astype(float) - zero_point)
    distance = np.abs(levels[None, :] - EVERY_BYTE[:, None].astype(float))
    chosen = grid.encode(EVERY_BYTE)
    np.testing.assert_allclose(
        distance[EVERY_BYTE, chosen], distance.min(axis=1), rtol=1e-6, atol=1e-6
    )
    np.testing.assert_allclose(grid.decode(EVERY_BYTE), np.clip(levels, 0, 255), atol=0.5 + 1e-9)
