"""Stored values of an integer model against the reference's, by hand and with planted faults."""

import math

import numpy as np
import pytest

from qsr import calibration as cal
from qsr.analysis.pair import ModelPair
from qsr.analysis.stored import stored_errors
from qsr.tflite.graph import Graph


@pytest.fixture(scope="module")
def layer(sound):
    """The first convolution of the integer model and its output tensor."""
    graph = Graph(sound)
    convolution = next(one for one in graph.operators if one.kind == "CONV_2D")
    return graph, convolution, convolution.outputs[0]


def errors(reference, tested):
    """Return the errors by the number of the output tensor."""
    return stored_errors(ModelPair(reference, tested))


@pytest.mark.parametrize("per_channel", [True, False])
def test_by_hand(*, per_channel, trained_xcat, quantized):
    """Rounded weights and biases are as far off as numpy says: half a step of weights at most."""
    pair = ModelPair(trained_xcat, quantized(per_channel=per_channel))
    graph, found = pair.tested_graph, stored_errors(pair)
    assert len(found) == 8
    for index, error in found.items():
        source, kernel, bias = (graph.tensors[one] for one in graph.producer[index].inputs)
        scale = kernel.scale.astype(np.float64).reshape(-1, 1, 1, 1)
        weights = graph.constant(kernel.index) * scale
        meant = pair.reference_graph.constant(pair.alignment.constants[kernel.index])
        off = np.abs(weights - meant)
        noise = np.square(off).sum()
        sqnr = 10 * math.log10(np.square(meant.astype(np.float64)).sum() / noise) if noise else None
        if sqnr is not None and sqnr < 140:
            assert error.weights_sqnr_db == pytest.approx(sqnr, abs=1e-3)
        assert error.weights_off_steps == pytest.approx((off / scale).max(), abs=1e-4)
        assert error.weights_off_steps < 0.501
        biases = graph.constant(bias.index) * (source.scale[0] * kernel.scale.astype(np.float64))
        wanted = pair.reference_graph.constant(pair.alignment.constants[bias.index])
        steps = np.abs(biases - wanted).max() / float(graph.tensors[index].scale[0])
        assert error.bias_off_steps == pytest.approx(steps, abs=1e-4)
        assert error.bias_scale_ratio == pytest.approx(1.0, abs=1e-5)


def test_zeroed_channel(trained_xcat, sound, layer):
    """A channel of zeros is off by its largest weight, and it is named."""
    graph, convolution, output = layer
    kernel = convolution.inputs[1]
    stored = graph.constant(kernel).copy()
    lost = np.abs(stored[5]).max()
    stored[5] = 0
    found = errors(trained_xcat, graph.with_constants({kernel: stored}))[output]
    assert found.channel == 5
    assert found.weights_off_steps == pytest.approx(lost, abs=0.6)
    assert found.bias_off_steps == errors(trained_xcat, sound)[output].bias_off_steps


def test_dropped_bias(trained_xcat, layer):
    """A bias of zeros is off by what it was, in steps of the layer's output."""
    graph, convolution, output = layer
    source, kernel, bias = convolution.inputs
    stored = graph.constant(bias)
    counted = graph.tensors[source].scale[0] * graph.tensors[kernel].scale.astype(np.float64)
    lost = np.abs(stored * counted) / float(graph.tensors[output].scale[0])
    dropped = graph.with_constants({bias: np.zeros_like(stored)})
    found = errors(trained_xcat, dropped)[output]
    assert found.bias_off_steps == pytest.approx(lost.max(), abs=0.1)
    assert found.channel == lost.argmax()
    assert found.weights_off_steps < 0.501


def test_changed_grid(trained_xcat, sound):
    """Where the grid that a layer reads was doubled, its biases count twice what they say."""
    graph = Graph(sound)
    reader = [one for one in graph.operators if one.kind == "CONV_2D"][-1]
    read = graph.tensors[reader.inputs[0]]
    changed = graph.with_grids({read.index: (2 * float(read.scale[0]), int(read.zero_point[0]))})
    before, after = errors(trained_xcat, sound), errors(trained_xcat, changed)
    output = reader.outputs[0]
    assert after[output].bias_scale_ratio == pytest.approx(2.0, abs=1e-5)
    biases = np.abs(graph.constant(reader.inputs[2]) * graph.tensors[reader.inputs[2]].scale)
    lost = biases.max() / float(graph.tensors[output].scale[0])
    assert after[output].bias_off_steps == pytest.approx(lost, rel=0.05)
    ratios = {index for index, error in after.items() if error.bias_scale_ratio > 1.5}
    assert ratios == {output}
    assert all(error.bias_scale_ratio < 1.5 for error in before.values())


def test_itself(sound):
    """Between a model and itself nothing is off."""
    for error in errors(sound, sound).values():
        assert error.weights_sqnr_db == math.inf
        assert (error.weights_off_steps, error.bias_off_steps) == (0.0, 0.0)


def test_other_layers(fsrcnn, photographs):
    """Slopes are weights without biases; a transposed convolution has both."""
    ranges = cal.collect(fsrcnn, {"one": photographs["coffee"]}).merged()
    pair = ModelPair(fsrcnn, cal.quantize(fsrcnn, ranges))
    kinds = {
        pair.tested_graph.producer[index].kind: error
        for index, error in stored_errors(pair).items()
    }
    assert set(kinds) >= {"CONV_2D", "PRELU"}
    assert kinds["PRELU"].bias_off_steps is None
    assert kinds["PRELU"].bias_scale_ratio is None
    assert kinds["PRELU"].weights_off_steps < 0.501
    ends = [error for kind, error in kinds.items() if kind not in {"CONV_2D", "PRELU"}]
    assert ends
    assert all(error.bias_off_steps < 0.5 for error in ends)


def test_sixteen_bits(trained_xcat, quantized):
    """Biases of 64 bits are counted, too."""
    found = errors(trained_xcat, quantized(activation_bits=16))
    assert len(found) == 8
    assert all(error.weights_off_steps < 0.501 for error in found.values())
    assert all(error.bias_off_steps < 1 for error in found.values())


@pytest.mark.parametrize("per_channel", [True, False])
def test_one_scale(*, per_channel, trained_xcat, quantized):
    """Kernels of several channels with one weight scale are known."""
    pair = ModelPair(trained_xcat, quantized(per_channel=per_channel))
    assert {error.one_scale for error in stored_errors(pair).values()} == {not per_channel}


def test_layers_left_in_float(trained_xcat, photographs):
    """Layers that stay in float store no integers, so that nothing of them is off."""
    ranges = cal.collect(trained_xcat, photographs).merged()
    mixed = cal.quantize(trained_xcat, ranges, cal.Scheme(float_layers=("block1*",)))
    pair = ModelPair(trained_xcat, mixed)
    names = {pair.alignment.of_tested(index).reference.name for index in stored_errors(pair)}
    assert any("first_conv" in name for name in names)
    assert not any("block1" in name for name in names)
