"""The error of each layer alone, against integer arithmetic by hand."""

from dataclasses import replace

import numpy as np
import pytest

import qsr.analysis.local as local_module
import qsr.tflite.runtime as runtime_module
from qsr import calibration as cal
from qsr.analysis.local import LocalErrors
from qsr.analysis.pair import ModelPair
from qsr.analysis.sums import added, error_sums
from qsr.tflite.fold import fold_copies
from qsr.tflite.runtime import Runner


@pytest.fixture(scope="module")
def pair(trained_xcat, sound):
    """The float network and its integer model."""
    return ModelPair(trained_xcat, sound)


def sums_of(pair, lr):
    """Return the sums of a whole picture."""
    local = LocalErrors(pair)
    return added(local.sums(window) for window in pair.windows(lr))


def to_integers(values, tensor):
    """Return real values on a tensor's grid, by hand."""
    ends = np.iinfo(tensor.dtype)
    steps = np.floor(np.abs(values / tensor.scale[0]) + 0.5) * np.sign(values)
    return np.clip(steps + tensor.zero_point[0], ends.min, ends.max).astype(np.int64)


def requantized(accumulator, factor, tensor, lowest=None):
    """Return an accumulator on a tensor's grid, not below ``lowest``."""
    ends = np.iinfo(tensor.dtype)
    steps = np.rint(accumulator * factor) + tensor.zero_point[0]
    return np.clip(steps, ends.min if lowest is None else lowest, ends.max).astype(tensor.dtype)


def reference_values(pair, lr):
    """Return the real values of the reference's tensors on a picture, by their numbers."""
    runner = Runner(pair.reference_graph.model, keep_tensors=True)
    runner.run(lr)
    return {match.reference.index: runner.tensor(match.reference.index).copy()
            for match in pair.alignment.matches}  # fmt: skip


class TestByHand:
    """Kernels of integers, written down in numpy."""

    @pytest.mark.parametrize("per_channel", [True, False])
    def test_convolutions(self, *, per_channel, trained_xcat, quantized, pictures):
        """Convolutions err as products of integers in 32 bits, requantized per channel, do."""
        pair = ModelPair(trained_xcat, quantized(per_channel=per_channel))
        graph, alignment = pair.tested_graph, pair.alignment
        _, lr, _ = pictures[0]
        found, values = sums_of(pair, lr), reference_values(pair, lr)
        checked = 0
        for operator in graph.operators:
            if operator.kind != "CONV_2D":
                continue
            source, kernel, bias = (graph.tensors[index] for index in operator.inputs)
            result = graph.tensors[operator.outputs[0]]
            reference = values[alignment.reference_of(result.index)]
            read = to_integers(values[alignment.reference_of(source.index)], source)
            products = convolved(read - source.zero_point[0], graph.constant(kernel.index))
            accumulator = products + graph.constant(bias.index).astype(np.int64)
            factor = source.scale[0] * kernel.scale.astype(np.float64) / result.scale[0]
            relu = operator.options.fusedActivationFunction == 1
            lowest = result.zero_point[0] if relu else None
            made = requantized(accumulator, factor, result, lowest)
            match = alignment.of_tested(result.index)
            expected = error_sums(reference, made, match.grid)
            sums = found[result.index]
            assert sums.count == expected.count
            few = 0.005 * expected.noise.max()  # in channels that are hardly ever above 0
            np.testing.assert_allclose(sums.noise, expected.noise, rtol=0.02, atol=few)
            np.testing.assert_allclose(
                sums.error / sums.count,
                expected.error / sums.count,
                atol=match.grid.scale / 50,
            )
            np.testing.assert_array_equal(sums.saturated_low, expected.saturated_low)
            np.testing.assert_array_equal(sums.saturated_high, expected.saturated_high)
            checked += 1
        assert checked == 8

    def test_add(self, pair, pictures):
        """An ADD errs as the sum of what its integers stand for, on its own grid, does."""
        graph, alignment = pair.tested_graph, pair.alignment
        _, lr, _ = pictures[1]
        values = reference_values(pair, lr)
        (add,) = (one for one in graph.operators if one.kind == "ADD")
        result = graph.tensors[add.outputs[0]]
        total = np.zeros(1)
        for index in add.inputs:
            tensor = graph.tensors[index]
            read = to_integers(values[alignment.reference_of(index)], tensor)
            total = total + (read - tensor.zero_point[0]) * float(tensor.scale[0])
        made = requantized(total, 1 / result.scale[0], result)
        match = alignment.of_tested(result.index)
        expected = error_sums(values[match.reference.index], made, match.grid)
        sums = sums_of(pair, lr)[result.index]
        np.testing.assert_allclose(sums.noise.sum(), expected.noise.sum(), rtol=0.03)
        assert sums.max_error.max() == pytest.approx(expected.max_error.max(), abs=match.grid.scale)

    def test_copies(self, pair, pictures):
        """What only moves values has the error of rounding what it is given, exactly."""
        graph, alignment = pair.tested_graph, pair.alignment
        _, lr, _ = pictures[2]
        values, found = reference_values(pair, lr), sums_of(pair, lr)
        split = next(one for one in graph.operators if one.kind == "SPLIT_V")
        source = graph.tensors[split.inputs[0]]
        read = to_integers(values[alignment.reference_of(source.index)], source)
        parts = np.split(read, [21], axis=3)
        for index, part in zip(split.outputs, parts, strict=True):
            match = alignment.of_tested(index)
            expected = error_sums(values[match.reference.index], part, match.grid)
            np.testing.assert_array_equal(found[index].noise, expected.noise)


