"""How far the stored values of an integer model, its weights and biases, are from the reference's.

No picture is needed. A weight that was rounded to the nearest is half a step of its grid away at
most; one that is further off was cut off at the grid's end, or is another weight.
"""

import numpy as np
from numpy.typing import NDArray

from qsr.analysis.grid import has_grid
from qsr.analysis.layers import results
from qsr.analysis.pair import ModelPair
from qsr.analysis.records import StoredError
from qsr.analysis.sums import ratio_db
from qsr.tflite.graph import Graph, Operator
from qsr.tflite.real_values import bias_of, counted_bias_scale, real_constant, spread

_CHANNELS_FIRST = {"CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV"}
"""Operators whose weights have the output channels in front; in others they are last."""

Doubles = NDArray[np.float64]


def stored_errors(pair: ModelPair) -> dict[int, StoredError]:
    """Compare the stored values of every layer that both models have.

    Weights are all stored values but the biases: kernels, slopes, and the second operand of an
    element-wise operator.

    Args:
        pair: the two models.

    Returns:
        Number of the tested model's tensor to the error of what the operator that makes it stores.
        Left out are operators whose weights, if any, have no counterpart in the reference, or are
        left in float.

    Raises:
        ModelError: stored values cannot be read.
    """
    found: dict[int, StoredError] = {}
    for operator in pair.tested_graph.operators:
        error = _stored_error(pair, operator)
        if error is not None:
            made = results(pair.tested_graph, pair.alignment, operator)
            found |= {result.match.tested.index: error for result in made}
    return found


def _stored_error(pair: ModelPair, operator: Operator) -> StoredError | None:
    """Compare the stored values of an operator; None if its weights were not paired."""
    graph = pair.tested_graph
    paired = [index for index in operator.inputs if index in pair.alignment.constants]
    bias = bias_of(operator)
    weights = [index for index in paired if index != bias]
    if not weights or not all(graph.tensors[index].quantized for index in weights):
        return None
    signal = noise = 0.0
    steps: list[Doubles] = []
    for index in weights:
        tensor = graph.tensors[index]
        reference = _reference(pair, index)
        off = real_constant(graph, index) - reference
        signal += float(np.square(reference).sum())
        noise += float(np.square(off).sum())
        steps.append(_per_channel(operator, np.abs(off) / spread(tensor, tensor.scale)))
    weights_off = np.max(np.stack(np.broadcast_arrays(*steps)), axis=0)
    bias_off = None
    output = graph.tensors[operator.outputs[0]]
    if bias in paired and bias is not None and has_grid(output):
        off = real_constant(graph, bias) - _reference(pair, bias)
        bias_off = (np.abs(off) / float(output.scale[0])).reshape(-1)
    worst = weights_off if bias_off is None else np.maximum(weights_off, bias_off)
    return StoredError(
        weights_sqnr_db=ratio_db(signal, noise),
        weights_off_steps=float(weights_off.max()),
        bias_off_steps=None if bias_off is None else float(bias_off.max()),
        bias_scale_ratio=_bias_scale_ratio(graph, operator),
        channel=int(worst.argmax()),
        one_scale=max(len(graph.tensors[index].scale) for index in weights) == 1 < len(worst),
    )


def _bias_scale_ratio(graph: Graph, operator: Operator) -> float | None:
    """Return the scale in which biases are counted over the one that is written beside them."""
    counted, bias = counted_bias_scale(graph, operator), bias_of(operator)
    if counted is None or bias is None or not graph.tensors[bias].quantized:
        return None
    ratios = counted / graph.tensors[bias].scale
    return float(ratios[np.abs(np.log(ratios)).argmax()])


def _reference(pair: ModelPair, index: int) -> Doubles:
    """Return what the reference has for a constant of the tested model."""
    values = real_constant(pair.reference_graph, pair.alignment.constants[index])
    return values.astype(np.float64)


def _per_channel(operator: Operator, steps: Doubles) -> Doubles:
    """Return the largest value of each output channel, ``(channels,)``."""
    if steps.ndim == 0:
        return steps.reshape(1)
    axis = 0 if operator.kind in _CHANNELS_FIRST else -1
    return np.asarray(np.moveaxis(steps, axis, 0).reshape(steps.shape[axis], -1).max(axis=1))
