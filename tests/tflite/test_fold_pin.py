"""Clips that get a grid in which they copy, against real arithmetic and TFLite's quantizer."""

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from chains import BLACK_TO_WHITE, BYTE, EVERY_BYTE, chain, with_clip_grid
from hypothesis import example, given, settings
from hypothesis import strategies as st

from qsr import calibration as cal
from qsr.tflite.fold import fold
from qsr.tflite.fold_pin import cutting_clips, pin_clips
from qsr.tflite.graph import Graph, _pack

WIDE = (1.5 / 255, -94)
"""From -0.2 to 1.3."""

ENDS = (1.5 / 255 * -34, 1.5 / 255 * 221)


@pytest.fixture(scope="module")
def integer(trained_xcat, photographs):
    """An integer XCAT as the quantizer makes it, in a grid of black to white at its end."""
    return cal.quantize(trained_xcat, cal.collect(trained_xcat, photographs).merged())


def clipped(lowest, highest):
    """Return an integer model: x + x, then a clip, all of one grid; MINIMUM has a bound of 1."""
    scale = (highest - lowest) / 255
    zero_point = round(-128 - lowest / scale)
    bound = min(127, round(1 / scale) + zero_point)
    return chain(
        ["MINIMUM", "RELU"], [BLACK_TO_WHITE, *[(scale, zero_point)] * 3], bound, first="ADD"
    )


class TestArithmetic:
    """What is computed after the grids have changed."""

    @pytest.mark.parametrize("fast", [True, False])
    def test_sum_and_clip(self, fast, run_bare):
        """Each byte is the clipped sum to half a step, whatever the grid was; nothing cuts now.

        The grid ends where the clip cuts, or less than half a step further: a stored bound says no
        more.
        """

        @settings(max_examples=25, deadline=None)
        @given(lowest=st.floats(-1, 0), highest=st.floats(1, 3))
        @example(lowest=-1 / 512, highest=1.0)  # its step is too wide by as much, and copies so
        def check(lowest, highest):
            model = clipped(lowest, highest)
            pinned = pin_clips(model)
            folded = fold(pinned)
            assert folded.removed == ("MINIMUM", "RELU")
            assert cutting_clips(Graph(pinned)) == ()
            (scale,), (zero_point,) = Graph(pinned).output.scale, Graph(pinned).output.zero_point
            found = run_bare(folded.model, (EVERY_BYTE ^ 128).view(np.int8), fast=fast)
            real = (found.astype(np.float64) - zero_point) * scale
            expected = np.clip(2 * EVERY_BYTE.astype(np.float64) * BYTE, 0, 1)
            assert np.abs(real - expected).max() <= scale * 0.51
            assert 255 * scale == pytest.approx(min(1.0, highest), abs=0.501 * float(scale))

        check()

    @pytest.mark.parametrize("fast", [True, False])
    def test_as_the_quantizer_makes_it(self, *, integer, photographs, fast, run_bare):
        """An XCAT of a wider grid becomes what the quantizer makes of one of black to white."""
        wide = with_clip_grid(integer, -0.2, 1.3)
        folded = fold(pin_clips(wide))
        assert folded.removed == ("MINIMUM", "RELU")
        changed = 0
        for picture in photographs.values():
            found = run_bare(folded.model, picture[None], fast=fast)
            np.testing.assert_array_equal(found, run_bare(integer, picture[None], fast=fast))
            changed += (found != run_bare(wide, picture[None], fast=fast)).sum()
        assert changed > 0

    @pytest.mark.parametrize("fast", [True, False])
    def test_result_that_is_read(self, fast, run_bare):
        """What reads the clip's result reads the grid that it read before, rounded once less."""
        narrow = (0.9 / 255, -128)
        model = chain(["RELU", "ADD"], [BLACK_TO_WHITE, WIDE, narrow, (2 / 255, -128)], first="ADD")
        (clip,) = cutting_clips(Graph(model))
        assert (clip.lowest, clip.highest) == pytest.approx((0, 0.9))
        assert [change.tensor for change in clip.changes] == ["t1"]
        folded = fold(pin_clips(model))
        assert folded.removed == ("RELU",)
        found = run_bare(folded.model, (EVERY_BYTE ^ 128).view(np.int8), fast=fast)
        real = (found.astype(np.float64) + 128) * (2 / 255)
        expected = 2 * np.clip(2 * EVERY_BYTE.astype(np.float64) * BYTE, 0, 0.9)
        assert np.abs(real - expected).max() <= (0.9 + 1) / 255 * 1.01

    def test_nothing_to_do(self, integer, espcn, photographs):
        """What has only clips that copy, or none, stays as it is."""
        assert pin_clips(integer) is integer
        other = cal.quantize(espcn, cal.collect(espcn, photographs).merged())
        assert pin_clips(other) is other
        assert cutting_clips(Graph(integer)) == cutting_clips(Graph(other)) == ()


