"""Silent channels are given new weights, all others are left alone."""

import json
from dataclasses import replace

import numpy as np
import pytest
import tf_keras

from qsr.models.layers import ClippedReLU, conv
from qsr.models.xcat import XcatConfig
from qsr.models.zoo import build, load, save
from qsr.training.recipe import Stage
from qsr.training.revival import revive_dead_channels
from qsr.training.train import train

SILENT = {"first_conv": (2, 5), "block1_y": (0,)}


def silence(model, channels):
    """Make channels of some layers negative on every picture."""
    for name, silent in channels.items():
        layer = model.get_layer(name)
        kernel, bias = layer.get_weights()
        kernel[..., list(silent)] = 0
        bias[list(silent)] = -1
        layer.set_weights([kernel, bias])
    return model


@pytest.fixture
def xcat():
    """Build an XCAT with some channels silenced."""
    tf_keras.utils.set_random_seed(3)
    return silence(build("xcat", XcatConfig(blocks=1)), SILENT)


@pytest.fixture
def patches(photographs):
    """``(150, 24, 24, 3)``: more than are looked at in one go."""
    picture = photographs["astronaut"]
    random = np.random.default_rng(0)
    tops, lefts = (random.integers(0, side - 24, 150) for side in picture.shape[:2])
    return np.stack(
        [picture[t : t + 24, left : left + 24] for t, left in zip(tops, lefts, strict=True)]
    )


def test_silent_ones_are_found(xcat, patches):
    """Channels that are 0 on every picture are found, by layer."""
    found = revive_dead_channels(xcat, patches, seed=1)
    assert {name: set(SILENT[name]) <= set(found[name]) for name in SILENT} == {
        "first_conv": True,
        "block1_y": True,
    }


def test_they_speak_again(xcat, patches):
    """Those that were silenced are not silent after a few draws, and then nothing changes."""
    for seed in range(10):
        if not revive_dead_channels(xcat, patches, seed=seed):
            break
    weights = xcat.get_weights()
    assert revive_dead_channels(xcat, patches, seed=11) == {}
    for old, new in zip(weights, xcat.get_weights(), strict=True):
        assert (old == new).all()
    for name, silent in SILENT.items():
        kernel, _ = xcat.get_layer(name).get_weights()
        assert np.abs(kernel[..., list(silent)]).max(axis=(0, 1, 2)).min() > 0


def test_others_are_left_alone(xcat, patches):
    """Only the weights of silent channels change, and their biases become 0."""
    before = {layer.name: layer.get_weights() for layer in xcat.layers}
    found = revive_dead_channels(xcat, patches, seed=1)
    for layer in xcat.layers:
        dead = list(found.get(layer.name, ()))
        changed = set()
        for old, new in zip(before[layer.name], layer.get_weights(), strict=True):
            most = np.abs(old - new).reshape(-1, old.shape[-1]).max(axis=0)
            changed |= set(np.flatnonzero(most).tolist())
        assert changed == set(dead)
        if dead:
            assert not layer.get_weights()[1][dead].any()


def test_one_picture_is_enough(patches):
    """A channel that only the last picture wakes is not silent."""
    picture = tf_keras.Input((None, None, 3))
    model = tf_keras.Model(picture, conv(1, 1, "only", "relu")(picture))
    model.get_layer("only").set_weights([np.ones((1, 1, 3, 1)), np.full(1, -2.9)])
    assert revive_dead_channels(model, patches * 0, seed=1) == {"only": (0,)}
    model.get_layer("only").set_weights([np.ones((1, 1, 3, 1)), np.full(1, -2.9)])
    dark = patches // 2
    dark[-1] = 255
    assert revive_dead_channels(model, dark, seed=1) == {}


def test_drawn_as_at_first(patches):
    """New weights are drawn by the layer's own initializer, and by the seed alone."""
    picture = tf_keras.Input((None, None, 3))
    drawn = []
    for seed in (1, 1, 2):
        initializer = tf_keras.initializers.RandomUniform(0.25, 0.5)
        layer = conv(4, 3, "only", "relu", initializer=initializer)
        model = silence(tf_keras.Model(picture, layer(picture)), {"only": (1,)})
        revive_dead_channels(model, patches, seed=seed)
        drawn.append(layer.get_weights()[0][..., 1])
    assert ((drawn[0] >= 0.25) & (drawn[0] <= 0.5)).all()
    assert (drawn[0] == drawn[1]).all()
    assert (drawn[0] != drawn[2]).any()


def test_initializer_without_seed(patches):
    """Weights that are not drawn but set begin anew as they did at first."""
    picture = tf_keras.Input((None, None, 3))
    layer = conv(2, 1, "only", "relu", initializer="ones")
    model = silence(tf_keras.Model(picture, layer(picture)), {"only": (1,)})
    assert revive_dead_channels(model, patches, seed=1) == {"only": (1,)}
    assert (layer.get_weights()[0] == 1).all()


def test_nothing_to_silence(patches):
    """Without a ReLU, or with a frozen layer or a clip alone, there is nothing to revive."""
    picture = tf_keras.Input((None, None, 3))
    frozen = conv(2, 1, "frozen", "relu")
    linear = conv(2, 1, "linear")
    features = ClippedReLU(name="clip")(linear(frozen(picture)))
    model = silence(tf_keras.Model(picture, features), {"frozen": (0,), "linear": (0,)})
    frozen.trainable = False
    assert revive_dead_channels(model, patches, seed=1) == {}


def test_stage(tiny, images, tmp_path):
    """A stage that asks for it starts with no channel silent, and its log says how many were."""
    pairs, validation = images
    silenced = tmp_path / "silenced.keras"
    model = silence(build(tiny.network, tiny.model), {"first_conv": (0, 1)})
    save(model, silenced)
    still, revived = [
        train(
            replace(tiny, stages=(Stage(revive_dead_channels=revive),)),
            pairs,
            validation,
            tmp_path / str(revive),
            weights=silenced,
        )
        for revive in (False, True)
    ]
    kernels = [load(one.model).get_layer("first_conv").get_weights()[0] for one in (still, revived)]
    assert not kernels[0][..., [0, 1]].any()
    assert np.abs(kernels[1][..., [0, 1]]).max(axis=(0, 1, 2)).min() > 0
    counts = [
        [
            json.loads(line)["revived_channels"]
            for line in (out / "log.jsonl").read_text().splitlines()
        ]
        for out in (tmp_path / "False", tmp_path / "True")
    ]
    assert set(counts[0]) == {0}
    assert counts[1][0] >= 2
    assert set(counts[1][1:]) <= {0}
