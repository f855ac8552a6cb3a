"""The comparison as one record: layers, causes and pictures, against TFLite and numpy alone.

The network is an XCAT with random weights whose residual is small beside the enlarged picture.
"""

import math
from dataclasses import replace

import numpy as np
import pytest
import tf_keras

from qsr import calibration as cal
from qsr.analysis import compare, diagnose
from qsr.analysis.compare import Instruments
from qsr.analysis.labels import layer_label
from qsr.analysis.pictures import picture_error
from qsr.errors import ImageError, ModelError
from qsr.tflite import runtime
from qsr.tflite.convert import convert_keras
from qsr.tflite.fold import fold_copies
from qsr.tflite.runtime import Runner, to_bytes

PREFIX = "xcat/{0}/Relu;xcat/{0}/BiasAdd;xcat/{0}/Conv2D;xcat/{0}/BiasAdd/ReadVariableOp1"
FIRST_CONV = PREFIX.format("first_conv")
LAST_CONV = PREFIX.format("last_conv")
OUTPUT_CONV = (
    "xcat/output_conv/BiasAdd;xcat/output_conv/Conv2D;xcat/output_conv/BiasAdd/ReadVariableOp1"
)
SUMMED = ("sqnr_db", "mse", "mean_error", "max_error", "cosine", "saturated_low", "saturated_high")


def by_name(comparison):
    """Return the layers by the reference's tensor name, in order."""
    return {layer.name: layer for layer in comparison.layers}


def without_originals(pictures):
    """Return pictures that nothing can be measured against in dB, which takes less time."""
    return [(name, lr, None) for name, lr, _ in pictures]


def expected(pairs, scale, zero_point, limits):
    """Compute a record's measurements by their definitions: pairs of float values and integers."""
    f = np.concatenate([values.astype(np.float64).ravel() for values, _ in pairs])
    codes = np.concatenate([codes.ravel() for _, codes in pairs])
    q = scale * (codes.astype(float) - zero_point)
    low, high = (scale * (limit - zero_point) for limit in limits)
    return {
        "sqnr_db": 10 * math.log10((f**2).sum() / ((f - q) ** 2).sum()),
        "mse": ((q - f) ** 2).mean(),
        "mean_error": (q - f).mean(),
        "max_error": np.abs(q - f).max(),
        "cosine": f @ q / (np.linalg.norm(f) * np.linalg.norm(q)),
        "saturated_low": (f < low - scale / 2).mean(),
        "saturated_high": (f > high + scale / 2).mean(),
        "used_levels": np.unique(codes).size / 256,
        "minimum": f.min(),
        "maximum": f.max(),
        "grid_minimum": low,
        "grid_maximum": high,
    }


def measured(layer, *, of="accumulated"):
    """Return the same of a record."""
    error = getattr(layer, of)
    found = {name: getattr(error, name) for name in (*SUMMED, "used_levels")}
    ends = ("minimum", "maximum", "grid_minimum", "grid_maximum")
    return found | {name: getattr(layer, name) for name in ends}


@pytest.fixture(scope="module")
def comparison(trained_xcat, sound, pictures):
    """The sound integer model, on all pictures."""
    return compare(trained_xcat, sound, pictures)


