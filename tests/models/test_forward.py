"""What networks compute, against a second implementation in numpy, from the papers' figures."""

import numpy as np
import pytest
from table_configs import VARIANTS

from qsr.models.zoo import ZOO


def convolve(image, kernel, bias):
    """Convolve (H, W, in) with (k, k, in, out), zeros around; height and width stay."""
    reach = kernel.shape[0] // 2
    padded = np.pad(image, ((reach, reach), (reach, reach), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel.shape[:2], axis=(0, 1))
    return np.einsum("hwcij,ijco->hwo", windows, kernel) + bias


def relu(values):
    """Cut what is below zero."""
    return np.maximum(values, 0)


def enlarge(image, residual):
    """Add 27 channels (dy, dx, colour) to the pixels of an image repeated 3 x 3 times."""
    height, width = image.shape[:2]
    blocks = residual.reshape(height, width, 3, 3, 3).transpose(0, 2, 1, 3, 4)
    return image.repeat(3, axis=0).repeat(3, axis=1) + blocks.reshape(3 * height, 3 * width, 3)


def hx_block(features, x_channels, x, y):
    """Figure 2: the first X channels through one convolution, the others through the other."""
    return relu(convolve(features[..., :x_channels], *x)), relu(
        convolve(features[..., x_channels:], *y)
    )


def xcat(image, take, *, m=2, x=21, last=True, join=lambda x, y, _: np.concatenate([y, x], -1)):
    """Figure 3, with m HXBlocks; ``take`` gives the next kernel and bias."""
    features = relu(convolve(image, *take()))
    for _ in range(m):
        features = join(*hx_block(features, x, take(), take()), take)
    if last:
        features = relu(convolve(features, *take()))
    return np.clip(enlarge(image, convolve(features, *take())), 0, 1)


def straight(x, y, _):
    """Table 3: the parts in their order."""
    return np.concatenate([x, y], -1)


def mixed(x, y, take):
    """Table 1, B and C: the parts in their order, and a 1x1 convolution over all channels."""
    return convolve(straight(x, y, take), *take())


def plain(image, take):
    """Table 1, D: 3x3 convolutions alone."""
    features = relu(convolve(image, *take()))
    for _ in range(3):
        features = relu(convolve(features, *take()))
    return np.clip(enlarge(image, convolve(features, *take())), 0, 1)


def concatenated(image, take):
    """Table 1, M: the picture's 27 channels go into the last convolution after the features."""
    features = relu(convolve(image, *take()))
    for _ in range(4):
        x, y = hx_block(features, 16, take(), take())
        features = np.concatenate([y, x], -1)
    joined = np.concatenate([features, np.tile(image, 9)], -1)
    return np.clip(enlarge(0 * image, convolve(joined, *take())), 0, 1)


PAPER = {
    "xcat": xcat,
    "xcat_b": lambda image, take: xcat(image, take, join=mixed),
    "xcat_c": lambda image, take: xcat(image, take, join=mixed),
    "xcat_d": plain,
    "xcat_f": lambda image, take: xcat(image, take, m=4),
    "xcat_h": lambda image, take: xcat(image, take, m=4, x=16, last=False),
    "xcat_j": lambda image, take: xcat(image, take, m=4, x=7, last=False),
    "xcat_m": concatenated,
    "xcat_21_7_m2_straight": lambda image, take: xcat(image, take, join=straight),
    "xcat_56_8_m4_cross": lambda image, take: xcat(image, take, m=4, x=56),
}


@pytest.mark.parametrize("name", PAPER)
def test_forward(built, picture, name):
    """The built network computes what the paper's figures say, from the same weights."""
    model = built(VARIANTS[name])
    # In the order of the data: a block's x, y and mix stand in layers of these names.
    order = ["first_conv"]
    for index in range(1, 13):
        order += [f"block{index}_{part}" for part in ("x", "y", "mix", "conv")]
    order += ["last_conv", "output_conv"]
    names = {layer.name for layer in model.layers}
    weights = iter([model.get_layer(name).get_weights() for name in order if name in names])
    image = picture[0].astype(np.float64)
    expected = PAPER[name](image, lambda: next(weights))
    assert next(weights, None) is None
    assert np.abs(expected - image.repeat(3, 0).repeat(3, 1)).mean() > 0.05  # weights count
    assert np.abs(np.asarray(model(picture))[0] - expected).max() < 1e-5


def prelu(values, slopes):
    """Multiply what is below zero by its channel's slope."""
    return np.where(values > 0, values, values * slopes[0, 0])


def xlsr(image, layer):
    """XLSR's figure: four convolutions side by side, GBlocks, a short cut, and a clip."""

    def grouped(parts, name):
        return np.concatenate(
            [relu(convolve(part, *layer(f"{name}_conv{i + 1}"))) for i, part in enumerate(parts)],
            -1,
        )

    features = convolve(grouped([image] * 4, "first"), *layer("first_mix"))
    for block in ("block1", "block2", "block3"):
        mixed = grouped(np.split(features, 4, axis=-1), block)
        features = convolve(mixed, *layer(f"{block}_mix"))
    joined = np.concatenate([features, convolve(image, *layer("shortcut_conv"))], -1)
    features = relu(convolve(joined, *layer("last_mix")))
    return np.clip(enlarge(0 * image, convolve(features, *layer("output_conv"))), 0, 1)


def abpn(image, layer):
    """ABPN's figure: a row of 3x3 convolutions, the last one linear, on the repeated picture."""
    features = image
    for name in ("first_conv", "conv1", "conv2", "conv3", "conv4", "last_conv"):
        features = relu(convolve(features, *layer(name)))
    return np.clip(enlarge(image, convolve(features, *layer("output_conv"))), 0, 1)


def fsrcnn(image, layer):
    """FSRCNN's figure: 5x5, shrink, map four times, expand, and one 9x9 stamp per LR pixel."""
    features = image
    for name in ("first", "shrink", "map1", "map2", "map3", "map4", "expand"):
        features = prelu(convolve(features, *layer(f"{name}_conv")), *layer(f"{name}_prelu"))
    kernel, bias = layer("output_deconv")
    height, width = image.shape[:2]
    canvas = np.zeros((3 * height + 6, 3 * width + 6, 3))
    for y, x in np.ndindex(height, width):
        canvas[3 * y : 3 * y + 9, 3 * x : 3 * x + 9] += kernel @ features[y, x]
    return canvas[3:-3, 3:-3] + bias


def espcn(image, layer):
    """ESPCN's figure: two convolutions with tanh, one without, and depth-to-space."""
    features = np.tanh(convolve(image, *layer("first_conv")))
    features = np.tanh(convolve(features, *layer("last_conv")))
    return enlarge(0 * image, convolve(features, *layer("output_conv")))


OTHERS = {"xlsr": xlsr, "abpn": abpn, "fsrcnn": fsrcnn, "espcn": espcn}


@pytest.mark.parametrize("name", OTHERS)
def test_other_networks(name, picture):
    """Each other network computes what its paper's figure says, from the same weights."""
    model = ZOO[name].build(ZOO[name].config())
    random = np.random.default_rng(5)
    for weight in model.weights:
        fan_in = np.prod(weight.shape[:-1]) if len(weight.shape) == 4 else 30
        weight.assign(random.normal(0, 1.4 / np.sqrt(fan_in), weight.shape))
    used = set()

    def layer(of):
        used.add(of)
        return model.get_layer(of).get_weights()

    expected = OTHERS[name](picture[0].astype(np.float64), layer)
    assert used == {one.name for one in model.layers if one.weights}
    assert expected.std() > 0.05
    assert np.abs(np.asarray(model(picture))[0] - expected).max() < 1e-5
