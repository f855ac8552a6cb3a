"""The comparison: what it measures against TFLite and numpy alone, and faults planted on purpose.

The network is an XCAT with random weights whose residual is small beside the enlarged picture.
"""

import dataclasses
import importlib
import math

import numpy as np
import pytest
import tf_keras
from skimage.metrics import peak_signal_noise_ratio

from qsr import calibration as cal
from qsr.analysis import LayerError, compare
from qsr.errors import ImageError, ModelError
from qsr.models.xcat import XcatConfig, build_xcat
from qsr.tflite import runtime
from qsr.tflite.convert import convert_keras
from qsr.tflite.runtime import Runner, inspect_model

PREFIX = "xcat/{0}/Relu;xcat/{0}/BiasAdd;xcat/{0}/Conv2D;xcat/{0}/BiasAdd/ReadVariableOp1"
FIRST_CONV = PREFIX.format("first_conv")
LAST_CONV = PREFIX.format("last_conv")
OUTPUT_CONV = (
    "xcat/output_conv/BiasAdd;xcat/output_conv/Conv2D;xcat/output_conv/BiasAdd/ReadVariableOp1"
)


def by_name(comparison):
    """Return the layers by tensor name, in order."""
    return {layer.name: layer for layer in comparison.layers}


def expected(pairs, scale, zero_point, limits):
    """Compute a record's measurements by their definitions: pairs of float values and integers."""
    f = np.concatenate([values.astype(np.float64).ravel() for values, _ in pairs])
    q = scale * (np.concatenate([codes.ravel() for _, codes in pairs]).astype(float) - zero_point)
    low, high = (scale * (limit - zero_point) for limit in limits)
    return {
        "sqnr_db": 10 * math.log10((f**2).sum() / ((f - q) ** 2).sum()),
        "saturated_share": float(((f < low - scale / 2) | (f > high + scale / 2)).mean()),
        "mean_error": float((q - f).mean()),
        "minimum": float(f.min()),
        "maximum": float(f.max()),
        "grid_minimum": low,
        "grid_maximum": high,
    }


def measured(layer):
    """Return the same of a record."""
    return {
        key: getattr(layer, key)
        for key in dataclasses.asdict(layer)
        if key not in {"name", "operator", "scale", "zero_point", "tied_to_output"}
    }


@pytest.fixture(scope="module")
def comparison(trained_xcat, sound, pictures):
    """The sound integer model, on all pictures."""
    return compare(trained_xcat, sound, pictures)


