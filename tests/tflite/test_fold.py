"""Operators that copy bytes, against what the interpreter makes of every byte there is."""

from functools import cache

import numpy as np
import pytest
import skimage.data
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from chains import BLACK_TO_WHITE, BYTE, EVERY_BYTE, chain, with_clip_grid
from hypothesis import example, given, settings
from hypothesis import strategies as st

from qsr import calibration as cal
from qsr.calibration.scheme import SCHEMES, scheme_named
from qsr.errors import ModelError
from qsr.tflite.fold import copies, fold_copies
from qsr.tflite.graph import Graph, _pack

CLIPS = ["RELU", "RELU6", "RELU_0_TO_1", "RELU_N1_TO_1"]

grids = st.tuples(
    st.sampled_from([BYTE, 1.1 / 255, 2 / 255, 6 / 255, 5.99 / 255, 0.5 / 255, 1.0]),
    st.sampled_from([-128, -127, -64, 0, 126, 127]),
)


@pytest.fixture(scope="module")
def pictures():
    """Random, black, white, checkered and photographed pictures of 40x48 pixels."""
    random = np.random.default_rng(5)
    checks = np.indices((40, 48)).sum(axis=0) % 2 * 255
    return [
        random.integers(0, 256, (40, 48, 3), np.uint8),
        np.zeros((40, 48, 3), np.uint8),
        np.full((40, 48, 3), 255, np.uint8),
        np.repeat(checks.astype(np.uint8)[..., None], 3, axis=2),
        skimage.data.chelsea()[90:130, 110:158],
    ]


@pytest.fixture(scope="module")
def merged(request, photographs):
    """The ranges of a network by its name, measured once."""

    @cache
    def ranges(network):
        return cal.collect(request.getfixturevalue(network), photographs).merged()

    return ranges


class TestEveryByte:
    """Single operators on all 256 bytes."""

    @pytest.mark.parametrize("fast", [True, False])
    @pytest.mark.parametrize("kind", [*CLIPS, "MINIMUM", "MAXIMUM", "QUANTIZE", "CONCATENATION"])
    def test_proved_copies_copy(self, kind, fast, run_bare):
        """What is named a copy gives back every byte, in both sets of kernels."""
        outcomes = set()

        @settings(max_examples=40, deadline=None)  # an interpreter takes its time on a busy machine
        @given(before=grids, after=st.none() | grids, bound=st.sampled_from([-128, -50, 126, 127]))
        @example(before=BLACK_TO_WHITE, after=None, bound=127)
        @example(before=BLACK_TO_WHITE, after=None, bound=-128)
        def check(before, after, bound):
            model = chain([kind], [before, before, after or before], bound)
            named = bool(copies(Graph(model)))
            outcomes.add(named)
            if named:
                bytes_in = (EVERY_BYTE ^ 128).view(np.int8)
                np.testing.assert_array_equal(run_bare(model, bytes_in, fast=fast), bytes_in)

        check()
        assert True in outcomes

    @pytest.mark.parametrize(
        ("kind", "grid"),
        [
            ("RELU", BLACK_TO_WHITE),
            ("RELU", (0.02, -128)),
            ("RELU6", BLACK_TO_WHITE),
            ("RELU6", (6 / 255, -128)),
            ("RELU_0_TO_1", BLACK_TO_WHITE),
            ("RELU_N1_TO_1", (2 / 256, 0)),
            ("RELU_N1_TO_1", (0.5 / 255, -7)),
            ("MINIMUM", (0.3, 5)),
            ("QUANTIZE", (0.3, 5)),
            ("CONCATENATION", (0.3, 5)),
        ],
    )
    def test_copies(self, kind, grid):
        """Clips whose bounds lie at the grid's ends or beyond, and changes to the same grid."""
        (operator,) = copies(Graph(chain([kind], [grid] * 3, 127)))
        assert operator.kind == kind

    @pytest.mark.parametrize(
        ("kind", "grids", "bound"),
        [
            ("RELU", [(BYTE, -127)] * 3, 127),
            ("RELU", [(BYTE, -128), (BYTE, -128), (BYTE * 2, -128)], 127),
            ("RELU6", [(6.1 / 255, -128)] * 3, 127),
            ("RELU_0_TO_1", [(1.005 / 255, -128)] * 3, 127),
            ("RELU_N1_TO_1", [(2 / 255, 1)] * 3, 127),
            ("MINIMUM", [BLACK_TO_WHITE] * 3, 126),
            ("MAXIMUM", [BLACK_TO_WHITE] * 3, -127),
            ("QUANTIZE", [(BYTE, -128), (BYTE, -128), (BYTE, -127)], 127),
        ],
    )
    def test_bounds_that_cut(self, kind, grids, bound, run_bare):
        """A bound one step inside the grid, or another grid, changes bytes and is no copy."""
        model = chain([kind], grids, bound)
        assert copies(Graph(model)) == ()
        assert fold_copies(model) is model
        bytes_in = (EVERY_BYTE ^ 128).view(np.int8)
        assert (run_bare(model, bytes_in) != bytes_in).any()

    def test_other_type(self):
        """A change of type changes bytes, though the real numbers stay."""
        model = chain(["QUANTIZE"], [BLACK_TO_WHITE, BLACK_TO_WHITE, (BYTE, 0)], last="UINT8")
        assert copies(Graph(model)) == ()

    def test_real_numbers(self, trained_xcat):
        """In a float model nothing is a copy."""
        assert copies(Graph(trained_xcat)) == ()
        assert fold_copies(trained_xcat) is trained_xcat


