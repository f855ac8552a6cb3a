"""What is said of a comparison: of records made by hand, and of models with known histories."""

import math
import shlex
from dataclasses import replace

import numpy as np
import pytest
from rewrites import with_weights

from qsr import calibration as cal
from qsr.analysis import compare, diagnose
from qsr.analysis.diagnosis import CAUSES, WORTH_SAYING_DB
from qsr.analysis.records import (
    Banding,
    CauseCosts,
    ChannelErrors,
    Comparison,
    Crop,
    Histogram,
    LayerCost,
    LayerError,
    PictureError,
    RegionErrors,
    StoredError,
    TensorError,
)
from qsr.analysis.suspects import GOOD_DB
from qsr.quantization.equalize import equalize
from qsr.quantization.weight_rounding import round_weights

LITTLE = WORTH_SAYING_DB / 2
MUCH = 0.3


def channels(sqnr_db, gain):
    """The error of two channels."""
    return ChannelErrors(
        sqnr_db=sqnr_db,
        mse=(1e-6, 1e-6),
        mean_error=(0.1, 0.1),
        max_error=(0.5, 0.5),
        cosine=(0.9999, 0.9999),
        saturated_low=(0.0, 0.0),
        saturated_high=(0.0, 0.0),
        used_levels=(1.0, 1.0),
        gain=gain,
    )


def error(sqnr_db=45.0, **changes):
    """The error of a tensor of two channels."""
    sound = TensorError(
        sqnr_db=sqnr_db,
        mse=1e-6,
        mean_error=0.0,
        max_error=0.004,
        cosine=0.9999,
        saturated_low=0.0,
        saturated_high=0.0,
        used_levels=1.0,
        channels=channels((45.0, 44.0), (1.0, 1.0)),
    )
    return replace(sound, **changes)


def layer(name, operator, after=(), **changes):
    """A sound layer on a grid from 0 to 1."""
    sound = LayerError(
        name=name,
        tested_name=name,
        how="name",
        operator=operator,
        after=after,
        scale=1 / 255,
        zero_point=-128,
        grid_minimum=0.0,
        grid_maximum=1.0,
        minimum=0.0,
        maximum=0.98,
        tied_to_output=False,
        accumulated=error(),
        local=error(48.0),
        stored=None,
        cost=LayerCost(0.001, 0.0004, 0.0006, 0.0, 0.001),
        histogram=Histogram((1,) * 64, -0.5, 1.5),
    )
    return replace(sound, **changes)


ROUNDED = StoredError(42.0, 0.5, 0.4, 1.0, 3)


def costs(**changes):
    """Costs that add up to a small drop."""
    parts = {"weights_db": 0.002, "activations_db": 0.004, "io_grid_db": 0.0}
    parts |= {"kernels_db": 0.0, "interaction_db": 0.001} | changes
    total = sum(parts.values())
    return CauseCosts(
        **{
            "saturation_db": 0.0,
            "reference_rounding_db": 0.0,
            "last_rounding_db": 0.005,
            "total_db": total,
        }
        | parts
    )


def comparison_of(*, causes=None, **changes):
    """A comparison of a small network; changes are those of layers, by name."""
    layers = (
        layer("lr", "INPUT", how="end", local=None, cost=None),
        layer("first", "CONV_2D", ("lr",), stored=ROUNDED),
        layer("parts", "SPLIT_V", ("first",)),
        layer("second", "CONV_2D", ("parts",), stored=ROUNDED),
        layer("third", "CONV_2D", ("second",), stored=ROUNDED),
        layer("hr", "DEPTH_TO_SPACE", ("third",), how="end", tied_to_output=True),
    )
    picture = PictureError(
        name="bird",
        between_db=50.0,
        reference_psnr_db=30.0,
        tested_psnr_db=29.99,
        drop_db=0.01,
        colour_shift=(-3.0, -3.0, -3.0),
        largest_difference=3,
        regions=RegionErrors(0.1, 0.2, 0.3, 0.4, 0.3, 0.3),
        banding=Banding(0.4, 0.0, 1.0),
        worst_crop=Crop(0, 0, 48, 0.5),
    )
    return Comparison(
        layers=tuple(replace(one, **changes.get(one.name, {})) for one in layers),
        only_reference=(),
        only_tested=(),
        causes=costs() if causes is None else causes,
        pictures=(picture,),
        reference_quantized=False,
        value_max=1.0,
    )


