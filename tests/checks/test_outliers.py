"""Ranges that a few values stretch."""

import numpy as np
import pytest

from qsr import calibration as cal
from qsr.checks.subject import Picture
from qsr.tflite.runtime import Runner


@pytest.fixture(scope="module")
def passing(network):
    """A network whose features are the picture itself."""
    import tf_keras

    def change(model):
        layer = model.get_layer("features")
        kernel, bias = layer.get_weights()
        kernel[:] = 0
        kernel[1, 1] = np.eye(3)
        layer.set_weights([kernel, bias])

    return network(
        tf_keras.layers.Conv2D(3, 3, padding="same", activation="relu", name="features"),
        change=change,
    )


@pytest.fixture(scope="module")
def spots():
    """Dark noise; and the same with one white spot, under one pixel in a thousand."""
    noise = np.random.default_rng(4).integers(20, 50, (80, 80, 3)).astype(np.uint8)
    spotted = noise.copy()
    spotted[40, 40] = 255
    return [Picture("noise", lr, lr.repeat(3, axis=0).repeat(3, axis=1)) for lr in (noise, spotted)]


@pytest.mark.parametrize("in_integers", [False, True])
def test_spot(*, in_integers, found, passing, spots):
    """One white spot in a dark picture stretches the features' grid; without it nothing does."""
    without, with_spot = ([one] for one in spots)
    model = passing
    if in_integers:
        model = cal.quantize(model, cal.collect(model, {"spot": spots[1].lr}).merged())
    codes = {"QSR801", "QSR802"}
    assert not [
        one
        for code in codes
        for one in found(model, without).get(code, [])
        if one.where == "features"
    ]
    findings = found(model, with_spot)
    (finding,) = [
        one for code in codes for one in findings.get(code, []) if one.where == "features"
    ]
    assert finding.evidence["maximum"] > 3 * finding.evidence["percentile_99_95"]
    assert finding.evidence["percentile_99_95"] == pytest.approx(
        np.percentile(spots[1].lr / 255, 99.95), abs=0.02
    )
    assert ("gain_of_cutting_db" in finding.evidence) == (not in_integers)
    if finding.code == "QSR802":
        assert finding.cost_db is None
    else:
        assert finding.cost_db == finding.evidence["gain_of_cutting_db"] >= 0.001


def test_needs_images(found, passing):
    """Without images nothing is said of outliers."""
    assert not {"QSR801", "QSR802"} & found(passing).keys()


def test_helps(found, network, spots):
    """Where cutting off a spot that nothing reads helps all others, it is a warning with a gain."""
    import tf_keras

    def change(model):
        features = model.get_layer("features")
        kernel, bias = features.get_weights()
        kernel[:] = 0
        kernel[1, 1, :, :3] = np.eye(3)
        kernel[1, 1, 0, 3] = 40.0  # large on white alone, after its bias
        bias[:] = [0, 0, 0, -15]
        features.set_weights([kernel, bias])
        residual = model.get_layer("residual")
        kernel, bias = residual.get_weights()
        kernel[:] = np.random.default_rng(1).normal(0, 0.03, kernel.shape)
        kernel[:, :, 3] = 0
        residual.set_weights([kernel, bias])

    model = network(
        tf_keras.layers.Conv2D(4, 3, padding="same", activation="relu", name="features"),
        change=change,
    )
    small = spots[1].lr
    ideal = Runner(model).upscale(small)
    (finding,) = [
        one
        for one in found(model, [Picture("ideal", small, ideal)])["QSR801"]
        if one.where == "features"
    ]
    assert finding.cost_db > 0.1