class TestWhere:
    """What is measured, and on which pixels."""

    @pytest.mark.parametrize("scheme", [{}, {"io": "float32"}, {"activation_bits": 16}])
    @pytest.mark.parametrize("folded", [False, True])
    def test_every_layer(self, *, scheme, folded, trained_xcat, quantized, pictures):
        """Every matched tensor but the input has an error of its own, of the size of rounding."""
        tested = quantized(**scheme)
        pair = ModelPair(trained_xcat, fold_copies(tested) if folded else tested)
        found = sums_of(pair, pictures[0][1])
        matches = pair.alignment.matches
        inputs = {match.tested.index for match in matches if match.operator == "INPUT"}
        assert set(found) == {match.tested.index for match in matches} - inputs
        errors = [sums.tensor_error.sqnr_db for sums in found.values()]
        assert min(errors) > 20

    def test_other_operators(self, fsrcnn, pictures):
        """PRELU, TRANSPOSE_CONV and layers that stay in float are measured, too."""
        ranges = cal.collect(fsrcnn, {"one": pictures[0][1]}).merged()
        for scheme in (cal.Scheme(), cal.Scheme(float_layers=("*p_re_lu*",))):
            pair = ModelPair(fsrcnn, cal.quantize(fsrcnn, ranges, scheme))
            found = sums_of(pair, pictures[0][1])
            assert len(found) >= 2
            assert min(sums.tensor_error.sqnr_db for sums in found.values()) > 20

    def test_integer_reference(self, sound, quantized, pictures):
        """A model against itself errs by its kernels' roundings alone; others by their grids."""
        itself = sums_of(ModelPair(sound, sound), pictures[0][1])
        for sums in itself.values():
            assert sums.max_error.max() < 1.01 * sums.grid.scale
        other = sums_of(ModelPair(quantized({"xcat/anchor/add": 3.0}), sound), pictures[0][1])
        assert set(other) == set(itself)

    def test_pieces(self, pair, pictures, monkeypatch):
        """The pieces of a picture give the sums of the whole, whether memory is kept or not."""
        name, lr, _ = pictures[1]
        whole = sums_of(pair, lr)
        monkeypatch.setattr(runtime_module, "LARGEST_TILE", 24)
        monkeypatch.setattr(local_module, "_MOST_KEPT_PIXELS", 300)
        windows = list(pair.windows(lr))
        assert len(windows) > 2, name
        cut = sums_of(pair, lr)
        for index, sums in whole.items():
            assert cut[index].count == sums.count
            np.testing.assert_allclose(cut[index].noise, sums.noise, rtol=1e-3, atol=1e-9)

    def test_unmatched(self, trained_xcat, sound, pictures):
        """An operator that reads what was not matched is left out; all others are measured."""
        pair = ModelPair(trained_xcat, sound)
        every = set(sums_of(pair, pictures[0][1]))
        (add,) = (one for one in pair.tested_graph.operators if one.kind == "ADD")
        hidden = add.inputs[0]
        matches = pair.alignment.matches
        kept = tuple(match for match in matches if match.tested.index != hidden)
        pair.__dict__["alignment"] = replace(pair.alignment, matches=kept)
        assert set(sums_of(pair, pictures[0][1])) == every - {hidden, add.outputs[0]}


def convolved(values, kernel):
    """Return the products of a picture with a kernel ``(out, h, w, in)``, padded by 0; int64."""
    _, height, width, _ = kernel.shape
    padded = np.pad(values, ((0, 0), (height // 2,) * 2, (width // 2,) * 2, (0, 0)))
    rows, columns = values.shape[1:3]
    return sum(
        np.einsum(
            "nhwi,oi->nhwo",
            padded[:, y : y + rows, x : x + columns],
            kernel[:, y, x].astype(np.int64),
        )
        for y in range(height)
        for x in range(width)
    )