class TestChains:
    """Several operators in a row."""

    def test_straight_through(self, run_bare):
        """A chain of copies vanishes but for the one that joins input and output."""
        model = chain(["RELU", "MINIMUM", "QUANTIZE"], [BLACK_TO_WHITE] * 5, 127, first=None)
        folded = fold_copies(model)
        assert [one.kind for one in Graph(folded).operators] == ["QUANTIZE"]
        bytes_in = (EVERY_BYTE ^ 128).view(np.int8)
        np.testing.assert_array_equal(run_bare(folded, bytes_in), bytes_in)

    @pytest.mark.parametrize("fast", [True, False])
    def test_copies_before_and_after_a_cut(self, run_bare, fast):
        """Copies around a clip that cuts are removed, and the clip stays."""
        grid = (0.01, -100)
        kinds = ["QUANTIZE", "RELU", "CONCATENATION", "MINIMUM"]
        model = chain(kinds, [grid] * 6, 127)
        folded = fold_copies(model)
        assert [one.kind for one in Graph(folded).operators] == ["MAX_POOL_2D", "RELU"]
        bytes_in = (EVERY_BYTE ^ 128).view(np.int8)
        expected = run_bare(model, bytes_in, fast=fast)
        np.testing.assert_array_equal(run_bare(folded, bytes_in, fast=fast), expected)
        assert (expected != bytes_in).any()

    @pytest.mark.parametrize("fast", [True, False])
    def test_a_source_that_others_read(self, run_bare, fast):
        """What a removed copy read is read by its other readers as before."""
        flat = schema.ModelT.InitFromPackedBuf(chain(["RELU", "ADD"], [BLACK_TO_WHITE] * 4), 0)
        *_, pool, clip, addition = flat.subgraphs[0].operators
        addition.inputs = [pool.outputs[0], clip.outputs[0]]
        model = _pack(flat)
        folded = fold_copies(model)
        assert [one.kind for one in Graph(folded).operators] == ["MAX_POOL_2D", "ADD"]
        assert Graph(folded).operators[1].inputs == (pool.outputs[0],) * 2
        bytes_in = (EVERY_BYTE ^ 128).view(np.int8)
        np.testing.assert_array_equal(
            run_bare(folded, bytes_in, fast=fast), run_bare(model, bytes_in, fast=fast)
        )

    @pytest.mark.parametrize("fast", [True, False])
    def test_a_copy_of_the_output_that_others_read(self, run_bare, fast):
        """Where a chain of copies makes the output, other readers of the chain read the output."""
        kinds = ["RELU", "QUANTIZE", "CONCATENATION"]
        flat = schema.ModelT.InitFromPackedBuf(chain(kinds, [BLACK_TO_WHITE] * 5), 0)
        subgraph = flat.subgraphs[0]
        _, clip, change, aside = subgraph.operators
        subgraph.outputs = change.outputs
        aside.inputs = [clip.outputs[0], clip.outputs[0]]  # two, so that it is no copy
        model = _pack(flat)
        folded = fold_copies(model)
        assert [one.kind for one in Graph(folded).operators] == ["MAX_POOL_2D", "CONCATENATION"]
        bytes_in = (EVERY_BYTE ^ 128).view(np.int8)
        np.testing.assert_array_equal(run_bare(folded, bytes_in, fast=fast), bytes_in)

    def test_a_bound_that_enlarges(self):
        """A bound that the picture is spread over is no copy: the result is larger."""
        flat = schema.ModelT.InitFromPackedBuf(chain(["MINIMUM"], [BLACK_TO_WHITE] * 3, 127), 0)
        *_, operator = flat.subgraphs[0].operators
        bound = flat.subgraphs[0].tensors[operator.inputs[1]]
        bound.shape = [5, 1, 1, 1]
        flat.buffers[bound.buffer].data = np.full(5, 127, np.int8).view(np.uint8)
        assert copies(Graph(_pack(flat))) == ()


