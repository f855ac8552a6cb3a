"""Records of a comparison as an analysis would make them, with every awkward value there is."""

from dataclasses import replace
from math import inf

import numpy as np
import pytest
import skimage.data

from qsr.analysis.panels import panels
from qsr.analysis.records import (
    Banding,
    CauseCosts,
    ChannelErrors,
    Comparison,
    Crop,
    Diagnosis,
    Histogram,
    LayerCost,
    LayerError,
    PictureError,
    RegionErrors,
    StoredError,
    TensorError,
)
from qsr.reports import Origin, Subject, comparison_page

AWKWARD = "net/<b>&\"'$x^{/conv\x1b\ud800/Relu"
"""A tensor's name with what HTML, XML, matplotlib and UTF-8 each read in a way of their own."""

BRANCHES = 4
CHANNELS = 8


@pytest.fixture(scope="session")
def comparison():
    """25 layers: input, branches that are joined, a line past all of them, and the output."""
    layers = [_layer("serving_default_input:0", "INPUT", (), 0, how="end", local=False)]
    layers.append(_layer("net/first_conv/Relu;net/first_conv/Conv2D", "CONV_2D", (0,), 1, layers))
    for block in range(BRANCHES):
        start = len(layers)
        before = start - 1
        for branch in ("left", "right"):
            name = f"net/block_{block}/{branch}/Conv2D"
            layers.append(_layer(name, "CONV_2D", (before,), start, layers))
        layers.append(_layer(f"net/block_{block}/concat", "CONCATENATION", (-2, -1), 2, layers))
        layers.append(_layer(f"net/block_{block}/out/Relu", "CONV_2D", (-1,), 3, layers))
    layers.append(_layer("net/last_conv/BiasAdd", "CONV_2D", (-1,), 4, layers))
    layers.append(_layer(AWKWARD, "CONV_2D", (-1,), 5, layers))
    layers.append(_layer("net/anchor/Conv2D", "CONV_2D", (0,), 6, layers))
    layers.append(_layer("net/tf.__operators__.add/AddV2", "ADD", (-2, -1), 7, layers))
    layers.append(_layer("net/clip/Minimum", "MINIMUM", (-1,), 8, layers))
    layers.append(
        _layer("net/tf.nn.depth_to_space/DepthToSpace", "DEPTH_TO_SPACE", (-1,), 9, layers)
    )
    layers.append(
        replace(
            _layer("StatefulPartitionedCall:0", "QUANTIZE", (-1,), 10, layers, how="end"),
            tied_to_output=True,
        )
    )
    layers[3] = _saturated(layers[3])
    layers[4] = replace(layers[4], accumulated=_error(inf), local=_error(inf))
    layers[5] = replace(layers[5], accumulated=_error(-inf), cost=None, stored=None)
    layers[6] = replace(layers[6], how="structure", tested_name="renamed/<i>")
    return Comparison(
        layers=tuple(layers),
        only_reference=("net/clip/Maximum", "net/<script>alert(1)</script>"),
        only_tested=("tfl.quantize",),
        causes=CauseCosts(
            weights_db=0.0312,
            activations_db=0.0541,
            saturation_db=0.0203,
            io_grid_db=0.0001,
            kernels_db=-0.0042,
            interaction_db=0.0087,
            reference_rounding_db=0.0,
            total_db=0.0899,
            last_rounding_db=0.0061,
        ),
        pictures=tuple(_picture(f"image_{place:03}.png", place) for place in range(6)),
        reference_quantized=False,
        value_max=1.0,
    )


@pytest.fixture(scope="session")
def diagnosis(comparison):
    """A diagnosis that names one of its layers."""
    return Diagnosis(
        costs_most="int8 loses 0.0899 dB of PSNR against fp32 on 6 pictures; block_0/right costs "
        "0.0213 dB by itself that need not be.",
        why="Its grid is too narrow or shifted: it holds 0 to 0.51, the values span 0 to 0.83.",
        what_to_do="Choose other representative images: qsr search-repdata fp32.tflite "
        "--candidates DIR --validation DIR",
        layer=comparison.layers[3].label,
        cause="saturation",
    )


@pytest.fixture(scope="session")
def subject():
    """What was compared."""
    return Subject(
        reference="model_fp32.tflite",
        tested="model_uint8.tflite",
        images="benchmarks/B100",
        reference_psnr_db=28.6312,
        tested_psnr_db=28.5413,
        skipped=("tiny.png: 2 x 2 pixels are too few",),
    )


@pytest.fixture(scope="session")
def origin():
    """Where the page comes from."""
    return Origin("qsr compare a.tflite b.tflite --images 'my photos'", "0.1.0", "1 May 2026")


