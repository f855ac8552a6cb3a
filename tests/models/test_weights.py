"""Weights of one model given to another."""

import numpy as np
import pytest

from qsr.errors import ModelError
from qsr.models.abpn import AbpnConfig
from qsr.models.espcn import EspcnConfig
from qsr.models.fsrcnn import FsrcnnConfig
from qsr.models.weights import load_weights_into
from qsr.models.xcat import XcatConfig
from qsr.models.zoo import ZOO, build, save

SMALL = {"blocks": 1, "x_channels": 3, "y_channels": 1}


@pytest.mark.parametrize("name", ZOO)
def test_loaded(name, picture, tmp_path):
    """A model of the same config gets every weight, and computes the same to the last bit."""
    given, model = build(name), build(name)
    for weight in given.weights:
        weight.assign_add(np.full(weight.shape, 0.01, np.float32))
    save(given, tmp_path / "a.keras")
    assert not np.array_equal(model(picture), given(picture))
    load_weights_into(model, tmp_path / "a.keras")
    assert np.array_equal(model(picture), given(picture))


@pytest.mark.parametrize("trainable", [True, False])
def test_anchor_trainable_or_not(trainable, picture, tmp_path):
    """Weights of an XCAT with a frozen anchor are taken by one with a trainable one, and back."""
    given = build("xcat", XcatConfig(**SMALL, trainable_anchor=not trainable))
    kernel = given.get_layer("nearest_neighbor").weights[0]
    kernel.assign_add(np.full(kernel.shape, 0.01, np.float32))
    save(given, tmp_path / "a.keras")
    model = build("xcat", XcatConfig(**SMALL, trainable_anchor=trainable))
    load_weights_into(model, tmp_path / "a.keras")
    assert bool(model.get_layer("nearest_neighbor").trainable_weights) is trainable
    assert np.array_equal(model(picture), given(picture))


def test_other_precision(tmp_path):
    """The precision that is computed in may differ, and what is trainable of a whole model."""
    import tf_keras

    given = build("abpn", AbpnConfig(blocks=0))
    given.trainable = False
    save(given, tmp_path / "a.keras")
    tf_keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        model = build("abpn", AbpnConfig(blocks=0))
    finally:
        tf_keras.mixed_precision.set_global_policy("float32")
    load_weights_into(model, tmp_path / "a.keras")
    assert model.trainable_weights
    for ours, theirs in zip(model.get_weights(), given.get_weights(), strict=True):
        assert np.array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("given", "wanted", "words"),
    [
        (AbpnConfig(), XcatConfig(), "of network abpn, the recipe wants xcat"),
        (
            XcatConfig(**SMALL),
            XcatConfig(**SMALL | {"y_channels": 2}),
            "layer first_conv of the weights has filters 4, the recipe wants 5",
        ),
        (
            XcatConfig(**SMALL),
            XcatConfig(**SMALL | {"blocks": 2}),
            "lack the layer block2_split that the recipe wants",
        ),
        (
            XcatConfig(**SMALL),
            XcatConfig(**SMALL | {"last_conv_kernel": 0}),
            "for a layer last_conv too, which the recipe does not have",
        ),
        (
            XcatConfig(**SMALL | {"blocks": 0}),
            XcatConfig(**SMALL | {"blocks": 0, "scale": 2}),
            "layer output_conv of the weights has filters 27, the recipe wants 12",
        ),
        (
            XcatConfig(**SMALL),
            XcatConfig(**SMALL | {"mixing": "straight"}),
            "lack the layer block1_concat that the recipe wants",
        ),
        (
            XcatConfig(**SMALL | {"last_conv_kernel": 0}),
            XcatConfig(**SMALL | {"last_conv_kernel": 0, "anchor": "concat"}),
            "layer anchor of the weights is of class Add, the recipe wants Concatenate",
        ),
        (
            EspcnConfig(),
            EspcnConfig(activation="relu"),
            "layer first_conv of the weights has activation tanh, the recipe wants relu",
        ),
        (
            FsrcnnConfig(channels=8),
            FsrcnnConfig(channels=8, mapping_convs=3),
            "for a layer map4_conv too, which the recipe does not have",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_other_architecture(given, wanted, words, picture, tmp_path):
    """Weights of another network or config are an error of one line that names what differs."""
    networks = {network.config: name for name, network in ZOO.items()}
    save(build(networks[type(given)], given), tmp_path / "a.keras")
    model = build(networks[type(wanted)], wanted)
    before = np.asarray(model(picture))
    with pytest.raises(ModelError) as caught:
        load_weights_into(model, tmp_path / "a.keras")
    assert str(caught.value).startswith(f"{tmp_path / 'a.keras'}: ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert np.array_equal(model(picture), before)


def test_missing_file(tmp_path):
    """A file that is not there is an error that says so."""
    with pytest.raises(ModelError, match=r"a\.keras: no such file"):
        load_weights_into(build("espcn"), tmp_path / "a.keras")
