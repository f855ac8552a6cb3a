"""Weights rounded so that a layer's output comes closest to the float model's.

TFLite rounds each weight to the nearest number of its grid. That is the least change of the
weights, not of what the layer gives (Nagel et al., 2020, "Up or Down? Adaptive Rounding for
Post-Training Quantization"). Here each layer is fitted by least squares, in order of execution: its
inputs are what the integer model, as rounded so far, makes of pictures, its output should be what
the float model makes of them. So a layer makes up for its own rounding, and for that of the layers
before it. Grids stay as they are, and every weight an integer.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsr.errors import ModelError, UsageError
from qsr.quantization.bias_correction import is_integer_bias
from qsr.quantization.chains import bias_of
from qsr.quantization.integer_least_squares import Rows, closest_integers, squared_errors
from qsr.quantization.patches import Window, window_of
from qsr.tflite.graph import Graph, Operator
from qsr.tflite.io_grid import copies_channels
from qsr.tflite.runtime import Image, ModelFacts, Runner, inspect_model, to_input

_KINDS = {"CONV_2D", "DEPTHWISE_CONV_2D"}

_LARGEST = 127
"""TFLite's weights are symmetric: -127 to 127."""

_PIXELS = 100_000
"""So many output pixels are fitted, over all pictures: hundreds for each weight of a channel."""

_RIDGE = 0.01
"""How much a weight is held at its float value, relative to the mean square of what it multiplies:
what the pictures hardly show stays as the float network has it."""


def round_weights(
    float_model: bytes, integer_model: bytes, images: Sequence[Image], *, source: str = "model"
) -> bytes:
    """Change the weights and biases of an integer model so that its layers give what they should.

    On the pixels that are fitted, no channel of a layer is farther from the float model, in squared
    error before its activation and rounding, than with the weights it had. Convolutions that copy
    channels keep their weights, as does TRANSPOSE_CONV, and layers that are in float.

    Args:
        float_model: content of the float ``.tflite`` file.
        integer_model: content of the ``.tflite`` file that the quantizer made of it.
        images: LR pictures ``(h, w, 3)`` ``uint8``.
        source: named in errors.

    Returns:
        Content of an integer ``.tflite`` file; the same bytes if no weight changes.

    Raises:
        ModelError: a model cannot be read or run, or they have different layers.
        UsageError: no image.
    """
    if not images:
        raise UsageError("no images to fit weights on")
    reference = _Source(Graph(float_model, source=source), inspect_model(float_model), source)
    facts = inspect_model(integer_model, source=source)
    whole = Runner(float_model, reference.facts, source=source)
    pieces = [piece for image in images for piece in whole.pieces(image)]
    pieces.sort(key=lambda piece: piece.shape)  # TFLite plans its memory anew for each new size
    graph = Graph(integer_model, source=source)
    for place, twin in _layers(reference.graph, graph, source):
        layer = _layer(graph, graph.operators[place])
        if layer is None:
            continue
        values = _fitted(layer, _Source(graph, facts, source), twin, reference, pieces)
        if values:
            graph = Graph(graph.with_constants(values), source=source)
    return graph.model


@dataclass(frozen=True)
class _Source:
    """A model whose tensors can be read on pictures.

    Attributes:
        graph: of the model.
        facts: what it takes and gives.
        name: named in errors.
    """

    graph: Graph
    facts: ModelFacts
    name: str

    def values(self, index: int, pieces: Sequence[Image]) -> Iterator[NDArray[np.float32]]:
        """Yield a tensor's values on each picture, ``(h, w, channels)``, less their zero point."""
        tensor = self.graph.tensors[index]
        zero = np.float32(tensor.zero_point[0] if tensor.quantized else 0)
        if index == self.graph.input_index:
            for piece in pieces:
                values = to_input(piece, self.facts.input_dtype, self.facts.value_max)
                yield values[0].astype(np.float32) - zero
            return
        runner = Runner(self.graph.pruned([index]), self.facts, source=self.name)
        for piece in pieces:
            runner.run(piece)
            yield runner.tensor(index)[0].astype(np.float32) - zero