class TestOffers:
    """What is said of clips that cut values off."""

    def test_changes(self):
        """The tensors that need another grid are named, with the grid that they have."""
        (clip,) = cutting_clips(Graph(clipped(*ENDS)))
        assert clip.operators == ("MINIMUM", "RELU")
        assert clip.obstacle == ""
        assert (clip.lowest, clip.highest) == pytest.approx((0, 1))
        assert [(one.tensor, one.writer) for one in clip.changes] == [
            *[("t1", "ADD"), ("t2", "MINIMUM"), ("t3", "RELU")],
        ]
        for one in clip.changes:
            assert (one.lowest, one.highest) == pytest.approx(ENDS)

    def test_one_side(self):
        """A clip on one side leaves the grid's other end where it is."""
        (clip,) = cutting_clips(Graph(chain(["RELU"], [BLACK_TO_WHITE, WIDE, WIDE], first="ADD")))
        assert (clip.lowest, clip.highest) == pytest.approx((0, ENDS[1]))

    def test_both_signs(self, run_bare):
        """A clip to -1 and 1 gets a grid that lies within, with 0 in it."""
        model = chain(["RELU_N1_TO_1"], [BLACK_TO_WHITE, (3 / 255, 0), (3 / 255, 0)], first="ADD")
        pinned = pin_clips(model)
        assert fold(pinned).removed == ("RELU_N1_TO_1",)
        output = Graph(pinned).output
        assert output.zero_point[0] == 0
        assert output.scale[0] * 128 == pytest.approx(1)
        found = run_bare(pinned, (EVERY_BYTE ^ 128).view(np.int8))
        assert found.max() == 127

    def test_bound_in_doubt(self):
        """White is taken for the bound if it lies within half a step of what is stored."""
        (clip,) = cutting_clips(Graph(clipped(-0.21, 1.37)))
        assert clip.highest == pytest.approx(1.0, abs=1e-9)
        grid = (1.37 / 255, -128)
        model = chain(["MINIMUM"], [BLACK_TO_WHITE, grid, grid], 12, first="ADD")
        (clip,) = cutting_clips(Graph(model))
        assert clip.highest == pytest.approx(140 * 1.37 / 255)

    @pytest.mark.parametrize(
        ("case", "why"),
        [
            ("input", "reads the model's input"),
            ("moved", "reads what MAX_POOL_2D makes"),
            ("read by others", "what ADD makes for it is read by others too"),
            ("result read", "its result is read by ADD"),
            ("16 bits", "int16, which is symmetric"),
            ("bound for others", "its bound is stored for others too"),
        ],
    )
    def test_obstacles(self, case, why):
        """Where the grid cannot be changed, the reason is given and nothing is changed."""
        model = stuck(case)
        clips = cutting_clips(Graph(model))
        assert all(clip.changes == () for clip in clips)
        assert why in clips[0].obstacle
        assert pin_clips(model) is model
        assert fold(model).removed == ()


def stuck(case):
    """Return a model with a clip that cuts and whose grid cannot be changed."""
    if case == "input":
        return chain(["RELU"], [WIDE] * 2, first=None)
    if case == "moved":
        return chain(["RELU"], [WIDE] * 3)
    kinds = ["MINIMUM", "RELU"] if case == "bound for others" else ["RELU"]
    kinds += ["ADD"] if case in {"result read", "read by others"} else []
    flat = schema.ModelT.InitFromPackedBuf(
        chain(kinds, [BLACK_TO_WHITE, *[WIDE] * (len(kinds) + 1)], 50, first="ADD"), 0
    )
    subgraph = flat.subgraphs[0]
    first, second, last = (subgraph.operators[place] for place in (0, 1, -1))
    if case == "read by others":
        last.inputs = [second.outputs[0], first.outputs[0]]
    if case == "16 bits":
        for one in subgraph.tensors:
            one.type = schema.TensorType.INT16
            one.quantization.zeroPoint = [0]
    if case == "bound for others":
        again = schema.OperatorT()
        again.opcodeIndex, again.builtinOptionsType = second.opcodeIndex, second.builtinOptionsType
        again.builtinOptions = second.builtinOptions
        again.inputs = [subgraph.inputs[0], second.inputs[1]]
        again.outputs = [len(subgraph.tensors)]
        subgraph.tensors.append(subgraph.tensors[1])
        subgraph.operators.append(again)
    return _pack(flat)