class TestMeasurements:
    """What the records hold."""

    def test_every_layer(self, trained_xcat, sound, pictures, comparison, all_tensors):
        """Every layer's record is what TFLite alone and the definitions give over all pictures."""
        runs = [
            (all_tensors(trained_xcat, lr[None] / np.float32(255)), all_tensors(sound, lr[None]))
            for _, lr, _ in pictures
        ]
        layers = by_name(comparison)
        twins = {name: name for name in runs[0][1] if name in layers}
        for split in ("xcat/block1_split/split", "xcat/block2_split/split"):
            twins |= {split: f"{split};{split}1", f"{split}1": f"{split};{split}11"}
        assert twins.keys() == layers.keys()
        for name, twin in twins.items():
            codes, scale, zero_point = runs[0][1][twin]
            limits = (0, 255) if codes.dtype == np.uint8 else (-128, 127)
            pairs = [(floats[name][0], integers[twin][0]) for floats, integers in runs]
            oracle = expected(pairs, scale, zero_point, limits)
            assert measured(layers[name]) == pytest.approx(oracle, rel=1e-6, abs=1e-9), name
            assert (layers[name].scale, layers[name].zero_point) == (scale, zero_point)

    def test_first_convolution(
        self, trained_xcat, trained_xcat_keras, sound, pictures, all_tensors
    ):
        """The first convolution's ratio is that of a convolution written in numpy."""
        name, lr, _ = pictures[0]
        kernel, bias = trained_xcat_keras.get_layer("first_conv").get_weights()
        padded = np.pad(lr / 255.0, ((1, 1), (1, 1), (0, 0)))
        f = bias + sum(
            padded[row : row + lr.shape[0], column : column + lr.shape[1]] @ kernel[row, column]
            for row in range(3)
            for column in range(3)
        )
        codes, scale, zero_point = all_tensors(sound, lr[None])[FIRST_CONV]
        oracle = expected([(np.maximum(f, 0), codes)], scale, zero_point, (-128, 127))
        layer = by_name(compare(trained_xcat, sound, [(name, lr, None)]))[FIRST_CONV]
        assert layer.sqnr_db == pytest.approx(oracle["sqnr_db"], abs=1e-3)
        assert layer.mean_error == pytest.approx(oracle["mean_error"], abs=1e-6)

    def test_listed_when_unmatched(self, comparison):
        """Tensors around QUANTIZE that only the integer model has are listed."""
        assert comparison.unmatched_float == ()
        assert comparison.unmatched_integer == ("tfl.quantize", "StatefulPartitionedCall:01")

    def test_tied_to_output(self, comparison):
        """What the clip reads is clipped in any case; everything before the addition is not."""
        tied = [layer.operator for layer in comparison.layers if layer.tied_to_output]
        assert tied == ["ADD", "DEPTH_TO_SPACE", "MINIMUM", "RELU"]

    def test_single_operator(self, pictures):
        """A network of one operator has nothing but its ends, and is compared at those."""
        upscale = tf_keras.layers.Conv2DTranspose(3, 2, strides=2)
        model = tf_keras.Sequential([tf_keras.Input((None, None, 3)), upscale])
        upscale.set_weights([np.broadcast_to(np.eye(3), (2, 2, 3, 3)), np.zeros(3)])
        name, lr, _ = pictures[0]
        content = convert_keras(model)
        integer = cal.quantize(content, cal.collect(content, {name: lr}).merged())
        layers = compare(content, integer, [(name, lr, None)]).layers
        assert [layer.operator for layer in layers] == ["INPUT", "TRANSPOSE_CONV"]
        assert all(layer.sqnr_db > 40 for layer in layers)

    def test_pinned_input(self, comparison):
        """An input grid of black to white is exact but for the last bits of ``float32``."""
        assert comparison.layers[0].operator == "INPUT"
        assert comparison.layers[0].sqnr_db > 120
        assert comparison.layers[0].saturated_share == 0

    def test_io_types_agree(self, trained_xcat, quantized, pictures, comparison):
        """The layers of a model are the same whether its ends are unsigned, signed or float."""
        for io in ("int8", "float32"):
            other = compare(trained_xcat, quantized(io=io), pictures)
            for layer, twin in zip(other.layers, comparison.layers, strict=True):
                assert measured(layer) == pytest.approx(measured(twin), rel=1e-9, abs=1e-12)

    def test_order_of_images(self, trained_xcat, sound, pictures, comparison):
        """Layers do not depend on the order of images."""
        backwards = compare(trained_xcat, sound, pictures[::-1])
        for layer, twin in zip(backwards.layers, comparison.layers, strict=True):
            assert measured(layer) == pytest.approx(measured(twin), rel=1e-9)