def cost(**changes):
    """The cost of a layer, little but for what is given; what weights cost is got back."""
    recovered_db = max(0.001, changes.get("weights_db", 0.0))
    return replace(LayerCost(0.001, 0.0004, 0.0006, 0.0, recovered_db), **changes)


def stored(**changes):
    """Stored values that are rounded to the nearest but for what is given."""
    return replace(ROUNDED, **changes)


FAULTS = {
    "nothing": ({}, ("none", None)),
    "rounded weights": (
        {"causes": costs(weights_db=0.1), "second": {"cost": cost(alone_db=0.09)}},
        ("weights", "second"),
    ),
    "rounded activations": (
        {"causes": costs(activations_db=0.1), "third": {"cost": cost(alone_db=0.09)}},
        ("activations", "third"),
    ),
    "input grid": (
        {"causes": costs(io_grid_db=MUCH), "lr": {"grid_maximum": 0.8}},
        ("I/O grid", "lr"),
    ),
    "output grid": (
        {"causes": costs(io_grid_db=MUCH), "hr": {"grid_minimum": -0.2, "grid_maximum": 1.1}},
        ("I/O grid", "hr"),
    ),
    "moved weights": (
        {"second": {"stored": stored(weights_off_steps=9.0), "cost": cost(weights_db=MUCH)}},
        ("stored values", "second"),
    ),
    "moved biases": (
        {"second": {"stored": stored(bias_off_steps=9.0), "cost": cost(weights_db=MUCH)}},
        ("stored values", "second"),
    ),
    "weights that no rounding makes": (
        {"second": {"stored": stored(weights_off_steps=61.0), "cost": cost(weights_db=0.0)}},
        ("stored values", "second"),
    ),
    "biases for another grid": (
        {
            "second": {"stored": stored(bias_scale_ratio=2.0, bias_off_steps=80.0)},
            "third": {"cost": cost(weights_db=0.0)},
        },
        ("grid changed", "first"),
    ),
    "integers for another grid": (
        {"parts": {"scale": 2 / 255, "grid_maximum": 2.0, "local": error(6.0, mse=0.06)}},
        ("grid changed", "first"),
    ),
    "cut off below": (
        {"second": {"accumulated": error(saturated_low=0.01), "cost": cost(saturation_db=MUCH)}},
        ("saturation", "second"),
    ),
    "cut off above": (
        {"third": {"accumulated": error(saturated_high=1e-4), "cost": cost(saturation_db=MUCH)}},
        ("saturation", "third"),
    ),
    "wide": (
        {"first": {"grid_maximum": 8.0, "cost": cost(activation_db=MUCH)}},
        ("wide grid", "first"),
    ),
    "other weights": (
        {
            name: {"stored": stored(weights_off_steps=15.0), "cost": cost(weights_db=MUCH)}
            for name in ("first", "second", "third")
        },
        ("other weights", None),
    ),
    "equalized": (
        {
            name: {
                "stored": stored(weights_off_steps=15.0),
                "accumulated": error(
                    channels=channels((4.43, -0.01), (0.4, 2.0)),
                ),
            }
            for name in ("first", "second", "third")
        },
        ("equalization", None),
    ),
}
"""What is done to the small network, and what is to be said of it: cause and layer."""


