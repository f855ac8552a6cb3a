"""XCAT and the variants of the paper's Tables 1 and 3: what they are made of, and how large."""

import re
from dataclasses import asdict

import numpy as np
import pytest
import tf_keras
from table_configs import VARIANTS

from qsr.errors import UsageError
from qsr.models import layers
from qsr.models.xcat import XcatConfig, build_xcat

DISTINCT = {config: name for name, config in reversed(VARIANTS.items())}

# One row per row of the tables, in the paper's notation: m, X, Y, the kernels on X and on Y, how a
# block joins its parts, the kernel of the convolution after the last block, how the picture comes
# in. D has no HXBlocks, so that its kernels stand for nothing.
TABLE_1 = {
    "xcat": (2, 21, 7, 1, 3, "cross", 3, "add"),
    "xcat_a": (2, 21, 7, 1, 3, "cross", 3, "add"),
    "xcat_b": (2, 21, 7, 1, 3, "conv1x1", 3, "add"),
    "xcat_c": (2, 21, 7, 3, 3, "conv1x1", 3, "add"),
    "xcat_d": (2, 21, 7, 1, 3, "cross", 3, "add"),
    "xcat_e": (4, 21, 7, 1, 3, "cross", 3, "add"),
    "xcat_f": (4, 21, 7, 1, 3, "cross", 1, "add"),
    "xcat_g": (4, 21, 7, 1, 3, "cross", 0, "add"),
    "xcat_h": (4, 16, 12, 1, 3, "cross", 0, "add"),
    "xcat_i": (4, 7, 21, 1, 3, "cross", 0, "add"),
    "xcat_j": (4, 7, 21, 3, 3, "cross", 0, "add"),
    "xcat_k": (3, 7, 21, 1, 3, "cross", 0, "add"),
    "xcat_l": (4, 16, 4, 1, 3, "cross", 0, "add"),
    "xcat_m": (4, 16, 4, 1, 3, "cross", 0, "concat"),
}
TABLE_3 = {
    "xcat_21_7_m2_straight": (2, 21, 7, 1, 3, "straight", 3, "add"),
    "xcat_21_7_m4_straight": (4, 21, 7, 1, 3, "straight", 3, "add"),
    "xcat_21_7_m8_cross": (8, 21, 7, 1, 3, "cross", 3, "add"),
    "xcat_21_7_m8_straight": (8, 21, 7, 1, 3, "straight", 3, "add"),
    "xcat_21_7_m12_cross": (12, 21, 7, 1, 3, "cross", 3, "add"),
    "xcat_21_7_m12_straight": (12, 21, 7, 1, 3, "straight", 3, "add"),
    "xcat_24_8_m6_cross": (6, 24, 8, 1, 3, "cross", 3, "add"),
    "xcat_24_8_m6_straight": (6, 24, 8, 1, 3, "straight", 3, "add"),
    "xcat_56_8_m4_cross": (4, 56, 8, 1, 3, "cross", 3, "add"),
    "xcat_56_8_m4_straight": (4, 56, 8, 1, 3, "straight", 3, "add"),
}

