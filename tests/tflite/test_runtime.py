"""Running models: bytes as a phone feeds and shows them, and pieces that equal the whole."""

import subprocess
import sys

import numpy as np
import pytest
import skimage.data
from hypothesis import given
from hypothesis import strategies as st

from qsr import calibration as cal
from qsr.errors import ModelError
from qsr.tflite import runtime
from qsr.tflite.convert import convert_keras
from qsr.tflite.runtime import Runner, reading_runner, to_bytes, to_input

FLOAT = ["xcat", "trained_xcat", "espcn", "fsrcnn"]
PICTURE = skimage.data.chelsea()[60:131, 100:190]


@pytest.fixture(scope="module")
def integers(trained_xcat, photographs):
    """The integer models of an XCAT by the type of their ends."""
    ranges = cal.collect(trained_xcat, photographs).merged()
    return {
        io: cal.quantize(trained_xcat, ranges, cal.Scheme(io=io))
        for io in ("uint8", "int8", "float32")
    }


@pytest.fixture(scope="module")
def even():
    """A x2 network that takes even sizes alone."""
    import tensorflow as tf
    import tf_keras

    picture = tf_keras.Input((None, None, 3))
    folded = tf.nn.space_to_depth(picture, 2)
    large = tf.nn.depth_to_space(tf.concat([picture] * 4, axis=-1), 2)
    trace = tf.nn.depth_to_space(tf.concat([folded] * 4, axis=-1), 4)
    return convert_keras(tf_keras.Model(picture, large + 1e-3 * trace))


class TestBytes:
    """What goes in and comes out."""

    @pytest.mark.parametrize("network", FLOAT)
    def test_float(self, network, request, photographs, run_bare):
        """A float model is fed byte / 255 and read as value * 255, clipped and rounded."""
        model = request.getfixturevalue(network)
        runner = Runner(model)
        for image in photographs.values():
            bare = run_bare(model, image[None] / np.float32(255))[0] * 255
            unrounded = runner.upscale_unrounded(image)
            assert unrounded.dtype == np.float32
            np.testing.assert_allclose(unrounded, bare, atol=1e-3)  # two sets of kernels
            result = runner.upscale(image)
            assert result.dtype == np.uint8
            np.testing.assert_array_equal(result, np.clip(np.rint(unrounded), 0, 255))

    def test_white_is_255(self, abpn, photographs, run_bare):
        """A float model of 0..255 is fed and read as it is."""
        image = photographs["astronaut"]
        bare = run_bare(abpn, image[None].astype(np.float32))[0]
        np.testing.assert_allclose(Runner(abpn).upscale_unrounded(image), bare, atol=1e-3)

    def test_uint8(self, integers, photographs, run_bare):
        """A uint8 model is fed bytes and read as bytes."""
        runner = Runner(integers["uint8"])
        for image in photographs.values():
            bare = run_bare(integers["uint8"], image[None], fast=True)[0]
            np.testing.assert_array_equal(runner.upscale(image), bare)
            np.testing.assert_array_equal(runner.upscale_unrounded(image), bare)

    def test_int8(self, integers, photographs, run_bare):
        """An int8 model is fed byte - 128 and read as value + 128."""
        runner = Runner(integers["int8"])
        for image in photographs.values():
            values = (image[None].astype(int) - 128).astype(np.int8)
            bare = run_bare(integers["int8"], values, fast=True)[0]
            np.testing.assert_array_equal(runner.upscale(image), bare.astype(int) + 128)

    def test_float_ends(self, integers, photographs):
        """An integer model with float ends gives the bytes of the one with integer ends."""
        image = photographs["coffee"]
        np.testing.assert_array_equal(
            Runner(integers["float32"]).upscale(image), Runner(integers["uint8"]).upscale(image)
        )

    @given(st.integers(0, 255), st.sampled_from([1.0, 255.0]))
    def test_every_byte(self, byte, white):
        """A byte that a model gives back unchanged comes out as it went in."""
        pixel = np.full((1, 1, 3), byte, np.uint8)
        for dtype, zero in (("uint8", 0), ("int8", -128)):
            assert to_input(pixel, dtype, white).item(0) == byte + zero
        value = to_input(pixel, "float32", white)
        assert value.dtype == np.float32
        assert value.shape == (1, 1, 1, 3)
        assert value.item(0) == pytest.approx(byte / 255 * white, rel=1e-6)
        np.testing.assert_array_equal(to_bytes(value[0] * np.float32(255 / white)), pixel)

    def test_out_of_range(self):
        """What lies beyond black and white is clipped; halves are rounded to even."""
        values = np.array([-3.0, -0.5, 0.5, 1.5, 254.5, 255.4, 300.0], np.float32)
        assert to_bytes(values).tolist() == [0, 0, 0, 2, 254, 255, 255]

    def test_sizes_one_after_another(self, trained_xcat, photographs):
        """A runner gives the same pictures whatever it has run before."""
        runner = Runner(trained_xcat)
        first = [runner.upscale_unrounded(image) for image in photographs.values()]
        again = [runner.upscale_unrounded(image) for image in reversed(photographs.values())]
        fresh = [Runner(trained_xcat).upscale_unrounded(image) for image in photographs.values()]
        for one, two, three in zip(first, again[::-1], fresh, strict=True):
            np.testing.assert_array_equal(one, three)
            np.testing.assert_array_equal(two, three)

    def test_results_stay(self, integers, photographs):
        """A picture that was given out does not change when the next is run."""
        for io in integers:
            runner = Runner(integers[io])
            result = runner.upscale(photographs["rocket"])
            kept = result.copy()
            runner.upscale(255 - photographs["rocket"])
            np.testing.assert_array_equal(result, kept)