class TestCauses:
    """Each cause, of a comparison that has it."""

    @pytest.mark.parametrize("fault", FAULTS)
    def test_named(self, fault):
        """The cause is named, and the layer that has it, in sentences of one line."""
        changes, (cause, name) = FAULTS[fault]
        found = diagnose(comparison_of(**changes), reference="fp32.tflite")
        assert found.cause == cause
        if cause != "none":
            assert found.layer == name
        for sentence in (found.costs_most, found.why, found.what_to_do):
            assert sentence
            assert "\n" not in sentence
        if name is not None and cause not in {"I/O grid", "weights", "activations"}:
            assert found.costs_most.count(name)
        lost = comparison_of(**changes).causes.total_db
        assert f"{lost:.4f} dB" in found.costs_most

    def test_all(self):
        """These are all causes that there are."""
        assert {cause for _, (cause, _) in FAULTS.values()} == CAUSES.keys()

    @pytest.mark.parametrize(
        ("fault", "said"),
        [
            ("input grid", "input bytes from 0 to 0.8"),
            ("output grid", "output bytes from -0.2 to 1.1"),
            ("input grid", "3.00 of 255 steps darker"),
            ("moved weights", "weights are up to 9.0 steps off"),
            ("moved biases", "biases are up to 9.0 steps of its output's grid off"),
            ("moved weights", "channel 3"),
            ("cut off below", "1 % of its values lie below 0"),
            ("cut off above", "0.01 % of its values lie above 1"),
            ("wide", "it holds 0 to 8"),
            ("integers for another grid", "scale 0.00392157, zero point -128"),
            ("other weights", "Weights of 3 of 3 layers"),
            ("equalized", "3 inner tensors, such as first"),
        ],
    )
    def test_why(self, fault, said):
        """The reason has the numbers that show it."""
        assert said in diagnose(comparison_of(**FAULTS[fault][0]), reference="x.tflite").why

    @pytest.mark.parametrize("fault", [*FAULTS])
    def test_what_to_do(self, fault):
        """Commands name the reference as a shell takes it, whatever it is called."""
        name = "my models/fp32.tflite"
        text = diagnose(comparison_of(**FAULTS[fault][0]), reference=name).what_to_do
        assert (name in text) == (shlex.quote(name) in text)
        if "qsr quantize" in text or "qsr search-repdata " in text:
            assert name in shlex.split(text.partition("qsr ")[2])