@dataclass(frozen=True)
class _Layer:
    """An integer convolution whose weights can be chosen.

    Attributes:
        operator: in the integer model.
        window: how it moves.
        kernel: ``(out, height, width, in)``: stored weights.
        weight_scale: ``(out,)``: real weight over stored weight.
        channels: of the tensor that it reads.
        input_scale: of that tensor.
        bias: ``(out,)``: stored biases; zeros if it has none.
        bias_index: tensor number of the bias, if it can be chosen.
    """

    operator: Operator
    window: Window
    kernel: NDArray[np.int8]
    weight_scale: NDArray[np.float64]
    channels: int
    input_scale: float
    bias: NDArray[Any]
    bias_index: int | None

    @cached_property
    def groups(self) -> list[NDArray[np.intp]]:
        """The outputs that read the same input channels, group by group."""
        return np.split(np.arange(len(self.kernel)), self.channels // self.kernel.shape[3])

    def columns(self, patches: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Return what the kernels of each group are multiplied by, a row for each pixel."""
        parts = np.split(patches, len(self.groups), axis=3)
        return [part.reshape(len(part), -1) for part in parts]

    @property
    def steps(self) -> NDArray[np.float64]:
        """``(out,)``: by how much the output changes per step of a weight and an input."""
        return self.weight_scale * self.input_scale


@dataclass(frozen=True)
class _True:
    """What a layer is in the float model.

    Attributes:
        kernel: ``(out, height, width, in)``.
        bias: ``(out,)``; zeros if it has none.
    """

    kernel: NDArray[np.float32]
    bias: NDArray[np.float32]

    @staticmethod
    def of(graph: Graph, operator: Operator) -> "_True":
        """Read an operator of the float model."""
        kernel = _turned(operator, graph.constant(operator.inputs[1]))
        index = bias_of(operator)
        bias = np.zeros(len(kernel), np.float32) if index is None else graph.constant(index)
        return _True(kernel, bias)

    def weights(self, outputs: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return the weights of some outputs, a row for each."""
        return self.kernel[outputs].reshape(len(outputs), -1)


def _layers(float_graph: Graph, graph: Graph, source: str) -> Iterator[tuple[int, Operator]]:
    """Yield the place of each convolution of the integer model, and the float model's operator.

    TFLite's quantizers keep layers in their order.
    """
    ours, theirs = (
        [one for one in of.operators if one.kind in _KINDS] for of in (graph, float_graph)
    )
    shapes = [
        [(one.kind, of.tensors[one.inputs[1]].shape) for one in found]
        for of, found in ((graph, ours), (float_graph, theirs))
    ]
    if shapes[0] != shapes[1]:
        raise ModelError(
            f"{source}: the integer model has other convolutions than the float model; give the "
            "float model that it was made of"
        )
    for operator, twin in zip(ours, theirs, strict=True):
        stored = float_graph.tensors[twin.inputs[1]]
        if stored.constant and stored.dtype == "float32" and not copies_channels(float_graph, twin):
            yield operator.index, twin


def _layer(graph: Graph, operator: Operator) -> _Layer | None:
    """Return a layer whose weights can be chosen, or None."""
    data, kernel = (graph.tensors[index] for index in operator.inputs[:2])
    alone = graph.consumers[kernel.index] == (operator,)
    if not kernel.constant or kernel.dtype != "int8" or not alone or kernel.zero_point.any():
        return None
    if not data.quantized:
        return None
    weights = _turned(operator, graph.constant(kernel.index))
    bias, free = bias_of(operator), None
    stored = np.zeros(len(weights), np.int32)
    if bias is not None:
        stored = graph.constant(bias)
        free = bias if is_integer_bias(graph, bias) else None
    return _Layer(
        operator,
        window_of(graph, operator),
        weights,
        np.broadcast_to(kernel.scale.astype(np.float64), (len(weights),)),
        data.shape[-1],
        float(data.scale[0]),
        stored,
        free,
    )


def _fitted(
    layer: _Layer, tested: _Source, twin: Operator, reference: _Source, pieces: Sequence[Image]
) -> dict[int, NDArray[Any]]:
    """Return the stored values of a layer that fit best, by tensor number; those that change."""
    true = _True.of(reference.graph, twin)
    sums = [_Sums.zero(true.kernel[0].size, len(outputs)) for outputs in layer.groups]
    random = np.random.default_rng(0)
    each = -(-_PIXELS // len(pieces))
    for found, wanted in zip(
        tested.values(layer.operator.inputs[0], pieces),
        reference.values(twin.inputs[0], pieces),
        strict=True,
    ):
        height, width = layer.window.output_size(*found.shape[:2])
        rows, columns = np.divmod(random.permutation(height * width)[:each], max(width, 1))
        ours = layer.columns(layer.window.patches(found, rows, columns))
        theirs = layer.columns(layer.window.patches(wanted, rows, columns))
        for part, outputs, read, ideal in zip(sums, layer.groups, ours, theirs, strict=True):
            part.add(read, ideal @ true.weights(outputs).T + true.bias[outputs])
    kernel, bias = layer.kernel.copy(), layer.bias.copy()
    for outputs, part in zip(layer.groups, sums, strict=True):
        weights, bias[outputs] = _solved(layer, outputs, part, true.weights(outputs))
        kernel[outputs] = weights.reshape(kernel[outputs].shape)
    values: dict[int, NDArray[Any]] = {}
    if (kernel != layer.kernel).any():
        values[layer.operator.inputs[1]] = _turned(layer.operator, kernel)
    if layer.bias_index is not None and (bias != layer.bias).any():
        values[layer.bias_index] = bias
    return values


@dataclass
class _Sums:
    """Sums over pixels of what a group of channels reads (x, and a 1 for the bias) and wants (y).

    Attributes:
        gram: ``(n + 1, n + 1)``: sum of ``x x^T``.
        cross: ``(out, n + 1)``: sum of ``y x^T``.
    """

    gram: Rows
    cross: Rows

    @staticmethod
    def zero(inputs: int, outputs: int) -> "_Sums":
        """Return the sums over no pixel."""
        return _Sums(np.zeros((inputs + 1, inputs + 1)), np.zeros((outputs, inputs + 1)))

    def add(self, read: NDArray[np.float32], wanted: NDArray[np.floating]) -> None:
        """Add pixels: ``(pixels, n)`` and ``(pixels, out)``."""
        read = np.concatenate([read, np.ones((len(read), 1), np.float32)], axis=1)
        self.gram += read.T @ read
        self.cross += wanted.astype(np.float32).T @ read


def _solved(
    layer: _Layer,
    outputs: NDArray[np.intp],
    sums: _Sums,
    true: NDArray[np.float32],
) -> tuple[Rows, Rows]:
    """Return the stored weights ``(out, n)`` and biases ``(out,)`` of one group that fit best.

    With a bias, the best one follows from the weights, ``(sum y - w * sum x) / pixels``; what is
    left to fit are both sides less their means.
    """
    steps = layer.steps[outputs][:, None]
    stored = layer.kernel[outputs].reshape(len(outputs), -1).astype(np.float64)
    stored_bias = layer.bias[outputs].astype(np.float64)
    free = layer.bias_index is not None
    if not sums.gram[-1, -1]:  # pictures smaller than the kernel, and no padding
        return stored, stored_bias
    gram, cross = sums.gram, sums.cross
    count = len(gram) - 1
    mean, pixels = gram[:count, count], gram[count, count]
    inner, outer = gram[:count, :count], cross[:, :count]
    if free:
        inner = inner - np.outer(mean, mean) / pixels
        outer = outer - np.outer(cross[:, count], mean) / pixels
    else:
        outer = outer - np.outer(stored_bias * steps[:, 0], mean)
    held = _RIDGE * max(float(gram.diagonal()[:count].mean()), 1.0)
    start = true * layer.input_scale
    metric = inner + held * np.eye(count)
    best = np.linalg.solve(metric, (outer + held * start).T).T
    found = closest_integers(metric, best / steps, stored, _LARGEST)
    biases = stored_bias
    if free:
        real = (cross[:, count] - (found * steps) @ mean) / pixels
        ends = np.iinfo(layer.bias.dtype)
        biases = np.rint(real / steps[:, 0]).clip(ends.min, ends.max)
    old, new = (
        _error(sums, np.concatenate([weights, bias[:, None]], axis=1) * steps)
        for weights, bias in ((stored, stored_bias), (found, biases))
    )
    better = new < old
    return np.where(better[:, None], found, stored), np.where(better, biases, stored_bias)


def _error(sums: _Sums, values: Rows) -> NDArray[np.float64]:
    """Return the squared error of each output, less the sum of ``y**2``, for real weights."""
    error: NDArray[np.float64] = squared_errors(sums.gram, values) - 2 * np.einsum(
        "on,on->o", sums.cross, values
    )
    return error


def _turned(operator: Operator, kernel: NDArray[Any]) -> NDArray[Any]:
    """Turn a kernel from how TFLite stores it to ``(out, height, width, in)``, or back."""
    return kernel.transpose(3, 1, 2, 0) if operator.kind == "DEPTHWISE_CONV_2D" else kernel
