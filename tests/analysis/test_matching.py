"""Which tensor of the tested model is taken for which of the reference."""

import warnings

import numpy as np
import pytest
import tf_keras
from ai_edge_litert.interpreter import Interpreter
from litert_quantizer import quantizer, recipe
from rewrites import permuted, renamed, shuffled, unfused

from qsr import calibration as cal
from qsr.analysis.matching import INPUT, align
from qsr.calibration.quantize import picture_ranges
from qsr.tflite.convert import convert_keras
from qsr.tflite.fold import fold_copies
from qsr.tflite.graph import Graph
from qsr.tflite.runtime import inspect_model

QUANTIZED_OUTSIDE = {
    "uint8": {"tfl.quantize", "StatefulPartitionedCall:01"},
    "int8": set(),
    "float32": {"serving_default_lr:0", "StatefulPartitionedCall:0"},
}
"""What only the integer model has: the inner side of QUANTIZE, or the outer side if float."""

CLIPPED = ["trained_xcat", "abpn_of_any_size"]
NETWORKS = [*CLIPPED, "espcn", "fsrcnn", "uneven_fsrcnn"]

SCHEMES = {
    "uint8": {},
    "int8": {"io": "int8"},
    "float32": {"io": "float32"},
    "per tensor": {"per_channel": False},
    "16 bits": {"activation_bits": 16},
}


@pytest.fixture(scope="module")
def made(request, photographs):
    """Make an integer model: ``(network, scheme) -> (float model, integer model)``."""
    known = {}

    def make(network, scheme):
        model = request.getfixturevalue(network)
        if (network, scheme) not in known:
            ranges = cal.collect(model, photographs).merged()
            if scheme == "litert":
                integer = by_litert(model, ranges)
            else:
                settings = SCHEMES[scheme.removesuffix(" folded")]
                integer = cal.quantize(model, ranges, cal.Scheme(**settings))
            known[network, scheme] = fold_copies(integer) if scheme.endswith("folded") else integer
        return model, known[network, scheme]

    return make


def by_litert(model, ranges):
    """Quantize to 8 bits by LiteRT's quantizer, which leaves what it does not know in float."""
    ranges = ranges.with_known(picture_ranges(Graph(model)))
    measured = {
        name: {"min": np.array([low], np.float32), "max": np.array([high], np.float32)}
        for name, low, high in zip(ranges.tensors, ranges.minimum, ranges.maximum, strict=True)
    }
    there = quantizer.Quantizer(bytearray(model), recipe.static_wi8_ai8())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it keeps all tensors
        return bytes(there.quantize(measured, enable_progress_report=False).quantized_model)


def matched(reference, tested):
    """The numbers of matched tensors."""
    alignment = align(Graph(reference), Graph(tested))
    return {(match.reference.index, match.tested.index) for match in alignment.matches}


def by_name(reference, tested):
    """The numbers of tensors that the names say are the same: the truth that TFLite leaves."""
    integers = {tensor.name: tensor for tensor in Graph(tested).activations}
    return {
        (tensor.index, integers[tensor.name].index)
        for tensor in Graph(reference).activations
        if tensor.name in integers and integers[tensor.name].dtype != "float32"
    }