class TestThresholds:
    """What is not said."""

    @pytest.mark.parametrize(
        "changes",
        [
            {"second": {"accumulated": error(saturated_low=0.01)}},
            {
                "second": {
                    "accumulated": error(saturated_low=0.01),
                    "cost": cost(saturation_db=LITTLE),
                }
            },
            {
                "second": {
                    "accumulated": error(saturated_high=9e-6),
                    "cost": cost(saturation_db=MUCH),
                }
            },
            {"second": {"stored": stored(weights_off_steps=2.9), "cost": cost(weights_db=MUCH)}},
            {"second": {"stored": stored(weights_off_steps=9.0), "cost": cost(weights_db=LITTLE)}},
            {"second": {"stored": stored(bias_scale_ratio=1.01)}},
            {"first": {"grid_maximum": 1.5, "cost": cost(activation_db=MUCH)}},
            {"first": {"grid_maximum": 8.0, "cost": cost(activation_db=LITTLE)}},
            {
                "first": {
                    "grid_maximum": 8.0,
                    "tied_to_output": True,
                    "cost": cost(activation_db=MUCH),
                }
            },
            {"lr": {"grid_maximum": 0.9}},
            {"causes": costs(activations_db=0.002, io_grid_db=0.004)},
            {"hr": {"grid_maximum": 1.0001, "grid_minimum": -0.0001}},
        ],
    )
    def test_nothing_to_say(self, changes):
        """What costs little, or is as it should be, is not called a fault."""
        assert diagnose(comparison_of(**changes), reference="x").cause == "none"

    def test_dearest_first(self):
        """Of several faults, the one that costs most is named."""
        faults = {
            "first": {"grid_maximum": 8.0, "cost": cost(activation_db=0.1)},
            "second": {"accumulated": error(saturated_low=0.1), "cost": cost(saturation_db=0.2)},
            "third": {"stored": stored(weights_off_steps=9.0), "cost": cost(weights_db=0.3)},
            "lr": {"grid_maximum": 0.8},
        }
        dearest = ["lr", "third", "second", "first"]
        causes = costs(io_grid_db=0.4)
        for name in dearest:
            assert diagnose(comparison_of(causes=causes, **faults), reference="x").layer == name
            del faults[name]
            if name == "lr":
                causes = costs()

    @pytest.mark.parametrize(
        ("sqnr_db", "gain"),
        [
            ((4.43, 4.43), (0.4, 0.4)),  # all multiplied alike
            ((4.43, -0.01), (0.5, 1.5)),  # factors of channels that are no multiples
            ((20.0, 19.0), (0.9, 1.1)),
            ((math.inf, -math.inf), (1.0, 0.0)),  # no error, and no signal
        ],
    )
    def test_not_rescaled(self, sqnr_db, gain):
        """Channels that were not multiplied by factors of their own are no equalization."""
        changes = {
            "stored": stored(weights_off_steps=15.0),
            "accumulated": error(channels=channels(sqnr_db, gain)),
            "cost": cost(weights_db=MUCH),
        }
        result = comparison_of(**dict.fromkeys(("first", "second", "third"), changes))
        assert diagnose(result, reference="x").cause == "other weights"

    @pytest.mark.parametrize(("share", "named"), [(0.09, False), (0.11, True)])
    def test_most_of_the_drop(self, share, named):
        """A layer that costs a small part of the drop is not named for it."""
        cut = {
            "accumulated": error(saturated_high=0.01),
            "cost": cost(saturation_db=share * MUCH),
        }
        spent = costs(activations_db=MUCH - 0.003)
        found = diagnose(comparison_of(causes=spent, third=cut), reference="x")
        assert spent.total_db == pytest.approx(MUCH)
        assert (found.cause == "saturation") == named

    def test_dropped_biases(self):
        """Biases far off beside weights that are rounded to the nearest are a fault, at no cost."""
        gone = {"stored": stored(bias_off_steps=11.0), "cost": cost(weights_db=-0.001)}
        found = diagnose(comparison_of(second=gone), reference="x")
        assert (found.cause, found.layer) == ("stored values", "second")
        fitted = {"stored": stored(bias_off_steps=11.0, weights_off_steps=2.0)}
        assert diagnose(comparison_of(second=fitted), reference="x").cause == "none"

    @pytest.mark.parametrize(("mean_steps", "named"), [(0.4, False), (4.0, True)])
    def test_biases_of_fitted_weights(self, mean_steps, named):
        """Biases that make up for weights are no fault; those that leave a channel off are one."""
        means = replace(channels((48.0, 48.0), (1.0, 1.0)), mean_error=(0.0, mean_steps / 255))
        fitted = {
            "stored": stored(bias_off_steps=5.0, weights_off_steps=2.0),
            "cost": cost(weights_db=MUCH),
            "local": error(48.0, channels=means),
        }
        found = diagnose(comparison_of(causes=costs(weights_db=MUCH), second=fitted), reference="x")
        assert (found.cause == "stored values") == named

    def test_one_wrong_bias(self):
        """A bias that is little more than a step off is named, if that costs most of the drop."""
        gone = {"stored": stored(bias_off_steps=1.1), "cost": cost(weights_db=MUCH)}
        found = diagnose(comparison_of(causes=costs(weights_db=MUCH), second=gone), reference="x")
        assert (found.cause, found.layer) == ("stored values", "second")

    def test_corrected_biases(self):
        """Biases of most layers, each a little off, were corrected; one further off counts."""
        little = {"stored": stored(bias_off_steps=1.6), "cost": cost(weights_db=MUCH)}
        all_of_them = dict.fromkeys(("first", "second", "third"), little)
        found = diagnose(comparison_of(causes=costs(weights_db=MUCH), **all_of_them), reference="x")
        assert found.cause == "weights"
        wrong = {"stored": stored(bias_off_steps=9.0), "cost": cost(weights_db=MUCH)}
        changes = {**all_of_them, "second": wrong}
        found = diagnose(comparison_of(causes=costs(weights_db=MUCH), **changes), reference="x")
        assert (found.cause, found.layer) == ("stored values", "second")

    def test_refined_already(self):
        """Of a model that a search has refined, nobody is told to search again."""
        dear = comparison_of(causes=costs(activations_db=0.1))
        assert "qsr search-repdata" in diagnose(dear, reference="x").what_to_do
        again = diagnose(dear, reference="x", refined=True)
        assert "qsr search-repdata" not in again.what_to_do
        assert "qsr qat" in again.what_to_do

    def test_better_than_reference(self):
        """A tested model that is better than its reference is not accused of anything."""
        gain = costs(weights_db=-0.5, activations_db=0.0)
        moved = {"stored": stored(weights_off_steps=70.0), "cost": cost(weights_db=-0.4)}
        result = replace(comparison_of(causes=gain, first=moved), reference_quantized=True)
        found = diagnose(result, reference="x")
        assert "is better than the reference" in found.costs_most
        assert "0.4990 dB" in found.costs_most
        assert (found.cause, found.layer, found.suspects) == ("none", None, ())

    def test_rounded_in_another_way(self):
        """Weights of an integer reference are rounded, too: no damage, if they differ by steps."""
        moved = {"stored": stored(weights_off_steps=9.0), "cost": cost(weights_db=MUCH)}
        result = comparison_of(causes=costs(weights_db=MUCH), second=moved)
        assert diagnose(result, reference="x").cause == "stored values"
        found = diagnose(replace(result, reference_quantized=True), reference="x")
        assert found.cause == "weights"

    def test_one_weight_scale(self):
        """Where weights cost most and a kernel has one scale, that is the reason."""
        shared = {"stored": stored(one_scale=True), "cost": cost(alone_db=0.4)}
        found = diagnose(comparison_of(causes=costs(weights_db=0.5), first=shared), reference="x")
        assert (found.cause, found.layer) == ("weights", "first")
        assert "share one weight scale" in found.why
        assert "--scheme uint8" in found.what_to_do
        assert "or qsr search-repdata" in found.what_to_do

    def test_one_weight_scale_refined(self):
        """After a refining search, too, a scale per channel helps; to search again does not."""
        shared = {"stored": stored(one_scale=True), "cost": cost(alone_db=0.4)}
        dear = comparison_of(causes=costs(weights_db=0.5), first=shared)
        found = diagnose(dear, reference="x", refined=True)
        assert "--scheme uint8" in found.what_to_do
        assert "more like these pictures" in found.what_to_do
        assert "qsr search-repdata" not in found.what_to_do

    @pytest.mark.parametrize(("count", "few"), [(3, True), (4, False)])
    def test_few_pictures(self, count, few):
        """That few pictures may not show how wide a grid must be is said."""
        wide = {"grid_maximum": 8.0, "cost": cost(activation_db=MUCH)}
        result = comparison_of(first=wide)
        found = diagnose(replace(result, pictures=result.pictures * count), reference="x")
        assert found.cause == "wide grid"
        assert ("compare on more" in found.why) == few

    def test_layers_of_one_name(self):
        """Layers of one name are told apart by their operators."""
        dear = {"cost": cost(alone_db=0.2)}
        spent = costs(activations_db=0.5)
        result = comparison_of(causes=spent, first=dear, parts=dear | {"name": "first"})
        found = diagnose(result, reference="x")
        assert "first (CONV_2D) 0.2000, first (SPLIT_V) 0.2000" in found.why

    def test_all_suspects(self):
        """Every layer that costs more than it need is in the record, and none is denied."""
        cut = {"accumulated": error(saturated_high=0.01), "cost": cost(saturation_db=0.02)}
        wide = {"grid_maximum": 8.0, "cost": cost(activation_db=0.012)}
        result = comparison_of(causes=costs(activations_db=0.5), first=wide, third=cut)
        found = diagnose(result, reference="x")
        assert [(one.layer, one.cause) for one in found.suspects] == [
            ("third", "saturation"),
            ("first", "wide grid"),
        ]
        assert found.cause == "activations"
        assert "no grid" not in found.why
        assert "third (saturation, 0.0200 dB), first (wide grid" in found.why

    def test_integer_reference(self):
        """An integer reference is not told to be quantized again; its float model is."""
        for causes in (costs(), costs(activations_db=0.5), costs(io_grid_db=MUCH)):
            result = comparison_of(causes=causes, lr={"grid_maximum": 0.8})
            found = diagnose(replace(result, reference_quantized=True), reference="one.tflite")
            assert "one.tflite" not in found.what_to_do

    def test_same_pictures(self):
        """Of models that make the same pictures it is said that they do, whatever parts cost."""
        result = comparison_of(causes=costs(activations_db=0.5, interaction_db=-0.5))
        (picture,) = result.pictures
        same = replace(result, pictures=(replace(picture, largest_difference=0),))
        found = diagnose(same, reference="x")
        assert found.costs_most.startswith("Both models make the same of the picture")
        assert found.what_to_do.startswith("Nothing")

    def test_rounded_for_what_layers_give(self):
        """Weights that moved far but cost little, or give nothing back, are no fault."""
        moved = stored(weights_off_steps=15.0, bias_off_steps=9.0)
        cheap = {"stored": moved, "cost": cost(weights_db=LITTLE)}
        making_up = {"stored": moved, "cost": cost(weights_db=0.003, recovered_db=-0.001)}
        result = comparison_of(first=cheap, second=making_up, third=cheap)
        assert diagnose(result, reference="x").cause == "none"

    @pytest.mark.parametrize("operator", ["TANH", "LOGISTIC", "INPUT"])
    def test_width_that_is_no_choice(self, operator):
        """A grid that the kernel demands is not called too wide."""
        wide = {"operator": operator, "grid_minimum": -1.0, "cost": cost(activation_db=MUCH)}
        changes = wide | {"minimum": 0.0, "maximum": 0.3}
        assert diagnose(comparison_of(second=changes), reference="x").cause == "none"

    def test_only_layer(self):
        """One layer with other weights is a fault of that layer, however few layers there are."""
        moved = {"stored": stored(weights_off_steps=15.0), "cost": cost(weights_db=MUCH)}
        result = comparison_of(third=moved)
        layers = [one for one in result.layers if one.name not in {"first", "second"}]
        found = diagnose(replace(result, layers=tuple(layers)), reference="x")
        assert (found.cause, found.layer) == ("stored values", "third")

    @pytest.mark.parametrize(("drop_db", "good"), [(GOOD_DB - 1e-6, True), (0.0101, False)])
    def test_good(self, drop_db, good):
        """A drop as small as a search leaves it needs nothing; a larger one a search."""
        spent = costs(activations_db=drop_db - 0.003)
        found = diagnose(comparison_of(causes=spent), reference="x")
        assert found.what_to_do.startswith("Nothing") == good
        assert (found.cause == "none") == good

    def test_signed_and_unsigned_bytes(self):
        """A copy from ``uint8`` to ``int8`` with one scale is a copy on one grid."""
        changes = {"first": {"zero_point": 0}, "parts": {"local": error(6.0, mse=0.06)}}
        assert diagnose(comparison_of(**changes), reference="x").cause == "none"

    @pytest.mark.parametrize(
        "changes",
        [
            {"local": error(47.0, mse=1e-6)},
            {"local": None},
            {"local": error(30.0, mse=0.06), "scale": 2 / 65535},
        ],
    )
    def test_converted_between(self, changes):
        """A copy that is made after a QUANTIZE onto its grid is as it should be."""
        changes = {"scale": 2 / 255, "grid_maximum": 2.0} | changes
        assert diagnose(comparison_of(parts=changes), reference="x").cause == "none"