class TestPieces:
    """Pictures run in pieces."""

    @pytest.mark.parametrize("keep_tensors", [False, True])
    @pytest.mark.parametrize("tile", [24, 31, 70])
    @pytest.mark.parametrize("network", FLOAT)
    def test_float(self, *, network, tile, keep_tensors, request, monkeypatch):
        """Tiles of a float model make up what the whole picture gives, up to rounding."""
        runner = Runner(request.getfixturevalue(network), keep_tensors=keep_tensors)
        whole = runner.upscale_unrounded(PICTURE)
        monkeypatch.setattr(runtime, "LARGEST_TILE", tile)
        assert len(list(runner.pieces(PICTURE))) > 1
        np.testing.assert_allclose(runner.upscale_unrounded(PICTURE), whole, atol=1e-3)

    @pytest.mark.parametrize("tile", [24, 31, 70])
    @pytest.mark.parametrize("io", ["uint8", "int8", "float32"])
    def test_integer(self, io, tile, integers, monkeypatch):
        """Tiles of an integer model make up what the whole picture gives, in every byte."""
        runner = Runner(integers[io])
        whole = runner.upscale(PICTURE)
        monkeypatch.setattr(runtime, "LARGEST_TILE", tile)
        assert len(list(runner.pieces(PICTURE))) > 1
        np.testing.assert_array_equal(runner.upscale(PICTURE), whole)

    def test_larger_than_the_only_size(self, abpn, abpn_of_any_size):
        """A model of one size gives on a larger picture what the same model of any size does."""
        whole = Runner(abpn_of_any_size).upscale_unrounded(PICTURE)
        pieced = Runner(abpn).upscale_unrounded(PICTURE)
        np.testing.assert_allclose(pieced, whole, atol=1e-2)

    @pytest.mark.parametrize(("height", "width"), [(39, 48), (40, 20), (7, 90), (60, 5), (1, 1)])
    def test_smaller_than_the_only_size(self, abpn, abpn_of_any_size, height, width):
        """A model of one size is fed a smaller picture with its last row and column repeated."""
        picture = PICTURE[:height, :width]
        below, right = max(40 - height, 0), max(48 - width, 0)
        padded = np.pad(picture, ((0, below), (0, right), (0, 0)), mode="edge")
        whole = Runner(abpn_of_any_size).upscale_unrounded(padded)[: 3 * height, : 3 * width]
        result = Runner(abpn).upscale_unrounded(picture)
        assert result.shape == (3 * height, 3 * width, 3)
        np.testing.assert_allclose(result, whole, atol=1e-2)

    def test_windows(self, espcn, monkeypatch):
        """Each window says which part of the picture the tensors hold, and which of it counts."""
        monkeypatch.setattr(runtime, "LARGEST_TILE", 24)
        runner = Runner(espcn, keep_tensors=True)
        whole = runner.upscale_unrounded(PICTURE)
        covered = np.zeros(PICTURE.shape[:2], int)
        output = runner._output
        for window in runner.windows(PICTURE):
            covered[window.kept_rows, window.kept_columns] += 1
            piece = PICTURE[window.rows, window.columns]
            np.testing.assert_array_equal(runner.tensor(runner._input)[0], piece / np.float32(255))
            assert runner.tensor(output).shape == (1, 2 * piece.shape[0], 2 * piece.shape[1], 3)
            top = 2 * (window.kept_rows.start - window.rows.start)
            left = 2 * (window.kept_columns.start - window.columns.start)
            np.testing.assert_array_equal(
                runner.tensor(output)[0, top, left] * np.float32(255),
                whole[2 * window.kept_rows.start, 2 * window.kept_columns.start],
            )
        assert (covered == 1).all()

    @given(st.integers(1, 300), st.integers(1, 60), st.data())
    def test_even_windows(self, length, largest, data):
        """The window chosen is the smallest that needs no more pieces than the largest."""
        halo = data.draw(st.integers(0, (min(length, largest) - 1) // 2))
        window = runtime._even_window(length, largest, halo)
        counts = {
            size: len(list(runtime._cuts(length, size, halo)))
            for size in range(2 * halo + 1, min(length, largest) + 1)
        }
        fewest = counts[min(length, largest)]
        assert window == min(size for size, count in counts.items() if count == fewest)

    @given(st.integers(1, 300), st.integers(1, 60), st.data())
    def test_cuts(self, length, window, data):
        """Windows keep every pixel once, and around it the halo or the border of the picture."""
        halo = data.draw(st.integers(0, (window - 1) // 2))
        cuts = list(runtime._cuts(length, window, halo))
        kept = [pixel for _, keep in cuts for pixel in range(keep.start, keep.stop)]
        assert kept == list(range(length))
        for whole, keep in cuts:
            assert whole.stop - whole.start == min(window, length)
            assert 0 <= whole.start <= keep.start
            assert keep.stop <= whole.stop <= length
            assert keep.start - whole.start >= halo or whole.start == 0
            assert whole.stop - keep.stop >= halo or whole.stop == length


class TestTensors:
    """Tensors read from inside."""

    def test_kept(self, espcn, photographs, run_bare):
        """With all tensors kept, one in the middle still holds what its operator gave."""
        runner = Runner(espcn, keep_tensors=True)
        image = photographs["coffee"]
        list(runner.windows(image))
        graph = runtime.Graph(espcn)
        (tanh,) = [operator for operator in graph.operators if operator.kind == "TANH"]
        before, after = (runner.tensor(index).copy() for index in (tanh.inputs[0], tanh.outputs[0]))
        np.testing.assert_allclose(after, np.tanh(before), atol=1e-6)
        output = runner.tensor(graph.output_index)
        np.testing.assert_array_equal(output, run_bare(espcn, image[None] / np.float32(255)))


class TestReading:
    """Tensors read from a float model that is run only as far as they need."""

    @pytest.mark.parametrize("network", [*FLOAT, "abpn"])
    def test_every_tensor(self, network, request, photographs):
        """Every tensor is what a runner that keeps all of them gives, up to rounding."""
        model = request.getfixturevalue(network)
        indices = [tensor.index for tensor in runtime.Graph(model).activations[1:]]
        fast, trusted = reading_runner(model, indices), Runner(model, keep_tensors=True)
        for image in photographs.values():
            for _ in zip(fast.windows(image), trusted.windows(image), strict=True):
                for index in indices:
                    expected = trusted.tensor(index).copy()
                    tolerance = 2e-6 * np.abs(expected).max()
                    np.testing.assert_allclose(
                        fast.tensor(index).copy(), expected, atol=tolerance, rtol=0
                    )

    def test_fast_kernels(self, trained_xcat):
        """XNNPACK's kernels run it: its delegate has taken the operators."""
        index = runtime.Graph(trained_xcat).operators[5].outputs[0]
        runner = reading_runner(trained_xcat, [index])
        runner.run(PICTURE)
        assert "DELEGATE" in delegated(runner)

    @pytest.mark.parametrize("damage", [1e-4, np.nan])
    def test_a_tensor_that_is_not_intact(self, trained_xcat, monkeypatch, damage):
        """One tensor that the fast kernels give otherwise is enough for TFLite's own to be used."""
        graph = runtime.Graph(trained_xcat)
        indices = [operator.outputs[0] for operator in graph.operators[:6]]
        tensor = Runner.tensor

        def spoilt(runner, index):
            values = tensor(runner, index)
            if index == indices[3] and "DELEGATE" in delegated(runner):
                values = values.copy()
                values[0, 0, 0, 0] += damage * np.abs(values).max()
            return values

        monkeypatch.setattr(Runner, "tensor", spoilt)
        runtime._keeps_intact.cache_clear()
        runner = reading_runner(trained_xcat, indices)
        runtime._keeps_intact.cache_clear()
        runner.run(PICTURE)
        assert "DELEGATE" not in delegated(runner)

    def test_tiles(self, trained_xcat, monkeypatch):
        """A picture is cut as for a runner that keeps every tensor."""
        monkeypatch.setattr(runtime, "LARGEST_TILE", 40)
        indices = [tensor.index for tensor in runtime.Graph(trained_xcat).activations[1:]]
        runner = reading_runner(trained_xcat, indices)
        pieces = list(Runner(trained_xcat, keep_tensors=True).pieces(PICTURE))
        assert len(pieces) > 1
        for piece, expected in zip(runner.pieces(PICTURE), pieces, strict=True):
            np.testing.assert_array_equal(piece, expected)


class TestRefused:
    """Pictures that a model does not take."""

    def test_a_size_it_cannot_take(self, even):
        """A refused size is named in one line, and the runner takes other pictures after it."""
        runner = Runner(even, source="even.tflite")
        picture = PICTURE[:20, :30]
        before = runner.upscale(picture)
        for _ in range(2):
            with pytest.raises(
                ModelError, match=r"even\.tflite: cannot take a picture of 31x20 pixels"
            ) as error:
                runner.upscale(PICTURE[:20, :31])
            assert "\n" not in str(error.value)
        np.testing.assert_array_equal(runner.upscale(picture), before)


def delegated(runner):
    """Return the kinds of operators that a runner's interpreter runs, in capitals."""
    return " ".join(one["op_name"] for one in runner._interpreter._get_ops_details()).upper()


def test_nothing_printed(trained_xcat, tmp_path):
    """TFLite's own messages, which it prints once per process, do not reach the terminal."""
    path = tmp_path / "model.tflite"
    path.write_bytes(trained_xcat)
    script = """
import sys, numpy, pathlib
from qsr import calibration
from qsr.tflite.runtime import Runner
for keep_tensors in (False, True):
    runner = Runner(pathlib.Path(sys.argv[1]).read_bytes(), keep_tensors=keep_tensors)
    runner.upscale(numpy.zeros((20, 20, 3), numpy.uint8))
calibration.collect(sys.argv[1], {"black": numpy.zeros((20, 20, 3), numpy.uint8)})
"""
    run = subprocess.run(  # noqa: S603 (our own script)
        [sys.executable, "-c", script, path], check=True, capture_output=True, text=True
    )
    assert run.stdout + run.stderr == ""