class TestLayers:
    """What the records of layers hold."""

    def test_every_layer(self, trained_xcat, sound, pictures, comparison, all_tensors):
        """Every layer's record is what TFLite alone and the definitions give over all pictures."""
        runs = [
            (all_tensors(trained_xcat, lr[None] / np.float32(255)), all_tensors(sound, lr[None]))
            for _, lr, _ in pictures
        ]
        floats, integers = runs[0]
        assert {layer.name for layer in comparison.layers} <= floats.keys()
        assert len(comparison.layers) == 19
        inexact = [one for one in comparison.layers if one.accumulated.sqnr_db < 100]
        assert len(inexact) == 17  # not the input and its copy: the last bits of a float
        for layer in inexact:
            codes, scale, zero_point = integers[layer.tested_name]
            limits = (0, 255) if codes.dtype == np.uint8 else (-128, 127)
            pairs = [(run[0][layer.name], run[1][layer.tested_name][0]) for run in runs]
            pairs = [(values, codes) for (values, *_), codes in pairs]
            oracle = expected(pairs, scale, zero_point, limits)
            assert measured(layer) == pytest.approx(oracle, rel=1e-5, abs=1e-7), layer.name
            assert (layer.scale, layer.zero_point) == (scale, zero_point)

    def test_first_convolution(
        self, trained_xcat, trained_xcat_keras, sound, pictures, all_tensors
    ):
        """The first convolution's error is that of a convolution written in numpy."""
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
        assert layer.accumulated.sqnr_db == pytest.approx(oracle["sqnr_db"], abs=1e-3)
        assert layer.accumulated.mean_error == pytest.approx(oracle["mean_error"], abs=1e-6)

    def test_listed_when_unmatched(self, trained_xcat, sound, pictures, comparison):
        """Tensors of a folded clip are listed; copies that QUANTIZE makes at the ends are not."""
        assert comparison.only_reference == comparison.only_tested == ()
        folded = compare(trained_xcat, fold_copies(sound), without_originals(pictures[:1]))
        assert folded.only_reference
        assert not set(folded.only_reference) & by_name(folded).keys()

    def test_tied_to_output(self, comparison):
        """What the clip reads is clipped in any case; everything before the addition is not."""
        tied = [layer.operator for layer in comparison.layers if layer.tied_to_output]
        assert tied == ["ADD", "DEPTH_TO_SPACE", "MINIMUM", "RELU"]

    def test_after(self, comparison):
        """Each layer tells what it is made of: the addition of two, the input of nothing."""
        seen = set()
        for layer in comparison.layers:
            assert seen.issuperset(layer.after)
            assert bool(layer.after) == (layer.operator != "INPUT")
            seen.add(layer.name)
        (add,) = (layer for layer in comparison.layers if layer.operator == "ADD")
        assert {layer_label(name) for name in add.after} == {"nearest_neighbor", "output_conv"}

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
        assert all(layer.accumulated.sqnr_db > 40 for layer in layers)

    def test_pinned_input(self, comparison):
        """An input grid of black to white is exact but for the last bits of ``float32``."""
        first = comparison.layers[0]
        assert (first.operator, first.how, first.local) == ("INPUT", "end", None)
        assert first.accumulated.sqnr_db > 120
        assert first.accumulated.saturated_share == 0

    def test_io_types_agree(self, trained_xcat, quantized, pictures, comparison):
        """The layers of a model are the same whether its ends are unsigned, signed or float."""
        for io in ("int8", "float32"):
            other = compare(trained_xcat, quantized(io=io), without_originals(pictures))
            for layer, twin in zip(other.layers, comparison.layers, strict=True):
                assert measured(layer) == pytest.approx(measured(twin), rel=1e-9, abs=1e-12)

    def test_alone_or_after_others(self, comparison):
        """The first convolution, after an exact input, errs by itself as it errs in the model."""
        first = by_name(comparison)[FIRST_CONV]
        assert first.local == first.accumulated
        joined = [layer for layer in comparison.layers if layer.operator == "CONCATENATION"]
        assert all(one.local.sqnr_db > one.accumulated.sqnr_db + 6 for one in joined)


class TestTwoIntegerModels:
    """A reference that is an integer model itself."""

    def test_itself(self, sound, pictures):
        """A model against itself has no accumulated error, and gives the same picture."""
        result = compare(sound, sound, pictures[:1])
        for layer in result.layers:
            assert (layer.accumulated.mse, layer.accumulated.sqnr_db) == (0, math.inf)
            assert layer.stored is None or layer.stored.weights_off_steps == 0
        assert result.pictures[0].between_db == math.inf
        assert result.causes.weights_db == 0
        assert result.causes.total_db == 0
        assert diagnose(result, reference="x").costs_most.startswith("Both models make the same")

    def test_causes_add_up(self, sound, quantized, pictures):
        """The whole is the drop from the reference in use; its own rounding is told apart."""
        result = compare(sound, quantized({LAST_CONV: 0.5}), pictures)
        causes = result.causes
        drops = [picture.drop_db for picture in result.pictures]
        assert causes.total_db == pytest.approx(np.mean(drops), abs=1e-9)
        parts = (causes.weights_db, causes.activations_db, causes.io_grid_db)
        more = causes.interaction_db + causes.kernels_db - causes.reference_rounding_db
        assert sum(parts) + more == pytest.approx(causes.total_db, abs=1e-9)
        assert causes.reference_rounding_db != 0
        assert result.reference_quantized

    def test_wide_grid(self, sound, quantized, pictures, all_tensors):
        """Each layer is measured against what the reference's integers stand for."""
        _, lr, _ = pictures[0]
        coarse = quantized({LAST_CONV: 8.0}, io="int8")
        result = compare(sound, coarse, without_originals(pictures[:1]))
        one = all_tensors(sound, lr[None])
        signed = (lr ^ np.uint8(128)).view(np.int8)[None]
        other = all_tensors(coarse, signed)
        for name in (FIRST_CONV, LAST_CONV, OUTPUT_CONV):
            layer = by_name(result)[name]
            codes, scale, zero_point = one[name]
            f = scale * (codes.astype(float) - zero_point)
            codes, scale, zero_point = other[layer.tested_name]
            q = scale * (codes.astype(float) - zero_point)
            assert layer.accumulated.mse == pytest.approx(((q - f) ** 2).mean(), rel=1e-6)
        assert by_name(result)[FIRST_CONV].accumulated.mse == 0
        assert by_name(result)[LAST_CONV].accumulated.mse > 0