class TestWithoutOriginals:
    """Comparisons on pictures that nothing can be measured against."""

    @pytest.mark.parametrize(
        ("changes", "cause", "said"),
        [
            ({}, "activations", "rounding"),
            ({"accumulated": error(saturated_high=0.1)}, "saturation", "are cut off"),
            ({"stored": stored(weights_off_steps=9.0)}, "stored values", "9.0 steps off"),
            ({"grid_maximum": 8.0}, "wide grid", "too wide"),
        ],
    )
    def test_noise(self, changes, cause, said):
        """The layer that adds most noise is named, with its cause."""
        result = comparison_of(second={"local": error(12.3), **changes})
        found = diagnose(replace(result, causes=None), reference="x")
        assert (found.layer, found.cause) == ("second", cause)
        assert said in found.why
        assert "SQNR 12.30 dB, where half of the layers have 48.00 dB" in found.costs_most
        assert "HR images" in found.what_to_do

    def test_nothing_measured(self):
        """If no layer could be run by itself, that is said."""
        result = comparison_of()
        layers = tuple(replace(one, local=None) for one in result.layers)
        found = diagnose(replace(result, layers=layers, causes=None), reference="x")
        assert (found.layer, found.cause) == (None, "activations")

    def test_no_noise(self):
        """Layers without any error are told with infinite ratios, and without a warning."""
        result = comparison_of(
            **{
                name: {"local": error(math.inf)}
                for name in ("first", "parts", "second", "third", "hr")
            }
        )
        found = diagnose(replace(result, causes=None), reference="x")
        assert "inf dB" in found.costs_most