@pytest.fixture(scope="session")
def drawn():
    """Panels of two pictures, the second without an original."""
    hr = skimage.data.astronaut()[:192, 150:342]
    lr = hr[1::3, 1::3].copy()
    reference = lr.repeat(3, 0).repeat(3, 1)
    tested = reference.copy()
    tested[40:90, 100:140] += 5
    crop = Crop(32, 96, 48, 2.31)
    return {
        "image_000.png": panels(lr, reference, tested, crop, hr=hr),
        "image_001.png": panels(lr, reference, tested, crop),
    }


@pytest.fixture(scope="session")
def html(comparison, diagnosis, subject, origin, drawn):
    """The page of the whole comparison."""
    return comparison_page(comparison, diagnosis, subject, origin, panels=drawn)


def _layer(name, operator, after, seed, before=(), *, how="name", local=True):
    random = np.random.default_rng(100 * len(before) + seed)
    scale = float(random.uniform(0.001, 0.01))
    zero_point = int(random.integers(-128, 0))
    lowest, highest = (-128 - zero_point) * scale, (127 - zero_point) * scale
    sqnr = 47 - len(before) * 0.7 + random.normal(0, 1.5)
    alone = max(0.0, float(random.normal(0.002, 0.003)))
    convolution = operator == "CONV_2D"
    return LayerError(
        name=name,
        tested_name=name,
        how=how,
        operator=operator,
        after=tuple(before[place].name for place in after),
        scale=scale,
        zero_point=zero_point,
        grid_minimum=lowest,
        grid_maximum=highest,
        minimum=lowest * 0.9,
        maximum=highest * 0.95,
        tied_to_output=False,
        accumulated=_error(sqnr, seed),
        local=_error(sqnr + 4, seed + 1) if local else None,
        stored=StoredError(41.2, 0.5, 0.49, 1.0000001, 3) if convolution else None,
        cost=LayerCost(alone, alone / 2, alone / 2, 0.0, alone * 0.8) if local else None,
        histogram=_histogram(lowest * 0.9, highest * 0.95, random),
    )


def _saturated(layer):
    highest = layer.grid_maximum * 1.6
    random = np.random.default_rng(1)
    return replace(
        layer,
        maximum=highest,
        accumulated=_cut_off(_error(21.4, 3)),
        local=_cut_off(_error(22.6, 4)),
        cost=LayerCost(0.0213, 0.0011, 0.0202, 0.0199, 0.0227),
        histogram=_histogram(layer.minimum, highest, random),
    )


def _cut_off(error):
    """Return an error of which one channel alone is cut off, at the upper end."""
    shares = [0.0] * CHANNELS
    shares[4] = 0.0213 * CHANNELS
    channels = replace(error.channels, saturated_high=tuple(shares))
    return replace(error, saturated_high=0.0213, channels=channels)


def _error(sqnr, seed=0):
    random = np.random.default_rng(seed)
    channels = [sqnr + value for value in random.normal(0, 2, CHANNELS)]
    channels[2] = inf
    channels[5] = -inf
    return TensorError(
        sqnr_db=sqnr,
        mse=0.0 if sqnr == inf else 1.3e-6,
        mean_error=float(random.normal(0, 1e-4)),
        max_error=0.0123,
        cosine=0.999987,
        saturated_low=0.0,
        saturated_high=0.0,
        used_levels=0.93 if seed else None,
        channels=ChannelErrors(
            sqnr_db=tuple(channels),
            mse=(1.3e-6,) * CHANNELS,
            mean_error=tuple(random.normal(0, 1e-3, CHANNELS)),
            max_error=tuple(abs(random.normal(0, 1e-2, CHANNELS))),
            cosine=(0.999987,) * CHANNELS,
            saturated_low=(0.0,) * CHANNELS,
            saturated_high=(0.0,) * CHANNELS,
            used_levels=(0.7,) * CHANNELS if seed else None,
            gain=tuple(1 + random.normal(0, 1e-2, CHANNELS)),
        ),
    )


def _histogram(minimum, maximum, random):
    values = random.normal((minimum + maximum) / 3, (maximum - minimum) / 7, 20_000)
    counts, _ = np.histogram(values, bins=128, range=(minimum, maximum))
    return Histogram(tuple(counts.tolist()), minimum, maximum)


def _picture(name, place):
    equal = place == 5
    return PictureError(
        name=name,
        between_db=inf if equal else 51.2 - place,
        reference_psnr_db=28.4 + place,
        tested_psnr_db=28.4 + place - 0.02 * place,
        drop_db=0.02 * place,
        colour_shift=(0.12, -0.031, 0.004),
        largest_difference=0 if equal else 3 + place,
        regions=RegionErrors(0.12, 0.4, None if place == 1 else 0.9, 0.4, 0.4, 0.2),
        banding=Banding(0.21, 0.034, 1.02),
        worst_crop=Crop(32, 96, 48, 2.31),
    )