# Weights k * k * in * out and biases of every trainable convolution, from the paper's description
# and by hand: first, HXBlocks (X, Y and what joins them), after the last block, before the output.
PARAMETERS = {
    # 784 + 2 * (462 + 448) + 7084 + 6831 = 16 519
    "xcat": (9 * 3 * 28 + 28)
    + 2 * ((1 * 21 * 21 + 21) + (9 * 7 * 7 + 7))
    + (9 * 28 * 28 + 28)
    + (9 * 28 * 27 + 27),
    "xcat_a": 16519,
    # the same and two 1x1 convolutions of 812
    "xcat_b": (9 * 3 * 28 + 28)
    + 2 * ((1 * 21 * 21 + 21) + (9 * 7 * 7 + 7) + (1 * 28 * 28 + 28))
    + (9 * 28 * 28 + 28)
    + (9 * 28 * 27 + 27),
    "xcat_c": (9 * 3 * 28 + 28)
    + 2 * ((9 * 21 * 21 + 21) + (9 * 7 * 7 + 7) + (1 * 28 * 28 + 28))
    + (9 * 28 * 28 + 28)
    + (9 * 28 * 27 + 27),
    # 3x3 over all channels twice in place of the blocks, once after them
    "xcat_d": (9 * 3 * 28 + 28) + 3 * (9 * 28 * 28 + 28) + (9 * 28 * 27 + 27),
    "xcat_e": (9 * 3 * 28 + 28)
    + 4 * ((1 * 21 * 21 + 21) + (9 * 7 * 7 + 7))
    + (9 * 28 * 28 + 28)
    + (9 * 28 * 27 + 27),
    "xcat_f": (9 * 3 * 28 + 28)
    + 4 * ((1 * 21 * 21 + 21) + (9 * 7 * 7 + 7))
    + (1 * 28 * 28 + 28)
    + (9 * 28 * 27 + 27),
    "xcat_g": (9 * 3 * 28 + 28) + 4 * ((1 * 21 * 21 + 21) + (9 * 7 * 7 + 7)) + (9 * 28 * 27 + 27),
    "xcat_h": (9 * 3 * 28 + 28)
    + 4 * ((1 * 16 * 16 + 16) + (9 * 12 * 12 + 12))
    + (9 * 28 * 27 + 27),
    "xcat_i": (9 * 3 * 28 + 28) + 4 * ((1 * 7 * 7 + 7) + (9 * 21 * 21 + 21)) + (9 * 28 * 27 + 27),
    "xcat_j": (9 * 3 * 28 + 28) + 4 * ((9 * 7 * 7 + 7) + (9 * 21 * 21 + 21)) + (9 * 28 * 27 + 27),
    "xcat_k": (9 * 3 * 28 + 28) + 3 * ((1 * 7 * 7 + 7) + (9 * 21 * 21 + 21)) + (9 * 28 * 27 + 27),
    "xcat_l": (9 * 3 * 20 + 20) + 4 * ((1 * 16 * 16 + 16) + (9 * 4 * 4 + 4)) + (9 * 20 * 27 + 27),
    # the last convolution sees the 27 channels of the picture as well
    "xcat_m": (9 * 3 * 20 + 20)
    + 4 * ((1 * 16 * 16 + 16) + (9 * 4 * 4 + 4))
    + (9 * (20 + 27) * 27 + 27),
    # Table 3: the order of the channels costs no parameter
    "xcat_21_7_m2_straight": 784 + 2 * (462 + 448) + 7084 + 6831,
    "xcat_21_7_m4_straight": 784 + 4 * (462 + 448) + 7084 + 6831,
    "xcat_21_7_m8_cross": 784 + 8 * (462 + 448) + 7084 + 6831,
    "xcat_21_7_m8_straight": 784 + 8 * (462 + 448) + 7084 + 6831,
    "xcat_21_7_m12_cross": 784 + 12 * (462 + 448) + 7084 + 6831,
    "xcat_21_7_m12_straight": 784 + 12 * (462 + 448) + 7084 + 6831,
    "xcat_24_8_m6_cross": (9 * 3 * 32 + 32)
    + 6 * ((1 * 24 * 24 + 24) + (9 * 8 * 8 + 8))
    + (9 * 32 * 32 + 32)
    + (9 * 32 * 27 + 27),
    "xcat_24_8_m6_straight": (9 * 3 * 32 + 32)
    + 6 * ((1 * 24 * 24 + 24) + (9 * 8 * 8 + 8))
    + (9 * 32 * 32 + 32)
    + (9 * 32 * 27 + 27),
    "xcat_56_8_m4_cross": (9 * 3 * 64 + 64)
    + 4 * ((1 * 56 * 56 + 56) + (9 * 8 * 8 + 8))
    + (9 * 64 * 64 + 64)
    + (9 * 64 * 27 + 27),
    "xcat_56_8_m4_straight": (9 * 3 * 64 + 64)
    + 4 * ((1 * 56 * 56 + 56) + (9 * 8 * 8 + 8))
    + (9 * 64 * 64 + 64)
    + (9 * 64 * 27 + 27),
}


def parameters(weights):
    """Count the values in a list of weights."""
    return sum(int(np.prod(weight.shape)) for weight in weights)


def test_tables_whole():
    """Every row of both tables is there, and nothing else."""
    assert set(VARIANTS) == {*TABLE_1, *TABLE_3}
    assert len(TABLE_1) == 14
    assert len(TABLE_3) == 12 - 2  # two are rows XCAT and E of Table 1


@pytest.mark.parametrize("name", VARIANTS)
def test_config(name):
    """A variant differs from the defaults in exactly what its row of the paper says."""
    m, x, y, x_kernel, y_kernel, mixing, last, anchor = {**TABLE_1, **TABLE_3}[name]
    assert asdict(VARIANTS[name]) == {
        "scale": 3,
        "blocks": m,
        "x_channels": x,
        "y_channels": y,
        "x_kernel": x_kernel,
        "y_kernel": y_kernel,
        "mixing": mixing,
        "block": "conv3x3" if name == "xcat_d" else "hx",
        "last_conv_kernel": last,
        "anchor": anchor,
        "trainable_anchor": False,
        "clipped": True,
    }