class TestPieces:
    """Pictures that are not run in one go."""

    def test_large(self, trained_xcat, sound, pictures, comparison, monkeypatch):
        """Pictures cut into overlapping tiles give the layers of whole pictures."""
        monkeypatch.setattr(runtime, "LARGEST_TILE", 32)
        tiled = compare(trained_xcat, sound, pictures)
        for layer, whole in zip(tiled.layers, comparison.layers, strict=True):
            assert measured(layer) == pytest.approx(measured(whole), rel=1e-5, abs=1e-9)
        assert tiled.images == comparison.images

    def test_pieces_of_the_float_model(
        self, trained_xcat, sound, pictures, comparison, monkeypatch
    ):
        """Both models run in the float model's pieces, even if the integer one needs others."""
        module = importlib.import_module("qsr.analysis.pair")

        def inspect(model, *, source):
            facts = inspect_model(model, source=source)
            radius = 1 if facts.quantized else facts.receptive_radius
            return dataclasses.replace(facts, receptive_radius=radius)

        monkeypatch.setattr(runtime, "LARGEST_TILE", 32)
        monkeypatch.setattr(module, "inspect_model", inspect)
        tiled = compare(trained_xcat, sound, pictures)
        for layer, whole in zip(tiled.layers, comparison.layers, strict=True):
            assert measured(layer) == pytest.approx(measured(whole), rel=1e-5, abs=1e-9)

    def test_padding(self, abpn, pictures, all_tensors):
        """A picture smaller than a fixed input size counts, and not what it is padded with."""
        name, lr, _ = pictures[0]
        lr = lr[:25, :30]
        integer = cal.quantize(abpn, cal.collect(abpn, {name: lr}).merged())
        padded = np.pad(lr, ((0, 40 - 25), (0, 48 - 30), (0, 0)), mode="edge")[None]
        floats = all_tensors(abpn, padded.astype(np.float32))
        integers = all_tensors(integer, padded)
        layers = by_name(compare(abpn, integer, [(name, lr, None)]))
        checked = set()
        for twin in floats.keys() & integers.keys() & layers.keys():
            codes, scale, zero_point = integers[twin]
            factor = codes.shape[1] // 40
            cut = np.s_[:, : 25 * factor, : 30 * factor]
            limits = (0, 255) if codes.dtype == np.uint8 else (-128, 127)
            pairs = [(floats[twin][0][cut], codes[cut])]
            if not np.array_equal(floats[twin][0], scale * (codes.astype(float) - zero_point)):
                oracle = expected(pairs, scale, zero_point, limits)
                assert measured(layers[twin]) == pytest.approx(oracle, rel=1e-6, abs=1e-9)
                checked.add(factor)
        assert checked == {1, 3}

    def test_streamed(self, trained_xcat, sound, pictures):
        """An image is done with, and told so, before the next is asked for."""
        events = []

        def stream():
            for picture in pictures:
                events.append(picture[0])
                yield picture

        compare(trained_xcat, sound, stream(), on_image=events.append)
        assert events == ["astronaut", 1, "chelsea", 2, "coffee", 3]


