"""Weights of a float model, back in the Keras network that it was converted from."""

import numpy as np
import pytest

from qsr.models.fsrcnn import FsrcnnConfig
from qsr.models.xcat import XcatConfig
from qsr.models.zoo import ZOO, build
from qsr.quantization.trained_weights import take_weights
from qsr.tflite.convert import convert_keras

LR = np.random.default_rng(3).random((1, 20, 17, 3), np.float32)


def changed(name):
    """A network of the zoo with random weights, biases too."""
    network = build(name)
    random = np.random.default_rng(2)
    for weight in network.trainable_weights:
        weight.assign(weight + random.normal(0, 0.01, weight.shape))
    return network


@pytest.mark.parametrize("name", sorted(ZOO))
def test_network_computes_what_the_file_does(name, run_bare):
    """A fresh network with the file's weights computes what TFLite's own kernels do, to 1e-5."""
    model = convert_keras(changed(name))
    network = build(name)
    before = network(LR).numpy()
    assert take_weights(network, model)
    np.testing.assert_allclose(network(LR), run_bare(model, LR), atol=1e-5)
    assert np.abs(network(LR) - before).max() > 1e-3


def test_another_network_is_left_alone():
    """A network that the file was not converted from keeps its weights."""
    network = build("espcn")
    before = network.get_weights()
    assert not take_weights(network, convert_keras(changed("abpn")))
    for one, other in zip(network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)


def test_another_size_is_left_alone():
    """So does one whose layers have the same names and other shapes."""
    network = build("fsrcnn", FsrcnnConfig(shrunk_channels=10))
    assert not take_weights(network, convert_keras(changed("fsrcnn")))


def test_trainable_kernel():
    """A nearest-neighbour kernel that is trained is taken, too, even before it has changed."""
    config = XcatConfig(trainable_anchor=True)
    model = convert_keras(build("xcat", config))
    assert take_weights(build("xcat", config), model)