class TestPieces:
    """Pictures that are not run in one go."""

    def test_large(self, trained_xcat, sound, pictures, comparison, monkeypatch):
        """Pictures cut into overlapping tiles count each pixel once: the layers of whole ones."""
        monkeypatch.setattr(runtime, "LARGEST_TILE", 32)
        tiled = compare(trained_xcat, sound, pictures)
        for layer, whole in zip(tiled.layers, comparison.layers, strict=True):
            for kind in ("accumulated",) if layer.local is None else ("accumulated", "local"):
                whole_numbers = pytest.approx(measured(whole, of=kind), rel=1e-3, abs=1e-6)
                assert measured(layer, of=kind) == whole_numbers
            assert sum(layer.histogram.counts) == sum(whole.histogram.counts)
        assert tiled.pictures == comparison.pictures
        assert tiled.causes.total_db == pytest.approx(comparison.causes.total_db, abs=1e-9)
        assert tiled.causes.weights_db == pytest.approx(comparison.causes.weights_db, abs=1e-4)

    def test_padding(self, abpn, pictures, all_tensors):
        """A picture smaller than a fixed input size counts, and not what it is padded with."""
        name, lr, _ = pictures[0]
        lr = lr[:25, :30]
        integer = cal.quantize(abpn, cal.collect(abpn, {name: lr}).merged())
        padded = np.pad(lr, ((0, 40 - 25), (0, 48 - 30), (0, 0)), mode="edge")[None]
        floats = all_tensors(abpn, padded.astype(np.float32))
        integers = all_tensors(integer, padded)
        checked = set()
        for layer in compare(abpn, integer, [(name, lr, None)]).layers:
            codes, scale, zero_point = integers[layer.tested_name]
            factor = codes.shape[1] // 40
            cut = np.s_[:, : 25 * factor, : 30 * factor]
            limits = (0, 255) if codes.dtype == np.uint8 else (-128, 127)
            pairs = [(floats[layer.name][0][cut], codes[cut])]
            if layer.accumulated.sqnr_db < 100:
                oracle = expected(pairs, scale, zero_point, limits)
                assert measured(layer) == pytest.approx(oracle, rel=1e-6, abs=1e-9)
                checked.add(factor)
            assert sum(layer.histogram.counts) == pairs[0][0].size
        assert checked == {1, 3}

    def test_streamed(self, trained_xcat, sound, pictures):
        """An image is done with, and told so, before the next is asked for."""
        events = []

        def stream():
            for picture in without_originals(pictures):
                events.append(picture[0])
                yield picture

        compare(trained_xcat, sound, stream(), on_image=events.append)
        assert events == ["astronaut", 1, "chelsea", 2, "coffee", 3]

    def test_order_of_images(self, trained_xcat, sound, pictures, comparison):
        """Layers and causes do not depend on the order of images; pictures are in that order."""
        instruments = Instruments(
            trained_xcat, sound, reference_source="fp32", tested_source="int8"
        )
        parts = [instruments.measure(*picture) for picture in pictures]
        assert instruments.comparison(parts) == comparison
        backwards = instruments.comparison(parts[::-1])
        for layer, twin in zip(backwards.layers, comparison.layers, strict=True):
            assert measured(layer) == pytest.approx(measured(twin), rel=1e-9)
            if twin.cost is not None:
                assert vars(layer.cost) == pytest.approx(vars(twin.cost), abs=1e-9)
        assert vars(backwards.causes) == pytest.approx(vars(comparison.causes), abs=1e-9)
        assert backwards.pictures == comparison.pictures[::-1]