class TestRealModels:
    """Models whose history is known."""

    @staticmethod
    def diagnosis(reference, tested, pictures):
        """Compare and say."""
        return diagnose(compare(reference, tested, pictures), reference="fp32.tflite")

    @staticmethod
    def integer_of(model, pictures, **scheme):
        """Quantize with the ranges of the pictures."""
        ranges = cal.collect(model, {name: lr for name, lr, _ in pictures}).merged()
        return cal.quantize(model, ranges, cal.Scheme(**scheme))

    @pytest.mark.parametrize(
        "scheme", [{}, {"io": "int8"}, {"per_channel": False}, {"activation_bits": 16}]
    )
    @pytest.mark.parametrize("network", ["trained_xcat", "abpn", "espcn"])
    def test_sound(self, request, network, scheme, pictures):
        """Of a model that was quantized as it should be, no layer is accused."""
        model = request.getfixturevalue(network)
        scale = 2 if network == "espcn" else 3
        _, lr, _ = pictures[0]
        hr = lr.repeat(scale, 0).repeat(scale, 1)
        tested = self.integer_of(model, [("one", lr, hr)], **scheme)
        found = self.diagnosis(model, tested, [("one", lr, hr)])
        assert found.cause in {"none", "weights", "activations"}

    def test_equalized(self, uneven_fsrcnn, pictures):
        """A model that was equalized before it was quantized is known by its channels."""
        equalized = equalize(uneven_fsrcnn, [lr for _, lr, _ in pictures])
        found = self.diagnosis(uneven_fsrcnn, self.integer_of(equalized, pictures), pictures[:1])
        assert found.cause == "equalization"
        sound = self.diagnosis(equalized, self.integer_of(equalized, pictures), pictures[:1])
        assert sound.cause not in {"equalization", "other weights"}

    @pytest.mark.parametrize("network", ["trained_xcat", "abpn"])
    def test_rounded_weights(self, request, network, pictures):
        """Of a model whose weights were rounded for what layers give, no layer is accused."""
        model = request.getfixturevalue(network)
        tested = round_weights(
            model, self.integer_of(model, pictures), [lr for _, lr, _ in pictures]
        )
        assert tested != self.integer_of(model, pictures)
        found = self.diagnosis(model, tested, pictures[:1])
        assert found.cause in {"none", "weights", "activations"}

    def test_trained_further(self, trained_xcat, pictures):
        """A model whose every weight went on by a few per cent of its range is known as such."""
        random = np.random.default_rng(8)

        def moved(kernel):
            reach = np.abs(kernel).max(axis=(1, 2, 3), keepdims=True)
            return (kernel + 0.08 * reach * random.normal(size=kernel.shape)).astype(np.float32)

        other = with_weights(trained_xcat, moved)
        tested = self.integer_of(other, pictures)
        assert self.diagnosis(trained_xcat, tested, pictures[:1]).cause == "other weights"
        assert self.diagnosis(other, tested, pictures[:1]).cause != "other weights"

    def test_one_layer_trained_further(self, trained_xcat, pictures):
        """If one layer alone has other weights, that layer has them."""
        other = with_weights(trained_xcat, lambda kernel: np.roll(kernel, 1, axis=0), places=[1])
        found = self.diagnosis(trained_xcat, self.integer_of(other, pictures), pictures[:1])
        assert (found.cause, found.layer) == ("stored values", "block1_x")

    def test_itself(self, sound, pictures):
        """Of a model against itself nothing is said."""
        found = self.diagnosis(sound, sound, pictures[:1])
        assert found.cause == "none"
        assert found.what_to_do.startswith("Nothing")