class TestByName:
    """Models whose tensors kept their names."""

    @pytest.mark.parametrize("io", ["uint8", "int8", "float32"])
    def test_everything_found(self, trained_xcat, quantized, io):
        """Every float tensor has a twin; what the tested model has besides lies at its ends."""
        reference, tested = Graph(trained_xcat), Graph(quantized(io=io))
        alignment = align(reference, tested)
        assert alignment.only_reference == ()
        assert [match.reference.index for match in alignment.matches] == [
            tensor.index for tensor in sorted(reference.activations, key=order_in(reference))
        ]
        twins = [match.tested.name for match in alignment.matches]
        assert len(set(twins)) == len(twins)
        besides = {tensor.name for tensor in tested.activations} - set(twins)
        assert besides == QUANTIZED_OUTSIDE[io]
        assert besides == {tested.tensors[index].name for index in alignment.copies}
        assert alignment.only_tested == ()

    @pytest.mark.parametrize("io", ["uint8", "int8", "float32"])
    def test_same_work(self, trained_xcat, quantized, io):
        """Twins are made by the same operator and of the same shape, except at the ends."""
        reference, tested = Graph(trained_xcat), Graph(quantized(io=io))
        for match in align(reference, tested).matches[1:-1]:
            assert tested.producer[match.tested.index].kind == match.operator
            assert reference.producer[match.reference.index].kind == match.operator
            assert match.tested.shape == match.reference.shape

    def test_how(self, trained_xcat, sound):
        """Ends are found by place, what kept its name by that, and renamed splits by structure."""
        alignment = align(Graph(trained_xcat), Graph(sound))
        ways = {match.reference.name: match.how for match in alignment.matches}
        assert {name for name, how in ways.items() if how == "structure"} == {
            *("xcat/block1_split/split", "xcat/block1_split/split1"),
            *("xcat/block2_split/split", "xcat/block2_split/split1"),
        }
        ends = [alignment.matches[0].reference.name, alignment.matches[-1].reference.name]
        assert [name for name, how in ways.items() if how == "end"] == ends

    def test_split(self, trained_xcat, quantized):
        """The outputs of a split, which the quantizer renames, are matched in their order."""
        channels = {
            match.reference.name: match.tested.shape[-1]
            for match in align(Graph(trained_xcat), Graph(quantized())).matches
            if match.operator == "SPLIT_V"
        }
        assert channels == {
            "xcat/block1_split/split": 21,
            "xcat/block1_split/split1": 7,
            "xcat/block2_split/split": 21,
            "xcat/block2_split/split1": 7,
        }

    def test_order_of_execution(self, trained_xcat, quantized):
        """Matches come in the order in which the interpreter runs the reference."""
        details = Interpreter(model_content=trained_xcat)._get_ops_details()
        executed = [
            (int(index), detail["op_name"])
            for detail in details
            for index in detail["outputs"]
            if detail["op_name"] != "DELEGATE"
        ]
        matches = align(Graph(trained_xcat), Graph(quantized())).matches
        assert matches[0].operator == INPUT
        assert [(match.reference.index, match.operator) for match in matches[1:]] == executed

    def test_bytes_without_scale(self, trained_xcat):
        """Bytes that a float network takes as they are, without a scale, are nothing's twin."""
        picture = tf_keras.Input((None, None, 3), dtype="uint8")
        scaled = tf_keras.layers.Rescaling(1 / 255)(picture)
        casting = convert_keras(tf_keras.Model(picture, tf_keras.layers.UpSampling2D(3)(scaled)))
        assert Graph(casting).input.dtype == "uint8"
        assert align(Graph(trained_xcat), Graph(casting)).matches == ()

    def test_grid(self, trained_xcat, quantized):
        """The grid of a pinned input is black to white in 256 steps, unsigned and signed."""
        for io, zero_point in (("uint8", 0), ("int8", -128)):
            grid = align(Graph(trained_xcat), Graph(quantized(io=io))).matches[0].grid
            assert grid.zero_point == zero_point
            assert grid.scale == pytest.approx(1 / 255)
            assert (grid.minimum, grid.maximum) == pytest.approx((0, 1))


