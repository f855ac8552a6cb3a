"""What every network of the zoo promises, at every scale."""

import re
import warnings

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from qsr import calibration as cal
from qsr.calibration.quantize import picture_ranges
from qsr.metrics import psnr_db
from qsr.models import layers
from qsr.models.zoo import ZOO, build, load, save
from qsr.tflite import runtime
from qsr.tflite.convert import convert_keras
from qsr.tflite.graph import Graph, end_grids
from qsr.tflite.runtime import Runner, inspect_model

SCALES = (2, 3, 4)
EACH = [(name, scale) for name in ZOO for scale in SCALES]

# Weights k * k * in * out and biases, from the papers; s is the scale.
PARAMETERS = {
    "xcat": lambda s: (
        (9 * 3 * 28 + 28)
        + 2 * ((1 * 21 * 21 + 21) + (9 * 7 * 7 + 7))
        + (9 * 28 * 28 + 28)
        + (9 * 28 * 3 * s**2 + 3 * s**2)
    ),
    "xlsr": lambda s: (
        4 * (9 * 3 * 8 + 8)
        + (1 * 32 * 32 + 32)
        + 3 * (4 * (9 * 8 * 8 + 8) + (1 * 32 * 32 + 32))
        + (9 * 3 * 16 + 16)
        + (1 * 48 * 32 + 32)
        + (9 * 32 * 3 * s**2 + 3 * s**2)
    ),
    "abpn": lambda s: (
        (9 * 3 * 28 + 28)
        + 4 * (9 * 28 * 28 + 28)
        + (9 * 28 * 3 * s**2 + 3 * s**2)
        + (9 * 3 * s**2 * 3 * s**2 + 3 * s**2)
    ),
    # PReLU has a slope per channel; the transposed convolution is of one size at every scale
    "fsrcnn": lambda _: (
        (25 * 3 * 56 + 56 + 56)
        + (1 * 56 * 12 + 12 + 12)
        + 4 * (9 * 12 * 12 + 12 + 12)
        + (1 * 12 * 56 + 56 + 56)
        + (81 * 56 * 3 + 3)
    ),
    "espcn": lambda s: (25 * 3 * 64 + 64) + (9 * 64 * 32 + 32) + (9 * 32 * 3 * s**2 + 3 * s**2),
}
PUBLISHED = {"xcat": 16519, "xlsr": 21947, "abpn": 42539, "fsrcnn": 24683, "espcn": 31131}

