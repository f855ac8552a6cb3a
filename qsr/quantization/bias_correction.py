"""Bias correction: what quantization shifts on the average, the biases take back.

Rounded weights and slopes shift the mean of every channel (Nagel et al., 2019, "Data-Free
Quantization Through Weight Equalization and Bias Correction", section 4.2). With images at hand the
shift is measured (their appendix D): layer by layer, each on the corrected layers before it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from qsr.quantization.chains import bias_of
from qsr.quantization.channels import measure_channels
from qsr.tflite.graph import Graph, Tensor
from qsr.tflite.runtime import Image, Runner, inspect_model


def correct_biases(
    float_model: bytes, integer_model: bytes, images: Sequence[Image], *, source: str = "model"
) -> bytes:
    """Change the biases of an integer model so that its channels have the float model's means.

    The change is rounded to the bias's own grid: ``round(mean error / bias scale)``, in integers.
    Float values are cut to what the integer tensor's grid can hold, so that what clipping takes
    away shifts nothing.

    Args:
        float_model: content of the float ``.tflite`` file.
        integer_model: content of the ``.tflite`` file that the quantizer made of it.
        images: LR pictures ``(h, w, 3)`` ``uint8``.
        source: named in errors.

    Returns:
        Content of an integer ``.tflite`` file; the same bytes if no bias changes.

    Raises:
        ModelError: a model cannot be read or run.
        UsageError: no image.
    """
    float_graph, graph = Graph(float_model, source=source), Graph(integer_model, source=source)
    float_facts = inspect_model(float_model, source=source)
    facts = inspect_model(integer_model, source=source)
    corrected = integer_model
    for layer in _layers(float_graph, graph):
        result, twin = graph.tensors[layer.result], layer.float_result
        runner = Runner(float_graph.pruned([twin]), float_facts, source=source)
        wanted = measure_channels(runner, [twin], images, cut=_held_by(result))[twin].mean
        current = Graph(corrected, source=source)
        runner = Runner(current.pruned([result.index]), facts, source=source)
        found = measure_channels(runner, [result.index], images)[result.index].mean
        real = (found - result.zero_point[0]) * float(result.scale[0])
        bias = current.tensors[layer.bias]
        steps = np.rint((wanted - real) / bias.scale)
        if steps.any():
            stored = current.constant(bias.index) + steps
            ends = np.iinfo(bias.dtype)
            changed = np.clip(stored, ends.min, ends.max).astype(bias.dtype)
            corrected = current.with_constants({bias.index: changed})
    return corrected


@dataclass(frozen=True)
class _Layer:
    """Tensor numbers of a layer that has a bias.

    Attributes:
        bias: in the integer model.
        result: in the integer model.
        float_result: what stands for the result in the float model.
    """

    bias: int
    result: int
    float_result: int


def _layers(float_graph: Graph, graph: Graph) -> Iterator[_Layer]:
    """Yield the integer model's layers with a bias of their own, in order of execution.

    The quantizers keep the names of tensors, but for the output's.
    """
    by_name = {tensor.name: tensor.index for tensor in float_graph.activations}
    by_name = {name: index for name, index in by_name.items() if index in float_graph.producer}
    end = graph.output_index
    while end in graph.producer and graph.producer[end].kind in {"QUANTIZE", "DEQUANTIZE"}:
        end = graph.producer[end].inputs[0]
    for operator in graph.operators:
        bias, result = bias_of(operator), operator.outputs[0]
        if bias is None or not is_integer_bias(graph, bias):
            continue
        twin = by_name.get(graph.tensors[result].name)
        if result == end:
            twin = float_graph.output_index
        if twin is not None:
            yield _Layer(bias, result, twin)


def is_integer_bias(graph: Graph, index: int) -> bool:
    """Whether a tensor holds stored integers of a scale per channel, read by one operator."""
    tensor = graph.tensors[index]
    return (
        tensor.constant
        and tensor.dtype in {"int32", "int64"}
        and tensor.scale.size in {1, *tensor.shape}
        and len(graph.consumers[index]) == 1
    )


def _held_by(tensor: Tensor) -> tuple[float, float]:
    """Return the smallest and largest real number that an integer tensor can hold."""
    ends = np.iinfo(tensor.dtype)
    scale, zero_point = float(tensor.scale[0]), int(tensor.zero_point[0])
    return scale * (int(ends.min) - zero_point), scale * (int(ends.max) - zero_point)