class TestByStructure:
    """Models whose tensors are called anything, and stand anywhere."""

    @pytest.mark.parametrize("scheme", [*SCHEMES, "litert"])
    @pytest.mark.parametrize("network", NETWORKS)
    def test_names_are_not_needed(self, made, network, scheme):
        """Without names, in another order, the same tensors and constants are matched."""
        self.assert_found_again(*made(network, scheme))

    @pytest.mark.parametrize("scheme", ["uint8 folded", "int8 folded", "16 bits folded"])
    @pytest.mark.parametrize("network", CLIPPED)
    def test_folded(self, made, network, scheme):
        """The same once the clip is folded."""
        self.assert_found_again(*made(network, scheme))

    @staticmethod
    def assert_found_again(reference, tested):
        """Check what is matched of models that were renamed and shuffled."""
        plain = align(Graph(reference), Graph(tested))
        found = matched(reference, tested)
        assert found >= by_name(reference, tested)
        for seed in (1, 2):
            (one, places), (other, others) = (
                shuffled(renamed(model, seed + order), seed + order)
                for order, model in enumerate((reference, tested))
            )
            assert matched(one, other) == {(places[a], others[b]) for a, b in found}
            again = align(Graph(one), Graph(other))
            expected = {others[b]: places[a] for b, a in plain.constants.items()}
            assert again.constants == expected

    @pytest.mark.parametrize("network", NETWORKS)
    def test_misleading_names(self, made, network):
        """Names of other tensors mislead nobody."""
        reference, tested = made(network, "uint8")
        assert matched(reference, permuted(tested, seed=3)) == matched(reference, tested)

    @pytest.mark.parametrize("network", [one for one in NETWORKS if one != "espcn"])
    def test_values_agree(self, made, network, photographs, all_tensors):
        """No other tensor of the reference holds what is nearer to what a tested one holds.

        ESPCN is left out: its TANH changes less than rounding does.
        """
        reference, tested = made(network, "uint8")
        lr = photographs["chelsea"][None]
        white = np.float32(inspect_model(reference).value_max)
        reals = all_tensors(reference, lr * (white / 255))
        integers = all_tensors(tested, lr)
        matches = align(Graph(reference), Graph(tested)).matches
        names = [tensor.name for tensor in Graph(reference).activations]
        for match in matches:
            codes, scale, zero_point = integers[match.tested.name]
            q = scale * (codes.astype(np.float64) - zero_point)
            distances = {
                name: np.square(np.clip(reals[name][0], match.grid.minimum, match.grid.maximum) - q)
                for name in names
                if reals[name][0].shape == q.shape
            }
            errors = {name: distance.mean() for name, distance in distances.items()}
            nearest = min(errors.values())
            assert errors[match.reference.name] == pytest.approx(nearest, rel=0.01)

    @pytest.mark.parametrize("network", NETWORKS)
    def test_constants(self, made, network):
        """Each stored value of the tested model is the rounding of its twin in the reference."""
        reference, tested = (Graph(model) for model in made(network, "uint8"))
        constants = align(reference, tested).constants
        weighted = [operator for operator in tested.operators if "CONV" in operator.kind]
        kernels = {
            index
            for operator in weighted
            for index in operator.inputs
            if index >= 0 and tested.tensors[index].constant and tested.tensors[index].quantized
        }
        assert kernels <= constants.keys()
        for index, one in constants.items():
            tensor, values = tested.tensors[index], reference.constant(one)
            along = [1] * values.ndim
            along[tensor.channel_axis] = -1
            scale = tensor.scale.reshape(along if tensor.scale.size > 1 else [1] * values.ndim)
            zero_point = int(tensor.zero_point[0])
            steps = np.abs((tested.constant(index).astype(float) - zero_point) - values / scale)
            assert steps.max() < 0.51 + 1e-4 * np.abs(values / scale).max()


class TestOtherWays:
    """Integer models that were made on other ways."""

    def test_trained_in_8_bits(self, trained_xcat, photographs):
        """What quantization-aware training exports matches throughout."""
        from qsr.quantization.qat import quantization_aware_model

        ranges = cal.collect(trained_xcat, photographs).merged()
        tested = cal.quantize(*quantization_aware_model(trained_xcat, ranges).exported())
        self.assert_all_found(trained_xcat, tested)

    def test_equalized(self, uneven_fsrcnn, photographs):
        """So does a network whose channels were rescaled."""
        from qsr.quantization.equalize import equalize

        equalized = equalize(uneven_fsrcnn, photographs.values())
        tested = cal.quantize(equalized, cal.collect(equalized, photographs).merged())
        self.assert_all_found(uneven_fsrcnn, tested)

    @staticmethod
    def assert_all_found(reference, tested):
        """Check that every tensor is matched, with names and without."""
        found = matched(reference, tested)
        assert {one for one, _ in found} == {one.index for one in Graph(reference).activations}
        assert found >= by_name(reference, tested)
        assert matched(renamed(reference, 5), renamed(tested, 6)) == found


