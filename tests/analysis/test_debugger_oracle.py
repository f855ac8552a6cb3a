"""Errors of layers against those that TensorFlow's own quantization debugger measures.

The debugger builds a model of its own from a converter: the integer operators, float operators
beside them, and an operator that subtracts one from the other after each. If the float operators
read what float operators made ("whole model verify"), that is the accumulated error; if they read
what the integer operators made, it is a layer's own error without that of rounding its inputs.
"""

import csv
import warnings
from collections import Counter
from dataclasses import dataclass
from io import StringIO

import numpy as np
import pytest

from qsr.analysis import compare
from qsr.quiet import captured_stderr

NETWORKS = {"trained_xcat_keras": 3, "espcn_keras": 2, "fsrcnn_keras": 2}
"""Networks, and by how much they enlarge."""

LEAST_LAYERS = {"trained_xcat_keras": 13, "espcn_keras": 4, "fsrcnn_keras": 3}
"""So many layers of each both tools measure, under one name."""


@dataclass(frozen=True)
class Debugged:
    """What the debugger and the comparison say of one network.

    Attributes:
        accumulated: the float tensor's name to the debugger's row, float operators in a row.
        alone: the same with float operators that read the integer ones.
        layers: the float tensor's name to the comparison's record, the input first.
    """

    accumulated: dict
    alone: dict
    layers: dict


@pytest.fixture(scope="module", params=NETWORKS)
def network(request):
    """The name of a network."""
    return request.param


@pytest.fixture(scope="module")
def debugged(network, request, photographs):
    """Both tools' measurements of one network on one photograph."""
    import tensorflow as tf
    from tensorflow.lite.python.convert import mlir_quantize

    keras_model = request.getfixturevalue(network)
    lr = photographs["astronaut"].copy()
    lr[:2] = 255  # so that every grid reaches white, and the clip at white is one in both models
    values = lr[None].astype(np.float32) / np.float32(255)
    debugger = tf.lite.experimental.QuantizationDebugger

    def data():
        yield [values]

    with warnings.catch_warnings(), captured_stderr():
        warnings.simplefilter("ignore")  # of TensorFlow's interpreter, which is to go
        converter = tf.lite.TFLiteConverter.from_keras_model(keras_model)
        reference = converter.convert()
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = data
        alone = debugger(converter=converter, debug_dataset=data)
        whole = debugger(
            quant_debug_model_content=mlir_quantize(
                alone.calibrated_model, enable_numeric_verify=True, enable_whole_model_verify=True
            ),
            debug_dataset=data,
        )
        tested = alone.get_nondebug_quantized_model()
        found = compare(reference, tested, [("astronaut", lr, None)])
        return Debugged(
            rows_of(whole), rows_of(alone), {layer.name: layer for layer in found.layers}
        )


def rows_of(debugger):
    """Run a debugger and return its rows by tensor name, but for the outputs of one operator."""
    debugger.run()
    text = StringIO()
    debugger.layer_statistics_dump(text)
    rows = list(csv.DictReader(StringIO(text.getvalue())))
    names = Counter(row["tensor_name"] for row in rows)
    return {row["tensor_name"]: row for row in rows if names[row["tensor_name"]] == 1}


def test_accumulated(network, debugged):
    """Accumulated errors are the debugger's; its kernels differ by a step here and there."""
    shared = debugged.accumulated.keys() & debugged.layers.keys()
    assert len(shared) >= LEAST_LAYERS[network]
    for name in shared:
        row, layer = debugged.accumulated[name], debugged.layers[name]
        error = layer.accumulated
        assert layer.scale == pytest.approx(float(row["scale"]), rel=1e-6)
        assert layer.zero_point == int(row["zero_point"])
        assert error.mse == pytest.approx(float(row["mean_squared_error"]), rel=0.02), name
        assert error.mean_error == pytest.approx(float(row["mean_error"]), abs=0.05 * layer.scale)
        assert error.max_error == pytest.approx(float(row["max_abs_error"]), abs=layer.scale)


def test_local(network, debugged):
    """Of layers that read the picture, local errors are the debugger's; others have inputs' too."""
    shared = debugged.alone.keys() & debugged.layers.keys()
    assert len(shared) >= LEAST_LAYERS[network]
    picture = next(iter(debugged.layers))
    first = [name for name in shared if debugged.layers[name].after == (picture,)]
    assert first
    for name in shared:
        local, row = debugged.layers[name].local, debugged.alone[name]
        own = float(row["mean_squared_error"])
        assert local is not None, name
        float_noise = 1e-9 * debugged.layers[name].scale ** 2
        assert local.mse > 0.98 * own - float_noise, name
        if name in first:
            assert local.mse == pytest.approx(own, rel=0.02)
            off = 0.05 * debugged.layers[name].scale
            assert local.mean_error == pytest.approx(float(row["mean_error"]), abs=off)
