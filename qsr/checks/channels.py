"""Channels that carry nothing, or nothing that the grid they share can hold."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from qsr.analysis.labels import layer_label
from qsr.checks.findings import Finding
from qsr.checks.subject import Subject
from qsr.checks.tensor_values import TensorValues
from qsr.checks.weights import CHANNEL_AXIS, real_constant
from qsr.tflite.graph import Graph, Operator, Tensor

_ACTIVATIONS = {"RELU", "RELU6", "RELU_0_TO_1", "RELU_N1_TO_1", "PRELU", "LEAKY_RELU", "TANH"}
_STEPS = 255
_SHOWN = 8


def check_channels(subject: Subject) -> Iterator[Finding]:
    """Look at the channels that convolutions make: by their weights, and on the pictures."""
    graph = subject.graph
    for operator in graph.operators:
        if operator.kind not in CHANNEL_AXIS:
            continue
        tensor = _activated(graph, operator)
        label = layer_label(tensor.name)
        proved = _without_weights(graph, operator)
        values = subject.values.get(tensor.index)
        still = np.zeros(0, int) if values is None else _constant(values)
        dead = sorted({*proved.tolist(), *still.tolist()})
        count = graph.tensors[operator.outputs[0]].shape[-1]
        if dead:
            yield _dead(label, dead, len(proved), count, len(subject.pictures))
        if values is not None:
            faint = [int(one) for one in _faint(values, tensor) if one not in dead]
            if faint:
                yield _too_small(label, faint, count, values)


def _dead(label: str, dead: Sequence[int], proved: int, count: int, pictures: int) -> Finding:
    seen = len(dead) - proved
    reasons = []
    if proved:
        reasons.append(f"all weights of {proved} are 0")
    if seen:
        reasons.append(f"{seen} hold one value on all {pictures} images")
    return Finding(
        code="QSR701",
        where=label,
        problem=f"{len(dead)} of {count} channels ({_listed(dead)}): {', '.join(reasons)}",
        advice="remove them, which costs nothing and saves their share of the run time, or give "
        "them new weights by training on with stages.N.revive_dead_channels",
        evidence={"dead_channels": len(dead), "channels": count, "proved_by_weights": proved},
    )


def _too_small(label: str, faint: Sequence[int], count: int, values: TensorValues) -> Finding:
    spans = (values.maximum - values.minimum)[list(faint)]
    low, high = values.span
    return Finding(
        code="QSR702",
        where=label,
        problem=f"{len(faint)} of {count} channels ({_listed(faint)}) vary by less than one step "
        f"of the grid that all share, {spans.min():.2g} and more where the tensor spans "
        f"{low:.4g}..{high:.4g}: in 8 bits they are nearly constant",
        advice="level the channels with qsr quantize --equalize where ReLU or PReLU lies between "
        "convolutions",
        evidence={
            "faint_channels": len(faint),
            "channels": count,
            "smallest_span": float(spans.min()),
            "minimum": low,
            "maximum": high,
        },
    )


def _activated(graph: Graph, operator: Operator) -> Tensor:
    """Return what a convolution makes, after an activation of its own if that is all it is for."""
    index = operator.outputs[0]
    readers = graph.consumers[index]
    if len(readers) == 1 and readers[0].kind in _ACTIVATIONS and index != graph.output_index:
        index = readers[0].outputs[0]
    return graph.tensors[index]


def _without_weights(graph: Graph, operator: Operator) -> NDArray[np.int64]:
    """Return the output channels of a convolution whose weights are all 0."""
    weights = real_constant(graph, operator.inputs[1])
    if weights is None:
        return np.zeros(0, np.int64)
    axis = CHANNEL_AXIS[operator.kind]
    rows = np.moveaxis(weights, axis, 0).reshape(weights.shape[axis], -1)
    dead: NDArray[np.int64] = np.flatnonzero(~rows.any(axis=1))
    return dead


def _constant(values: TensorValues) -> NDArray[np.int64]:
    """Return the channels that hold one value everywhere."""
    still: NDArray[np.int64] = np.flatnonzero(values.minimum == values.maximum)
    return still


def _faint(values: TensorValues, tensor: Tensor) -> NDArray[np.int64]:
    """Return the channels that vary by less than a step of the grid that all channels share."""
    low, high = values.span
    step = (max(high, 0.0) - min(low, 0.0)) / _STEPS
    if tensor.scale.size == 1:
        step = 1.5 * float(tensor.scale[0])  # a channel of two neighbouring integers
    faint: NDArray[np.int64] = np.flatnonzero(values.maximum - values.minimum < step)
    return faint


def _listed(channels: Sequence[int]) -> str:
    """Name channels, the first few of them."""
    shown = ", ".join(str(one) for one in channels[:_SHOWN])
    return shown if len(channels) <= _SHOWN else f"{shown}, ..."
