"""A float ``.tflite`` model as a Keras model, operator by operator, whose weights can be trained.

What is trained is the very graph that will be quantized: as the converter has fused it, and after
equalization. Its weights then go back into the file.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from qsr.errors import ModelError
from qsr.tflite.graph import Graph, Operator
from qsr.tflite.io_grid import copies_channels

_NOT_REAL = {"int32", "int64", "bool"}

_PADDINGS = {schema.Padding.SAME: "SAME", schema.Padding.VALID: "VALID"}

_FUSED = {
    schema.ActivationFunctionType.NONE: "linear",
    schema.ActivationFunctionType.RELU: "relu",
    schema.ActivationFunctionType.RELU6: "relu6",
}
"""Activations that TFLite computes inside another operator, as Keras calls them."""

_AS_TRAINED = (1, 2, 3, 0)  # (out, height, width, in) to (height, width, in, out)
_AS_STORED = (3, 0, 1, 2)
_WEIGHTS = {"CONV_2D": (1, 2), "TRANSPOSE_CONV": (1, 3), "PRELU": (1,)}
"""Which inputs of an operator are trained: the kernel, or slopes, and the bias."""

Tensors = Sequence[tf.Tensor]


@dataclass(frozen=True)
class TrainableModel:
    """A Keras model that computes what a float ``.tflite`` model does.

    Attributes:
        keras: from ``(N, h, w, 3)`` to ``(N, scale*h, scale*w, 3)``, ``float32``. Each layer
            computes one operator and is named after it: its kind, and its place in the file.
        graph: the model that it was made of.
    """

    keras: tf_keras.Model
    graph: Graph

    def exported(self, weights: Mapping[str, Sequence[NDArray[np.float32]]]) -> bytes:
        """Return the ``.tflite`` model with other weights.

        Args:
            weights: name of a layer to its weights, as its ``get_weights`` gives them; layers that
                are not named keep those of the file.
        """
        values: dict[int, NDArray[np.float32]] = {}
        for operator in self.graph.operators:
            indices = stored_weights(operator)
            for index, weight in zip(indices, weights.get(layer_name(operator), ()), strict=False):
                kernel = _is_kernel(operator, index)
                values[index] = weight.transpose(_AS_STORED) if kernel else weight
        return self.graph.with_constants(values)


def trainable_model(graph: Graph, *, source: str = "model") -> TrainableModel:
    """Make a Keras model of a float model.

    A convolution that only copies channels, such as the frozen nearest-neighbour kernel of XCAT,
    stays frozen.

    Args:
        graph: a float model of the operators that networks for super-resolution are made of.
        source: named in errors.

    Raises:
        ModelError: it has an operator that cannot be trained through, or two share weights.
    """
    _check_not_shared(graph, source)
    picture = tf_keras.Input((None, None, graph.input.shape[-1]), name="picture")
    values: dict[int, Any] = {graph.input_index: picture}
    for operator in graph.operators:
        if all(graph.tensors[index].dtype in _NOT_REAL for index in operator.outputs):
            continue  # sizes, which the layers that need them work out themselves
        indices = stored_weights(operator)
        layer = OperatorLayer(
            operator.kind,
            _settings(graph, operator, source),
            [as_trained(graph, operator, index).shape for index in indices],
            name=layer_name(operator),
            trainable=not copies_channels(graph, operator),
        )
        result = layer([values[index] for index in operator.inputs if index in values])
        layer.set_weights([as_trained(graph, operator, index) for index in indices])
        results = result if isinstance(result, list) else [result]
        values.update(zip(operator.outputs, results, strict=True))
    model = tf_keras.Model(picture, values[graph.output_index], name="trainable")
    return TrainableModel(model, graph)


def layer_name(operator: Operator) -> str:
    """Return the name of the layer that computes an operator."""
    return f"{operator.kind.lower()}_{operator.index}"


class OperatorLayer(tf_keras.layers.Layer):
    """Computes one operator of a ``.tflite`` model.

    Args:
        kind: TFLite's name of it.
        settings: its options and constants, as plain numbers, text and lists.
        shapes: of its weights.
        **options: options of every Keras layer.
    """

    def __init__(
        self,
        kind: str,
        settings: Mapping[str, Any],
        shapes: Sequence[Sequence[int]],
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.kind, self.settings = kind, dict(settings)
        self.shapes = [tuple(shape) for shape in shapes]
        self.values = [
            self.add_weight(name=f"weight{place}", shape=shape, initializer="zeros")
            for place, shape in enumerate(self.shapes)
        ]

    def call(self, inputs: Tensors) -> Any:
        """Return what the operator makes of its inputs."""
        return _COMPUTED[self.kind](self.settings, self.values, tf.nest.flatten(inputs))

    def get_config(self) -> dict[str, Any]:
        """Return what rebuilds this layer."""
        own = {"kind": self.kind, "settings": self.settings, "shapes": self.shapes}
        return {**super().get_config(), **own}


def _convolution(settings: Mapping[str, Any], weights: Tensors, inputs: Tensors) -> tf.Tensor:
    kernel, *bias = weights
    result = tf.nn.conv2d(inputs[0], kernel, settings["strides"], settings["padding"])
    return tf_keras.activations.get(settings["activation"])(sum(bias, result))


def _transposed(settings: Mapping[str, Any], weights: Tensors, inputs: Tensors) -> tf.Tensor:
    kernel, *bias = weights
    shape = tf.shape(inputs[0])
    high, wide = settings["strides"]
    size = tf.stack([shape[0], shape[1] * high, shape[2] * wide, kernel.shape[-1]])
    kernel = tf.transpose(kernel, (0, 1, 3, 2))
    result = tf.nn.conv2d_transpose(inputs[0], kernel, size, settings["strides"], "SAME")
    return tf_keras.activations.get(settings["activation"])(sum(bias, result))


def _prelu(settings: Mapping[str, Any], weights: Tensors, inputs: Tensors) -> tf.Tensor:
    del settings
    return tf.nn.relu(inputs[0]) - weights[0] * tf.nn.relu(-inputs[0])


def _of_two(function: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]) -> Callable[..., tf.Tensor]:
    """Return how an operator of two inputs, of which one may be stored, is computed."""

    def compute(settings: Mapping[str, Any], weights: Tensors, inputs: Tensors) -> tf.Tensor:
        del weights
        operands = list(inputs)
        for place, values in settings["constants"]:
            operands.insert(place, tf.constant(values, tf.float32))
        return tf_keras.activations.get(settings["activation"])(function(*operands))

    return compute


def _of_one(function: Callable[[tf.Tensor], tf.Tensor]) -> Callable[..., tf.Tensor]:
    return lambda _, __, inputs: function(inputs[0])


_COMPUTED: dict[str, Callable[[Mapping[str, Any], Tensors, Tensors], Any]] = {
    "ADD": _of_two(tf.add),
    "CONCATENATION": lambda settings, _, inputs: tf.concat(inputs, settings["axis"]),
    "CONV_2D": _convolution,
    "DEPTH_TO_SPACE": lambda settings, _, inputs: tf.nn.depth_to_space(
        inputs[0], settings["block_size"]
    ),
    "MAXIMUM": _of_two(tf.maximum),
    "MINIMUM": _of_two(tf.minimum),
    "MUL": _of_two(tf.multiply),
    "PRELU": _prelu,
    "RELU": _of_one(tf.nn.relu),
    "RELU6": _of_one(tf.nn.relu6),
    "RELU_0_TO_1": _of_one(lambda values: tf.clip_by_value(values, 0.0, 1.0)),
    "SPLIT": lambda settings, _, inputs: tf.split(inputs[0], settings["parts"], settings["axis"]),
    "SPLIT_V": lambda settings, _, inputs: tf.split(inputs[0], settings["parts"], settings["axis"]),
    "SUB": _of_two(tf.subtract),
    "TANH": _of_one(tf.tanh),
    "TRANSPOSE_CONV": _transposed,
}
"""Each operator as a function of its settings, weights and inputs."""


def _settings(graph: Graph, operator: Operator, source: str) -> dict[str, Any]:
    """Return the options of an operator, and the constants that are not trained."""
    options, kind = operator.options, operator.kind
    fused = getattr(options, "fusedActivationFunction", schema.ActivationFunctionType.NONE)
    if kind not in _COMPUTED or fused not in _FUSED:
        raise ModelError(f"{source}: {layer_name(operator)} cannot be trained through")
    settings: dict[str, Any] = {"activation": _FUSED[fused]}
    if kind in {"CONV_2D", "TRANSPOSE_CONV"}:
        settings |= {
            "strides": [options.strideH, options.strideW],
            "padding": _PADDINGS[options.padding],
        }
        dilation = [getattr(options, f"dilation{side}Factor", 1) for side in "HW"]
        if dilation != [1, 1] or (kind == "TRANSPOSE_CONV" and settings["padding"] != "SAME"):
            raise ModelError(f"{source}: {layer_name(operator)} cannot be trained through")
    elif kind == "DEPTH_TO_SPACE":
        settings["block_size"] = options.blockSize
    elif kind == "CONCATENATION":
        settings["axis"] = options.axis
    elif kind == "SPLIT":
        settings |= {"parts": len(operator.outputs), "axis": _number(graph, operator.inputs[0])}
    elif kind == "SPLIT_V":
        settings |= {
            "parts": graph.constant(operator.inputs[1]).tolist(),
            "axis": _number(graph, operator.inputs[2]),
        }
    elif kind in {"ADD", "SUB", "MUL", "MINIMUM", "MAXIMUM"}:
        settings["constants"] = [
            (place, graph.constant(index).tolist())
            for place, index in enumerate(operator.inputs)
            if graph.tensors[index].constant
        ]
    return settings


def _number(graph: Graph, index: int) -> int:
    return int(graph.constant(index).reshape(()))


def stored_weights(operator: Operator) -> tuple[int, ...]:
    """Return the constant tensors of an operator that are trained."""
    places = [place for place in _WEIGHTS.get(operator.kind, ()) if place < len(operator.inputs)]
    return tuple(index for index in (operator.inputs[place] for place in places) if index >= 0)


def _check_not_shared(graph: Graph, source: str) -> None:
    """Raise ModelError if two operators that are trained have a weight in common."""
    owners: dict[int, Operator] = {}
    for operator in graph.operators:
        if copies_channels(graph, operator):
            continue
        for index in stored_weights(operator):
            owner = owners.setdefault(index, operator)
            if owner is not operator:
                raise ModelError(
                    f"{source}: {layer_name(owner)} and {layer_name(operator)} share weights "
                    f"({graph.tensors[index].name}), and cannot be trained apart"
                )


def _is_kernel(operator: Operator, index: int) -> bool:
    return operator.kind != "PRELU" and index == operator.inputs[1]


def as_trained(graph: Graph, operator: Operator, index: int) -> NDArray[np.float32]:
    """Return a stored weight in the shape that it is trained in."""
    values: NDArray[np.float32] = graph.constant(index)
    return values.transpose(_AS_TRAINED) if _is_kernel(operator, index) else values