class TestClips:
    """Clips that only one model has."""

    def test_folded_signed(self, made):
        """With ends of int8, the folded clip's output is what the last operator makes."""
        reference, tested = (Graph(model) for model in made("trained_xcat", "int8 folded"))
        alignment = align(reference, tested)
        assert alignment.of_tested(tested.output_index).reference.index == reference.output_index
        assert alignment.only_reference == (
            "xcat/depth_to_space/DepthToSpace",
            "xcat/clipped_relu/Minimum",
        )
        assert alignment.only_tested == ()

    def test_folded_unsigned(self, made):
        """With ends of uint8, the clip's input is still there, and only the clip is not."""
        reference, tested = (Graph(model) for model in made("trained_xcat", "uint8 folded"))
        alignment = align(reference, tested)
        assert alignment.of_tested(tested.output_index).reference.index == reference.output_index
        assert alignment.only_reference == ("xcat/clipped_relu/Minimum",)
        assert alignment.only_tested == ()

    @pytest.mark.parametrize("network", CLIPPED)
    def test_fused(self, made, network):
        """A RELU of its own in the reference is the tested convolution's; what it reads is not."""
        reference, tested = made(network, "uint8")
        apart = Graph(unfused(reference))
        alignment = align(apart, Graph(tested))
        pairs = {(match.reference.index, match.tested.index) for match in alignment.matches}
        assert pairs == matched(reference, tested)
        before = {tensor.name for tensor in apart.tensors if tensor.name.endswith("_before")}
        assert set(alignment.only_reference) == before

    @pytest.mark.parametrize("network", CLIPPED)
    def test_apart(self, made, network):
        """A RELU of its own in the tested model is the reference's convolution."""
        reference, tested = made(network, "uint8")
        apart = Graph(unfused(tested))
        alignment = align(Graph(reference), apart)
        pairs = {(match.reference.index, match.tested.index) for match in alignment.matches}
        assert pairs == matched(reference, tested)

    def test_left_to_the_grid(self, made):
        """A RELU that only the reference has is what the tested grid cuts off, if it does."""
        reference, tested = made("trained_xcat", "uint8")
        apart, plain = Graph(unfused(reference)), Graph(unfused(tested))
        relus = [one for one in plain.operators if one.kind == "RELU"][:-1]
        left = Graph(
            plain.rewired(
                {one.outputs[0]: one.inputs[0] for one in relus},
                without={one.index for one in relus},
            )
        )
        first = relus[0].inputs[0]
        grid = (float(left.tensors[first].scale[0]), -128)
        wide = Graph(left.with_grids({first: (grid[0], 0)}))
        for graph, kind in ((left, "RELU"), (wide, "CONV_2D")):
            match = align(apart, graph).of_tested(first)
            assert apart.producer[match.reference.index].kind == kind