class TestPlantedFaults:
    """A fault planted at one tensor shows there, and not before."""

    @pytest.mark.parametrize("name", [LAST_CONV, OUTPUT_CONV])
    def test_range_too_narrow(self, trained_xcat, quantized, pictures, comparison, name):
        """A quarter of a range: the largest saturated share, and the first ratio that drops."""
        tested = quantized({name: 0.25})
        faulty = compare(trained_xcat, tested, without_originals(pictures))
        worst = max(faulty.layers, key=lambda layer: layer.accumulated.saturated_share)
        assert worst.name == name
        assert worst.accumulated.saturated_share > 0.05
        assert by_name(comparison)[name].accumulated.saturated_share == 0
        self.assert_first_drop(faulty, comparison, name, at_least_db=10)

    @pytest.mark.parametrize("name", [LAST_CONV, OUTPUT_CONV])
    def test_range_too_wide(self, trained_xcat, quantized, pictures, comparison, name):
        """Sixteen times a range: a step sixteen times as large, and the first ratio that drops."""
        tested = quantized({name: 16.0})
        faulty = compare(trained_xcat, tested, without_originals(pictures))
        layer = by_name(faulty)[name]
        assert layer.scale == pytest.approx(16 * by_name(comparison)[name].scale)
        assert layer.accumulated.saturated_share == 0
        assert layer.accumulated.used_levels < 20 / 256
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
        ratio_db = -20 * math.log10(1 - brightness)
        assert layer.accumulated.sqnr_db == pytest.approx(ratio_db, abs=1e-4)
        mean_error = (brightness - 1) * values.mean()
        assert layer.accumulated.mean_error == pytest.approx(mean_error, rel=1e-5)
        share = (values > layer.grid_maximum + layer.scale / 2).mean()
        assert layer.accumulated.saturated_high == pytest.approx(share)
        assert share > 0.2
        assert max(picture.drop_db for picture in result.pictures) > 3

    @staticmethod
    def assert_first_drop(faulty, sound, name, *, at_least_db):
        """Check that nothing changes before the tensor, and that its ratio drops, both ways."""
        names = [layer.name for layer in sound.layers]
        place = names.index(name)
        pairs = list(zip(faulty.layers, sound.layers, strict=True))
        for layer, twin in pairs[:place]:
            assert layer == replace(twin, cost=None)
        for kind in ("accumulated", "local"):
            after, before = (getattr(layer, kind).sqnr_db for layer in pairs[place])
            assert before - after > at_least_db