def test_default():
    """The default config is the paper's network: 16 519 parameters and 81 frozen ones."""
    assert VARIANTS["xcat"] == XcatConfig()
    assert PARAMETERS["xcat"] == 784 + 2 * (462 + 448) + 7084 + 6831 == 16519


@pytest.mark.parametrize("name", VARIANTS)
def test_parameters(built, name):
    """A variant has the parameters of its description, and 3 * 27 frozen ones."""
    model = built(VARIANTS[name])
    assert parameters(model.trainable_weights) == PARAMETERS[name]
    assert parameters(model.non_trainable_weights) == 81


@pytest.mark.parametrize("name", DISTINCT.values())
def test_layers(built, name):
    """Every operation is a layer of a class, annotated by its class alone, and named by us."""
    model = built(VARIANTS[name])
    ours = {value for value in vars(layers).values() if isinstance(value, type)}
    keras = {
        tf_keras.layers.InputLayer,
        tf_keras.layers.Conv2D,
        tf_keras.layers.Concatenate,
        tf_keras.layers.Add,
    }
    assert {type(layer) for layer in model.layers} <= ours | keras
    names = [layer.name for layer in model.layers]
    assert names == [layer.name for layer in build_xcat(VARIANTS[name]).layers]
    assert not [name for name in names if re.search(r"_\d+$", name)]


@pytest.mark.parametrize("size", [(1, 1), (1, 8), (5, 7), (32, 31)])
def test_output_size(built, size):
    """An image of any size, odd or tiny, becomes exactly three times as high and wide."""
    for name in ("xcat", "xcat_m"):
        output = built(VARIANTS[name])(np.zeros((2, *size, 3), np.float32))
        assert output.shape == (2, 3 * size[0], 3 * size[1], 3)


@pytest.mark.parametrize("scale", [2, 4])
def test_other_scale(built, picture, scale):
    """At another scale the picture grows by that, and without its features it is the nearest."""
    model = built(XcatConfig(scale=scale))
    weights = model.get_weights()
    model.get_layer("output_conv").set_weights(
        [np.zeros((3, 3, 28, 3 * scale**2)), np.zeros(3 * scale**2)]
    )
    output = model(picture)
    model.set_weights(weights)
    assert np.array_equal(output, picture.repeat(scale, axis=1).repeat(scale, axis=2))


@pytest.mark.parametrize("name", DISTINCT.values())
def test_output_range(built, picture, name):
    """However large the features are, the output stays within [0, 1], and reaches both ends."""
    model = built(VARIANTS[name])
    weights = model.get_weights()
    model.get_layer("output_conv").set_weights(
        [100 * weight for weight in model.get_layer("output_conv").get_weights()]
    )
    output = np.asarray(model(picture))
    model.set_weights(weights)
    assert output.min() == 0
    assert output.max() == 1


def test_unclipped(built, picture):
    """Without the clipped ReLU the same weights give the same values, and some beyond [0, 1]."""
    clipped, unclipped = built(XcatConfig()), built(XcatConfig(clipped=False))
    weights = unclipped.get_weights()
    kernel, bias = unclipped.get_layer("output_conv").get_weights()
    unclipped.get_layer("output_conv").set_weights([10 * kernel, bias])
    clipped_weights = clipped.get_weights()
    clipped.set_weights(unclipped.get_weights())
    values, bounded = np.asarray(unclipped(picture)), np.asarray(clipped(picture))
    unclipped.set_weights(weights)
    clipped.set_weights(clipped_weights)
    assert values.min() < 0
    assert values.max() > 1
    assert np.array_equal(np.clip(values, 0, 1), bounded)


@pytest.mark.parametrize(
    ("field", "value", "least"),
    [
        ("scale", 1, 2),
        ("blocks", -1, 0),
        ("x_channels", 0, 1),
        ("y_channels", 0, 1),
        ("x_kernel", 0, 1),
        ("y_kernel", 0, 1),
    ],
)
def test_impossible_size(field, value, least):
    """A size that no network has is an error that names the field and the smallest size."""
    with pytest.raises(UsageError, match=f"model.{field} must be at least {least}, not {value}"):
        XcatConfig(**{field: value})