class TestConversions:
    """Tensors that hold others' values on another grid."""

    def test_copies(self, made):
        """The inner sides of both ends stand for what the ends stand for."""
        reference, tested = (Graph(model) for model in made("trained_xcat", "uint8"))
        alignment = align(reference, tested)
        names = {tensor.name: tensor.index for tensor in tested.tensors}
        inner = names["tfl.quantize"], names["StatefulPartitionedCall:01"]
        ends = reference.input_index, reference.output_index
        assert alignment.copies == dict(zip(inner, ends, strict=True))
        assert tuple(alignment.reference_of(index) for index in inner) == ends
        assert alignment.reference_of(tested.input_index) == reference.input_index
        assert alignment.of_tested(inner[0]) is None
        assert alignment.reference_of(len(tested.tensors)) is None

    @pytest.mark.parametrize("scheme", ["uint8", "float32", "16 bits"])
    def test_copies_are_not_listed(self, made, scheme):
        """What holds a matched tensor's values on another grid is listed for neither model."""
        reference, tested = (Graph(model) for model in made("trained_xcat", scheme))
        for alignment in (align(reference, tested), align(tested, tested)):
            assert alignment.copies
            assert alignment.only_reference == alignment.only_tested == ()

    def test_copies_of_unmatched_tensors(self, trained_xcat, sound):
        """What no tensor of the reference matches is listed, on every grid that it is on."""
        alignment = align(Graph(trained_xcat), Graph(unfused(sound)))
        assert alignment.only_tested
        assert all(name.endswith("_before") for name in alignment.only_tested)
        picture = tf_keras.Input((None, None, 3), dtype="uint8")
        scaled = tf_keras.layers.Rescaling(1 / 255)(picture)
        other = convert_keras(tf_keras.Model(picture, tf_keras.layers.UpSampling2D(3)(scaled)))
        graph = Graph(other)
        listed = align(Graph(trained_xcat), graph).only_tested
        assert set(listed) == {tensor.name for tensor in graph.activations}

    def test_float16(self, trained_xcat, half_xcat, sound):
        """A float16 reference matches as the float32 one does; its stored values are not listed."""
        single, half = (align(Graph(model), Graph(sound)) for model in (trained_xcat, half_xcat))
        of_single, of_half = (
            [
                (match.reference.name.rstrip("12"), match.tested.index)  # the converter counts
                for match in alignment.matches
            ]
            for alignment in (single, half)
        )
        assert of_half == of_single
        assert half.constants.keys() == single.constants.keys()
        assert half.only_reference == half.only_tested == ()
        assert half.copies.keys() == single.copies.keys()

    def test_every_operand_is_known(self, made):
        """Of each operator, also between grids of 16 bits, floats and bytes, all reads is known."""
        for scheme in ("uint8", "16 bits", "litert"):
            reference, tested = (Graph(model) for model in made("uneven_fsrcnn", scheme))
            alignment = align(reference, tested)
            operands = {
                index
                for operator in tested.operators
                for index in operator.inputs
                if tested.tensors[index].index in {one.index for one in tested.activations}
            }
            assert all(alignment.reference_of(index) is not None for index in operands)


class TestTwoIntegerModels:
    """An integer model as the reference."""

    def test_only_integers_are_tested(self, trained_xcat, sound):
        """Two float models match nothing; an integer model is its own twin throughout."""
        assert align(Graph(trained_xcat), Graph(trained_xcat)).matches == ()
        alignment = align(Graph(sound), Graph(sound))
        assert all(match.reference.index == match.tested.index for match in alignment.matches)
        assert alignment.only_reference == alignment.only_tested == ()

    @pytest.mark.parametrize("network", CLIPPED)
    @pytest.mark.parametrize(
        ("first", "second"),
        [("uint8", "int8"), ("per tensor", "uint8"), ("uint8", "16 bits"), ("uint8", "litert")],
    )
    def test_schemes(self, made, network, first, second):
        """Two integer versions match as they match the float model."""
        model, reference = made(network, first)
        _, tested = made(network, second)
        of_first = {index: one for one, index in matched(model, reference)}
        of_second = {index: one for one, index in matched(model, tested)}
        found = matched(reference, tested)
        known = {(a, b) for a, b in found if a in of_first and b in of_second}
        assert all(of_first[a] == of_second[b] for a, b in known)
        assert {of_first[a] for a, _ in known} == set(of_first.values()) & set(of_second.values())


def order_in(graph):
    """Return a key that sorts tensors by the order of execution."""
    made = [graph.input_index, *(i for one in graph.operators for i in one.outputs)]
    return lambda tensor: made.index(tensor.index)