# LR pixels, half a kernel per convolution; nine HR taps reach 4 HR pixels from the middle.
RADIUS = {
    "xcat": lambda _: 1 + 2 * 1 + 1 + 1,
    "xlsr": lambda _: 1 + 3 * 1 + 1,
    "abpn": lambda _: 7 * 1,
    "fsrcnn": lambda s: 2 + 4 * 1 + -(-4 // s),
    "espcn": lambda _: 2 + 1 + 1,
}


def parameters(weights):
    """Count the values in a list of weights."""
    return sum(int(np.prod(weight.shape)) for weight in weights)


def noise(*size):
    """Make a batch of one random picture in [0, 1]."""
    return np.random.default_rng(sum(size)).random((1, *size, 3), np.float32)


def quantized(model, photographs, scheme=None):
    """Quantize a float model with the ranges of all photographs."""
    return cal.quantize(model, cal.collect(model, photographs).merged(), scheme)


@pytest.mark.parametrize(("name", "scale"), EACH)
def test_parameters(upscaler, name, scale):
    """A network has the parameters of its formula, and frozen ones in XCAT's anchor alone."""
    model = upscaler(name, scale)
    assert parameters(model.trainable_weights) == PARAMETERS[name](scale)
    frozen = 3 * 3 * scale**2 if name == "xcat" else 0
    assert parameters(model.non_trainable_weights) == frozen


@pytest.mark.parametrize("name", ZOO)
def test_published(name):
    """The zoo tells the parameters of the published network."""
    assert ZOO[name].parameters.trained == PARAMETERS[name](3) == PUBLISHED[name]
    assert ZOO[name].parameters.frozen == (81 if name == "xcat" else 0)


@pytest.mark.parametrize("name", ZOO)
def test_layers(name):
    """Every operation is a layer of a class, never a function, of a name that never changes."""
    model = build(name)
    ours = {value for value in vars(layers).values() if isinstance(value, type)}
    keras = {
        tf_keras.layers.InputLayer,
        tf_keras.layers.Conv2D,
        tf_keras.layers.Conv2DTranspose,
        tf_keras.layers.PReLU,
        tf_keras.layers.Concatenate,
        tf_keras.layers.Add,
    }
    assert {type(layer) for layer in model.layers} <= ours | keras
    names = [layer.name for layer in model.layers]
    assert names == [layer.name for layer in build(name).layers]
    assert not [name for name in names if re.search(r"_\d+$", name)]
    assert model.name == name


@pytest.mark.parametrize("size", [(1, 1), (1, 8), (5, 7), (32, 31)])
@pytest.mark.parametrize(("name", "scale"), EACH)
def test_any_size(upscaler, name, scale, size):
    """An image of any size, odd or tiny, becomes exactly ``scale`` times as high and wide."""
    output = upscaler(name, scale)(np.zeros((2, *size, 3), np.float32))
    assert output.shape == (2, scale * size[0], scale * size[1], 3)


@pytest.mark.parametrize(("name", "scale"), EACH)
def test_picture(upscaler, photographs, name, scale):
    """The networks of these tests give the picture back, so that what follows means something."""
    lr = photographs["chelsea"]
    output = 255 * np.asarray(upscaler(name, scale)(lr[None] / np.float32(255)))[0]
    assert psnr_db(output.clip(0, 255), lr.repeat(scale, 0).repeat(scale, 1), shave=1) > 22


@pytest.mark.parametrize("clipped", [True, False])
@pytest.mark.parametrize("name", ZOO)
def test_clipped(name, clipped, picture):
    """Clipped on request, a network of any weights ends at 0 and 1; else it goes beyond both."""
    model = build(name, ZOO[name].config(clipped=clipped))
    last = next(layer for layer in model.layers if layer.name.startswith("output_"))
    kernel, _ = last.get_weights()
    last.set_weights(
        [1e3 * kernel, np.tile([-9, 0, 9], kernel.shape[-1] // 3 or 1)[: last.filters]]
    )
    output = np.asarray(model(picture))
    if clipped:
        assert (output.min(), output.max()) == (0, 1)
    else:
        assert output.min() < -1
        assert output.max() > 2


@pytest.mark.parametrize("name", ZOO)
def test_saved(upscaler, picture, name, tmp_path):
    """Saved and loaded, a network gives the same output to the last bit."""
    save(upscaler(name, 3), tmp_path / "a.keras")
    assert np.array_equal(load(tmp_path / "a.keras")(picture), upscaler(name, 3)(picture))


@pytest.mark.parametrize(("name", "scale"), EACH)
def test_float_model(upscaler, float_upscaler, run_bare, name, scale):
    """The float .tflite file computes what the Keras model does, at sizes chosen later."""
    for size in ((1, 1), (5, 7), (33, 18)):
        for fast in (False, True):
            found = run_bare(float_upscaler(name, scale), noise(*size), fast=fast)
            np.testing.assert_allclose(found, upscaler(name, scale)(noise(*size)), atol=1e-5)


@pytest.mark.parametrize(("name", "scale"), EACH)
def test_facts(float_upscaler, name, scale):
    """The .tflite file is known as what it is, with the receptive field of its convolutions."""
    facts = inspect_model(float_upscaler(name, scale))
    assert (facts.scale, facts.fixed_size, facts.value_max) == (scale, None, 1.0)
    assert facts.receptive_radius == RADIUS[name](scale)


@pytest.mark.parametrize(("name", "scale"), EACH)
def test_influence(name, scale):
    """A pixel of the picture is felt no farther away than the receptive field says, nor much less.

    The field of the 3x3 convolution in XCAT's second HXBlock counts, though it reads channels that
    the first one's 3x3 convolution did not make; and HR pixels are rounded up to LR pixels.
    """
    radius, middle = RADIUS[name](scale), 12
    tf_keras.utils.set_random_seed(5)
    model = build(name, ZOO[name].config(scale=scale, clipped=False))
    grey = np.full((1, 2 * middle + 1, 2 * middle + 1, 3), 0.5, np.float32)
    dot = grey.copy()
    dot[0, middle, middle] = 0.9
    rows, columns = np.nonzero((np.asarray(model(dot)) != np.asarray(model(grey))).any(-1)[0])
    reached = np.abs(np.concatenate([rows, columns]) // scale - middle).max()
    assert radius - 1 <= reached <= radius


@pytest.mark.parametrize(("name", "scale"), EACH)
def test_tiles(float_upscaler, photographs, monkeypatch, name, scale):
    """In tiles, a network gives what it gives of the whole picture; the integers, byte for byte."""
    lr = photographs["astronaut"]
    model = float_upscaler(name, scale)
    integer = quantized(model, photographs)
    whole, whole_integer = Runner(model).upscale_unrounded(lr), Runner(integer).upscale(lr)
    monkeypatch.setattr(runtime, "LARGEST_TILE", 24)
    assert len(list(Runner(model).pieces(lr))) > 4
    np.testing.assert_allclose(Runner(model).upscale_unrounded(lr), whole, atol=1e-2 / 255)
    assert np.array_equal(Runner(integer).upscale(lr), whole_integer)


@pytest.mark.parametrize("name", ZOO)
def test_ranges(upscaler, float_upscaler, photographs, monkeypatch, name):
    """The ranges that are read, in tiles too, are those of the layers of the Keras model."""
    model, lr = upscaler(name, 3), photographs["astronaut"]
    whole = cal.collect(float_upscaler(name, 3), {"a": lr})
    monkeypatch.setattr(runtime, "LARGEST_TILE", 24)
    tiled = cal.collect(float_upscaler(name, 3), {"a": lr})
    for table in (whole, tiled):
        found = np.stack([table.minimum[0], table.maximum[0]], axis=-1)
        for layer in model.layers:
            values = tf_keras.Model(model.input, layer.output)(lr[None] / np.float32(255))
            for part in values if isinstance(values, list) else [values]:
                expected = np.array([part.numpy().min(), part.numpy().max()])
                tolerance = 1e-5 * np.abs(expected).max() + 1e-7
                assert (np.abs(found - expected).max(axis=1) < tolerance).any(), layer.name


@pytest.mark.parametrize(("name", "scale"), EACH)
def test_integer_model(float_upscaler, photographs, name, scale):
    """Quantized by default, all is integer, byte b means b/255, and raw bytes stay near float's."""
    model = float_upscaler(name, scale)
    integer = quantized(model, photographs)
    assert not [one.name for one in Graph(integer).tensors if one.dtype.startswith("float")]
    for grid in end_grids(integer):
        assert (grid.dtype, grid.zero_point) == ("uint8", 0)
        assert grid.scale == pytest.approx(1 / 255, rel=1e-6)
    for lr in photographs.values():
        assert psnr_db(Runner(integer).upscale(lr), Runner(model).upscale(lr), shave=0) > 30


@pytest.mark.parametrize("name", ZOO)
def test_known_ranges(float_upscaler, photographs, name):
    """Measured without the tensors whose range is known, the integer model is the same."""
    model = float_upscaler(name, 3)
    known = picture_ranges(Graph(model))
    table = cal.collect(model, photographs, known=known.keys())
    assert not set(table.tensors) & known.keys()
    assert cal.quantize(model, table.merged()) == quantized(model, photographs)


@pytest.mark.parametrize("name", ["xcat", "abpn"])
def test_anchor(upscaler, photographs, name):
    """With nothing to add, the integer model copies every byte of the picture."""
    model = upscaler(name, 3)
    weights = model.get_weights()
    last = model.get_layer("output_conv")
    last.set_weights([np.zeros_like(values) for values in last.get_weights()])
    integer = quantized(convert_keras(model), photographs)
    model.set_weights(weights)
    for lr in photographs.values():
        assert np.array_equal(Runner(integer).upscale(lr), lr.repeat(3, 0).repeat(3, 1))


@pytest.mark.parametrize("name", ZOO)
def test_public_converter(upscaler, float_upscaler, photographs, run_bare, name):
    """TensorFlow's own converter makes integers of all, and ours the same bytes of its ranges."""
    converter = tf.lite.TFLiteConverter.from_keras_model(upscaler(name, 3))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: (
        [lr[None] / np.float32(255)] for lr in photographs.values()
    )
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.uint8
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of statistics that it then measures
        public = converter.convert()
    assert not [one.name for one in Graph(public).tensors if one.dtype.startswith("float")]
    model = float_upscaler(name, 3)
    table = cal.collect(model, photographs, reader="converter")
    ours = cal.quantize(model, table.merged(), cal.Scheme(pin_io=False))
    for lr in photographs.values():
        assert np.array_equal(run_bare(ours, lr[None]), run_bare(public, lr[None]))
