"""Bias correction takes mean shifts back, on the biases' own grid."""

import numpy as np
import pytest

from qsr.calibration import Scheme, collect, quantize
from qsr.errors import UsageError
from qsr.quantization.bias_correction import correct_biases
from qsr.tflite.graph import Graph
from qsr.tflite.runtime import Runner, inspect_model


@pytest.fixture(scope="module", params=["uint8", "int8", "float32"])
def integer(request, uneven_fsrcnn, photographs):
    """The integer model of an uneven FSRCNN, with each type of input and output."""
    ranges = collect(uneven_fsrcnn, photographs).merged()
    return quantize(uneven_fsrcnn, ranges, Scheme(io=request.param))


def test_takes_a_shift_back(uneven_fsrcnn, integer, photographs):
    """A bias that was moved by thirty bytes of the picture is moved back."""
    graph = Graph(integer)
    (last,) = [step for step in graph.operators if step.kind == "TRANSPOSE_CONV"]
    white = inspect_model(uneven_fsrcnn).value_max
    bias = graph.tensors[last.inputs[3]]
    moved = graph.constant(bias.index) + np.rint(30 * white / 255 / bias.scale).astype(np.int32)
    spoilt = graph.with_constants({bias.index: moved})
    corrected = correct_biases(uneven_fsrcnn, spoilt, list(photographs.values()))

    def shift(model):
        runner, true = Runner(model), Runner(uneven_fsrcnn)
        return np.mean(
            [
                (runner.upscale_unrounded(lr) - true.upscale(lr)).mean(axis=(0, 1))
                for lr in photographs.values()
            ],
            axis=0,
        )

    assert np.abs(shift(spoilt)).min() > 10
    assert np.abs(shift(corrected)).max() < 3


def test_biases_alone_change(uneven_fsrcnn, integer, photographs):
    """Every stored value but the int32 biases, and every grid, stays."""
    graph = Graph(integer)
    corrected = Graph(correct_biases(uneven_fsrcnn, integer, list(photographs.values())))
    changed = set()
    for before, after in zip(graph.tensors, corrected.tensors, strict=True):
        assert (before.name, before.dtype, before.shape) == (after.name, after.dtype, after.shape)
        np.testing.assert_array_equal(before.scale, after.scale)
        np.testing.assert_array_equal(before.zero_point, after.zero_point)
        if before.constant and (
            graph.constant(before.index).tobytes() != corrected.constant(after.index).tobytes()
        ):
            changed.add(before.index)
    biases = {step.inputs[2] for step in graph.operators if step.kind == "CONV_2D"}
    biases |= {step.inputs[3] for step in graph.operators if step.kind == "TRANSPOSE_CONV"}
    assert changed
    assert changed <= biases


def test_every_layer_is_corrected(uneven_fsrcnn, photographs):
    """Layers in the middle get their means back too, each on the corrected ones before it."""
    ranges = collect(uneven_fsrcnn, photographs).merged()
    graph = Graph(quantize(uneven_fsrcnn, ranges))
    convolutions = [step for step in graph.operators if step.kind == "CONV_2D"]
    spoilt = graph.with_constants(
        {
            step.inputs[2]: graph.constant(step.inputs[2])
            + np.rint(
                10 * graph.tensors[step.outputs[0]].scale / graph.tensors[step.inputs[2]].scale
            ).astype(np.int32)
            for step in convolutions
        }
    )
    corrected = Graph(correct_biases(uneven_fsrcnn, spoilt, list(photographs.values())))
    for step in convolutions:
        index, out = step.inputs[2], graph.tensors[step.outputs[0]]
        steps = corrected.constant(index) - graph.constant(index)
        assert (np.abs(steps * graph.tensors[index].scale / out.scale) < 5).all()


def test_no_image(uneven_fsrcnn, integer):
    """Without images there is nothing to go by."""
    with pytest.raises(UsageError, match="no images"):
        correct_biases(uneven_fsrcnn, integer, [])