class TestCosts:
    """What is lost, in dB."""

    @pytest.mark.parametrize("scheme", [{}, {"per_channel": False}, {"io": "float32"}])
    def test_causes_add_up(self, trained_xcat, quantized, pictures, scheme):
        """The causes add up to the mean drop of the pictures; what is cut off is a part of one.

        Originals are what the float model makes of the pictures, and noise: so any change costs.
        """
        runner, random = Runner(trained_xcat), np.random.default_rng(3)
        pictures = [
            (name, lr, to_bytes(runner.upscale_unrounded(lr) + random.normal(0, 4, hr.shape)))
            for name, lr, hr in pictures
        ]
        result = compare(trained_xcat, quantized({LAST_CONV: 0.5}, **scheme), pictures)
        causes = result.causes
        parts = (
            *(causes.weights_db, causes.activations_db, causes.io_grid_db),
            *(causes.interaction_db, causes.kernels_db),
        )
        assert sum(parts) == pytest.approx(causes.total_db, abs=1e-9)
        drops = [picture.drop_db for picture in result.pictures]
        assert causes.total_db == pytest.approx(np.mean(drops), abs=1e-9)
        assert 0.1 < causes.saturation_db < causes.activations_db
        by_reference = [picture.reference_psnr_db for picture in result.pictures]
        unrounded = [
            psnr_by_hand(np.clip(runner.upscale_unrounded(lr), 0, 255), hr)
            for _, lr, hr in pictures
        ]
        rounding = np.mean(unrounded) - np.mean(by_reference)
        assert causes.last_rounding_db == pytest.approx(rounding, abs=1e-6)

    def test_what_has_costs(self, comparison):
        """Every layer but the input has costs; a layer that only moves values costs nothing."""
        first, *others = comparison.layers
        assert first.cost is None
        for layer in others:
            assert np.isfinite(list(vars(layer.cost).values())).all()
            if layer.operator in {"SPLIT_V", "DEPTH_TO_SPACE"}:
                assert layer.cost.alone_db == 0

    def test_without_originals(self, trained_xcat, sound, pictures, comparison):
        """Costs are measured on the pictures that have an original, and on no others."""
        none = compare(trained_xcat, sound, without_originals(pictures))
        assert none.causes is None
        assert {layer.cost for layer in none.layers} == {None}
        assert [layer.accumulated for layer in none.layers] == [
            layer.accumulated for layer in comparison.layers
        ]
        mixed = [pictures[0], *without_originals(pictures[1:])]
        one = compare(trained_xcat, sound, mixed)
        assert one.causes == compare(trained_xcat, sound, pictures[:1]).causes
        assert len(one.pictures) == 3

    def test_pictures(self, trained_xcat, sound, pictures, comparison):
        """The pictures are those that the models give by themselves, bytes in and bytes out."""
        runners = Runner(trained_xcat), Runner(sound)
        assert comparison.pictures == tuple(
            picture_error(name, *(runner.upscale(lr) for runner in runners), hr)
            for name, lr, hr in pictures
        )

    def test_same_pictures(self, unlike_xcat, pictures):
        """Two models that give the original itself lose nothing, to no cause."""
        name, lr, _ = pictures[0]
        model = unlike_xcat(3)
        integer = cal.quantize(model, cal.collect(model, {name: lr}).merged())
        result = compare(model, integer, [(name, lr, lr.repeat(3, 0).repeat(3, 1))])
        (picture,) = result.pictures
        assert picture.between_db == picture.reference_psnr_db == math.inf
        assert set(vars(result.causes).values()) == {0.0}


def psnr_by_hand(picture, original):
    """PSNR of an unrounded picture, in RGB and without its border of one pixel."""
    difference = (picture.astype(np.float64) - original)[1:-1, 1:-1]
    return 10 * math.log10(255**2 / (difference**2).mean())


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
            compare(*arguments, reference_source="a.tflite", tested_source="b.tflite")
        text = str(caught.value)
        assert "\n" not in text
        return text

    def test_not_comparable(self, trained_xcat, unlike_xcat, integer_of, sound):
        """Models that are not of one network are refused before any picture is asked for."""

        def asked():
            pytest.fail("a picture was asked for")
            yield

        for first, second, said in (
            (sound, trained_xcat, "swap them"),
            (trained_xcat, trained_xcat, "both compute in float"),
            (trained_xcat, integer_of(unlike_xcat(2)), "enlarges x3 and b.tflite x2"),
            (trained_xcat, integer_of(unlike_xcat(3)), "share 1 of 8 layers with weights"),
        ):
            assert said in self.refusal(ModelError, first, second, asked())

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
        assert text.endswith("is not finite (picture night)")

    def test_no_images(self, trained_xcat, sound):
        """No image at all."""
        text = self.refusal(ModelError, trained_xcat, sound, [])
        assert text.startswith("no pictures to compare the models on")

    def test_original_of_wrong_size(self, trained_xcat, sound, pictures):
        """An original that is not three times its LR image."""
        name, lr, hr = pictures[0]
        text = self.refusal(ImageError, trained_xcat, sound, [(name, lr, hr[:-1])])
        assert text.startswith("astronaut: HR is 144x119 and LR 48x40 pixels")

    @pytest.mark.parametrize("place", [0, 1])
    def test_no_model(self, trained_xcat, sound, pictures, place):
        """Bytes that are no model are named as they were given."""
        models = [trained_xcat, sound]
        models[place] = b"no model"
        text = self.refusal(ModelError, *models, pictures)
        assert text.startswith(("a.tflite: ", "b.tflite: ")[place])


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
    assert layer_label(name) == label