class TestPlantedFaults:
    """A fault planted at one tensor shows there, and not before."""

    @pytest.mark.parametrize("name", [LAST_CONV, OUTPUT_CONV])
    def test_range_too_narrow(self, trained_xcat, quantized, pictures, comparison, name):
        """A quarter of a range: the largest saturated share, and the first ratio that drops."""
        faulty = compare(trained_xcat, quantized({name: 0.25}), pictures)
        worst = max(faulty.layers, key=lambda layer: layer.saturated_share)
        assert worst.name == name
        assert worst.saturated_share > 0.05
        assert by_name(comparison)[name].saturated_share == 0
        self.assert_first_drop(faulty, comparison, name, at_least_db=10)

    @pytest.mark.parametrize("name", [LAST_CONV, OUTPUT_CONV])
    def test_range_too_wide(self, trained_xcat, quantized, pictures, comparison, name):
        """Sixteen times a range: a step sixteen times as large, and the first ratio that drops."""
        faulty = compare(trained_xcat, quantized({name: 16.0}), pictures)
        assert by_name(faulty)[name].scale == pytest.approx(16 * by_name(comparison)[name].scale)
        assert by_name(faulty)[name].saturated_share == 0
        self.assert_first_drop(faulty, comparison, name, at_least_db=10)

    def test_dark_image(self, trained_xcat, pictures):
        """An input grid calibrated on a dark image darkens every picture by a known factor."""
        dark = {name: lr // 3 for name, lr, _ in pictures}
        ranges = cal.collect(trained_xcat, dark).merged()
        integer = cal.quantize(trained_xcat, ranges, cal.Scheme(pin_io=False))
        result = compare(trained_xcat, integer, pictures)
        layer = result.layers[0]
        brightness = max(lr.max() for lr in dark.values()) / 255
        values = np.concatenate([lr.ravel() for _, lr, _ in pictures]) / 255
        assert layer.scale == pytest.approx(brightness / 255)
        assert layer.sqnr_db == pytest.approx(-20 * math.log10(1 - brightness), abs=1e-4)
        assert layer.mean_error == pytest.approx((brightness - 1) * values.mean(), rel=1e-5)
        share = (values > layer.grid_maximum + layer.scale / 2).mean()
        assert layer.saturated_share == pytest.approx(share)
        assert layer.saturated_share > 0.2
        assert max(image.drop_db for image in result.images) > 3

    @staticmethod
    def assert_first_drop(faulty, sound, name, *, at_least_db):
        """Check that nothing changes before the tensor, and that its ratio drops."""
        names = [layer.name for layer in sound.layers]
        before = names.index(name)
        assert faulty.layers[:before] == sound.layers[:before]
        drop_db = sound.layers[before].sqnr_db - faulty.layers[before].sqnr_db
        assert drop_db > at_least_db


class TestPictures:
    """The records of images."""

    def test_against_original(self, trained_xcat, sound, pictures, comparison):
        """PSNR is scikit-image's of the 8-bit pictures, one pixel shaved against the original."""
        float_runner, integer_runner = Runner(trained_xcat), Runner(sound)
        for record, (name, lr, hr) in zip(comparison.images, pictures, strict=True):
            of_float, of_integer = float_runner.upscale(lr), integer_runner.upscale(lr)
            inner = np.s_[1:-1, 1:-1]
            float_psnr = peak_signal_noise_ratio(hr[inner], of_float[inner])
            integer_psnr = peak_signal_noise_ratio(hr[inner], of_integer[inner])
            assert record.name == name
            assert record.psnr_between_db == pytest.approx(
                peak_signal_noise_ratio(of_float, of_integer)
            )
            assert record.float_psnr_db == pytest.approx(float_psnr)
            assert record.integer_psnr_db == pytest.approx(integer_psnr)
            assert record.drop_db == pytest.approx(float_psnr - integer_psnr)

    def test_without_original(self, trained_xcat, sound, pictures, comparison):
        """Without an original the pictures are compared with each other alone."""
        name, lr, _ = pictures[1]
        (record,) = compare(trained_xcat, sound, [(name, lr, None)]).images
        assert record.psnr_between_db == comparison.images[1].psnr_between_db
        assert (record.float_psnr_db, record.integer_psnr_db, record.drop_db) == (None, None, None)

    def test_same_pictures(self, unlike_xcat, pictures):
        """Two models that give the original itself are infinitely close and drop nothing."""
        name, lr, _ = pictures[0]
        model = unlike_xcat(3)
        integer = cal.quantize(model, cal.collect(model, {name: lr}).merged())
        (record,) = compare(model, integer, [(name, lr, lr.repeat(3, 0).repeat(3, 1))]).images
        assert record.psnr_between_db == record.float_psnr_db == record.integer_psnr_db == math.inf
        assert record.drop_db == 0


@pytest.fixture(scope="module")
def integer_of(pictures):
    """Quantize any float model with the ranges of the first picture."""

    def quantize(model):
        name, lr, _ = pictures[0]
        return cal.quantize(model, cal.collect(model, {name: lr}).merged())

    return quantize


class TestErrors:
    """What cannot be compared is refused in one line."""

    @staticmethod
    def refusal(error, *arguments):
        """Return the one line of an error."""
        with pytest.raises(error) as caught:
            compare(*arguments, float_source="a.tflite", integer_source="b.tflite")
        text = str(caught.value)
        assert "\n" not in text
        return text

    def test_swapped(self, trained_xcat, sound, pictures):
        """Models in the wrong order: told to swap them."""
        text = self.refusal(ModelError, sound, trained_xcat, pictures)
        assert text.startswith("a.tflite is quantized and b.tflite is float: swap them")

    def test_both_float(self, trained_xcat, pictures):
        """Two float models."""
        text = self.refusal(ModelError, trained_xcat, trained_xcat, pictures)
        assert text.startswith("a.tflite and b.tflite both compute in float")

    def test_scale(self, trained_xcat, unlike_xcat, integer_of, pictures):
        """Models of different scale."""
        text = self.refusal(ModelError, trained_xcat, integer_of(unlike_xcat(2)), pictures)
        assert text.startswith("a.tflite enlarges x3 and b.tflite x2")

    def test_input_size(self, trained_xcat, abpn, integer_of, pictures):
        """One model of a fixed size and one of any."""
        text = self.refusal(ModelError, trained_xcat, integer_of(abpn), pictures)
        assert "a.tflite takes pictures of any size and b.tflite 48x40 pixels" in text

    def test_nothing_in_common(self, trained_xcat, unlike_xcat, integer_of, pictures):
        """Models of different networks, with nothing but the ends to compare."""
        text = self.refusal(ModelError, trained_xcat, integer_of(unlike_xcat(3)), pictures)
        assert text.startswith("a.tflite and b.tflite share 1 of 8 layers with weights")

    def test_other_width(self, trained_xcat, integer_of, pictures):
        """Networks of the same names and different widths."""
        tf_keras.utils.set_random_seed(5)
        narrow = convert_keras(build_xcat(XcatConfig(x_channels=12, y_channels=4)))
        text = self.refusal(ModelError, trained_xcat, integer_of(narrow), pictures)
        assert text.startswith("a.tflite and b.tflite share 1 of 8 layers with weights")

    def test_not_finite(self, unlike_xcat, pictures):
        """A float model that divides by the black of an image: the tensor and image are named."""
        model = unlike_xcat(3, lambda x: x + 1e-6 * tf_keras.backend.pow(x, -0.5))
        name, lr, _ = pictures[0]
        lr = np.maximum(lr, 20)
        integer = cal.quantize(model, cal.collect(model, {name: lr}).merged())
        compare(model, integer, [(name, lr, None)])
        lr[3, 4] = 0
        text = self.refusal(ModelError, model, integer, [("night", lr, None)])
        assert text.startswith("a.tflite: ")
        assert text.endswith("is not finite on the image night")

    def test_no_images(self, trained_xcat, sound):
        """No image at all."""
        text = self.refusal(ModelError, trained_xcat, sound, [])
        assert text == "no images to compare a.tflite and b.tflite on"

    def test_original_of_wrong_size(self, trained_xcat, sound, pictures):
        """An original that is not three times its LR image."""
        name, lr, hr = pictures[0]
        text = self.refusal(ImageError, trained_xcat, sound, [(name, lr, hr[:-1])])
        assert text.startswith("astronaut: HR is 144x119 and LR 48x40 pixels")

    def test_no_model(self, trained_xcat, pictures):
        """Bytes that are no model are named as they were given."""
        assert self.refusal(ModelError, trained_xcat, b"no model", pictures).startswith("b.tflite")


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("xcat/first_conv/Relu;xcat/first_conv/Conv2D", "first_conv"),
        ("xcat/block1_split/split1", "block1_split"),
        ("outer/xcat/anchor/add", "xcat/anchor"),
        ("anchor/add", "add"),
        ("serving_default_lr:0", "lr"),
        ("StatefulPartitionedCall:0", "output"),
    ],
)
def test_label(name, label):
    """A label keeps the layer's own name."""
    layer = LayerError(
        name, "CONV_2D", 1.0, 0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, tied_to_output=False
    )
    assert layer.label == label