class TestNetworks:
    """Whole integer networks."""

    @pytest.mark.parametrize("fast", [True, False])
    @pytest.mark.parametrize("scheme", [*SCHEMES, "float32"])
    @pytest.mark.parametrize("network", ["xcat", "trained_xcat", "abpn"])
    def test_clip_at_the_end(self, *, network, scheme, fast, request, merged, pictures, run_bare):
        """A clip to black and white is removed, and every output byte stays."""
        model = request.getfixturevalue(network)
        ranges = merged(network)
        chosen = cal.Scheme(io="float32") if scheme == "float32" else scheme_named(scheme)
        integer = cal.quantize(model, ranges, chosen)
        folded = fold_copies(integer)
        kinds = [one.kind for one in Graph(integer).operators]
        left = [one.kind for one in Graph(folded).operators]
        assert {"MINIMUM", "RELU"} <= set(kinds)
        assert left == [kind for kind in kinds if kind not in {"MINIMUM", "RELU"}] or (
            network == "abpn"  # whose first convolution may keep a RELU of its own
            and "MINIMUM" not in left
        )
        assert ends(folded) == ends(integer)
        for picture in pictures:
            values = as_input(integer, picture)
            np.testing.assert_array_equal(
                run_bare(folded, values, fast=fast), run_bare(integer, values, fast=fast)
            )

    @pytest.mark.parametrize("fast", [True, False])
    @pytest.mark.parametrize(
        ("lowest", "highest", "left"),
        [
            (-0.2, 1.3, ["MINIMUM", "RELU"]),
            (0.0, 1.3, ["MINIMUM"]),
            (-0.2, 1.0, ["RELU"]),
            (0.0, 1.0, []),
        ],
    )
    def test_grids_that_the_clip_cuts(
        self, *, lowest, highest, left, fast, trained_xcat, merged, pictures, run_bare
    ):
        """On a wider grid what cuts stays, and every output byte stays."""
        integer = cal.quantize(trained_xcat, merged("trained_xcat"))
        wider = with_clip_grid(integer, lowest, highest)
        folded = fold_copies(wider)
        kinds = [one.kind for one in Graph(folded).operators]
        assert [kind for kind in kinds if kind in {"MINIMUM", "RELU"}] == left
        for picture in pictures:
            np.testing.assert_array_equal(
                run_bare(folded, picture[None], fast=fast),
                run_bare(wider, picture[None], fast=fast),
            )

    @pytest.mark.parametrize("network", ["espcn", "fsrcnn"])
    def test_without_a_clip(self, network, request, merged):
        """A network without copies stays as it is."""
        model = request.getfixturevalue(network)
        integer = cal.quantize(model, merged(network))
        assert fold_copies(integer) is integer

    def test_damaged(self):
        """What is no model is refused."""
        with pytest.raises(ModelError, match=r"not a \.tflite model"):
            fold_copies(b"no model at all")


def as_input(model, picture):
    """Return a picture as an integer model's input, of the values that it wants."""
    graph = Graph(model)
    if graph.input.dtype == "int8":
        return (picture ^ 128).view(np.int8)[None]
    if graph.input.dtype == "uint8":
        return picture[None]
    white = 255 if graph.input.shape[1] > 0 else 1  # ABPN's is 255
    return picture[None].astype(np.float32) / np.float32(255 / white)


def ends(model):
    """Return what the interpreter says of a model's input, output and signature."""
    interpreter = Interpreter(model_content=model)
    return [
        str([sorted(detail.items(), key=str) for detail in details])
        for details in (interpreter.get_input_details(), interpreter.get_output_details())
    ] + [interpreter.get_signature_list()]
