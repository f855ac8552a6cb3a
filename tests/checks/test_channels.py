"""Channels that carry nothing."""

import pytest

from qsr import calibration as cal


@pytest.fixture(scope="module")
def relu(network):
    """Make a network of one ReLU layer of six channels: ``relu(change)``, weights to its layer."""
    import tf_keras

    def make(change):
        def body(picture):
            layer = tf_keras.layers.Conv2D(
                6, 3, padding="same", activation="relu", name="features", bias_initializer="ones"
            )
            return layer(picture)

        def alter(model):
            layer = model.get_layer("features")
            kernel, bias = layer.get_weights()
            change(kernel, bias)
            layer.set_weights([kernel, bias])

        return network(body, change=alter)

    return make


def zero(kernel, _bias):
    """Take all weights of channel 2 away."""
    kernel[..., 2] = 0


def drown(_kernel, bias):
    """Push channel 4 below 0 wherever there are pictures."""
    bias[4] = -100


def shrink(kernel, bias):
    """Make channel 5 a thousand times as small."""
    kernel[..., 5] /= 1000
    bias[5] /= 1000


def leave(_kernel, _bias):
    """Change nothing."""


def test_alive(found, relu, pictures):
    """A network whose channels all vary has no finding of them."""
    findings = found(relu(leave), pictures)
    assert not {code for code in findings if code.startswith("QSR7")}


@pytest.mark.parametrize("in_integers", [False, True])
def test_without_weights(*, in_integers, found, relu, pictures):
    """A channel whose weights are all 0 is dead, with no image at all."""
    model = relu(zero)
    if in_integers:
        ranges = cal.collect(model, {one.name: one.lr for one in pictures}).merged()
        model = cal.quantize(model, ranges)
    (finding,) = found(model)["QSR701"]
    assert finding.where == "features"
    assert dict(finding.evidence) == {"dead_channels": 1, "channels": 6, "proved_by_weights": 1}
    assert "(2)" in finding.problem


@pytest.mark.parametrize("in_integers", [False, True])
def test_drowned(*, in_integers, found, relu, pictures):
    """A channel that ReLU always cuts off is dead on the images, and unknown without any."""
    model = relu(drown)
    if in_integers:
        ranges = cal.collect(model, {one.name: one.lr for one in pictures}).merged()
        model = cal.quantize(model, ranges)
    assert "QSR701" not in found(model)
    (finding,) = found(model, pictures)["QSR701"]
    assert dict(finding.evidence) == {"dead_channels": 1, "channels": 6, "proved_by_weights": 0}
    assert "(4)" in finding.problem


def test_faint(found, relu, pictures):
    """A channel that varies by less than a step of the shared grid is told, as not dead."""
    findings = found(relu(shrink), pictures)
    (finding,) = findings["QSR702"]
    assert "(5)" in finding.problem
    assert finding.evidence["smallest_span"] < finding.evidence["maximum"] / 255
    assert "QSR701" not in findings
