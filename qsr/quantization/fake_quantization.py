"""What 8 bits will do to a network, while it is trained: quantizers for tfmot.

Activations are rounded to their grids in every step, and gradients pass the rounding as if it were
not there. Their ranges can be trained as well (Esser et al., 2020, "Learned Step Size
Quantization"; with a zero point: Bhalgat et al., 2020, "LSQ+", section 3). Weights are not rounded
here: they are after training, once, and together (:mod:`qsr.quantization.weight_rounding`).
"""

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

import tensorflow as tf
import tf_keras
from tensorflow_model_optimization.quantization import keras as tfmot

from qsr.quantization.shared_grids import KEEPS_GRID, SharedGrid
from qsr.quantization.trainable import OperatorLayer, TrainableModel, layer_name
from qsr.tflite.graph import Operator

_LEAST_SPAN = 1e-6
_RANGE_GAIN = 20.0  # a step of 1e-4, usual for fine-tuning weights, moves an end by 0.2 %
_LOW, _HIGH = "range_low", "range_high"

_ends_of_grids: ContextVar[dict[int, dict[str, tf.Variable]]] = ContextVar("ends of grids")
"""What the ranges of the model that is being built are computed from, by grid."""
_PREFIX = "quant_"  # the toolkit's


@tf.custom_gradient
def fake_quantize(
    values: tf.Tensor, minimum: tf.Tensor, maximum: tf.Tensor
) -> tuple[tf.Tensor, Any]:
    """Round values to the 256 levels of an asymmetric grid.

    The grid is TFLite's: scale ``(maximum - minimum) / 255``, and a whole zero point. Its gradient
    is that of LSQ+ (equations 4 and 5): values inside pass it on, their rounding errors change the
    scale, and values that are cut off move the end that cuts them.

    Args:
        values: ``float32`` of any shape.
        minimum: the smallest value of the grid, 0 or below.
        maximum: the largest, 0 or above.
    """
    rounded = tf.quantization.fake_quant_with_min_max_vars(values, minimum, maximum)

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        below = tf.cast(values < minimum, upstream.dtype)
        above = tf.cast(values > maximum, upstream.dtype)
        inside = upstream * (1.0 - below - above)
        of_span = tf.reduce_sum(inside * (rounded - values)) / (maximum - minimum)
        of_minimum = tf.reduce_sum(upstream * below) - of_span
        of_maximum = tf.reduce_sum(upstream * above) + of_span
        return inside, of_minimum, of_maximum

    return rounded, gradient


class RangeQuantizer(tfmot.quantizers.Quantizer):
    """Gives an activation the grid of a range that is trained with the network, or stays.

    What is trained of an end is the logarithm of its growth, enlarged: so an optimizer whose steps
    suit weights moves ranges by shares of what they are, and no end ever changes its sign.

    Activations of one grid, such as those that are concatenated, have one range: it belongs to the
    first layer of them that is built.

    Args:
        grid: number of the grid.
        minimum: smallest value of the range at first, 0 or below.
        maximum: largest value at first, 0 or above.
        fixed: leave the range as it is.
    """

    def __init__(self, grid: int, minimum: float, maximum: float, *, fixed: bool) -> None:
        self.grid = grid
        self.minimum, self.maximum, self.fixed = minimum, maximum, fixed

    def build(self, tensor_shape: Any, name: str, layer: tf_keras.layers.Layer) -> dict[str, Any]:
        """Create what the ends of the range are computed from, or find that of the same grid."""
        del tensor_shape, name
        built = _ends_of_grids.get()
        if self.grid not in built:
            built[self.grid] = {
                end: layer.add_weight(
                    name=end, initializer="zeros", trainable=not self.fixed and value != 0.0
                )
                for end, value in ((_LOW, self.minimum), (_HIGH, self.maximum))
            }
        return built[self.grid]

    def __call__(
        self,
        inputs: tf.Tensor,
        training: bool,  # noqa: FBT001 (as the toolkit calls it)
        weights: Mapping[str, tf.Variable],
        **_: Any,
    ) -> tf.Tensor:
        """Round the activation to its grid."""
        del training
        low, high = self.ends(weights[_LOW], weights[_HIGH])
        return fake_quantize(inputs, low, high)

    def ends(self, low: tf.Tensor, high: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the range for the weights that :meth:`build` created."""
        span = max(self.maximum - self.minimum, _LEAST_SPAN)
        least = self.minimum * tf.exp(_RANGE_GAIN * low)
        return least, tf.maximum(self.maximum * tf.exp(_RANGE_GAIN * high), least + span / 1e3)

    def get_config(self) -> dict[str, Any]:
        """Return what rebuilds this quantizer."""
        return {
            "grid": self.grid,
            "minimum": self.minimum,
            "maximum": self.maximum,
            "fixed": self.fixed,
        }


class OperatorConfig(tfmot.QuantizeConfig):
    """Says to the toolkit what of an operator is rounded: its result.

    Args:
        grid: number of the result's grid.
        minimum: smallest value of the result's range.
        maximum: its largest.
        fixed: whether that range stays.
    """

    def __init__(self, *, grid: int, minimum: float, maximum: float, fixed: bool) -> None:
        self.grid = grid
        self.minimum, self.maximum, self.fixed = minimum, maximum, fixed

    def get_weights_and_quantizers(self, layer: Any) -> list[tuple[Any, Any]]:
        """Name no weight: they are rounded after training."""
        del layer
        return []

    def set_quantize_weights(self, layer: Any, quantize_weights: list[Any]) -> None:
        """Change nothing."""
        del layer, quantize_weights

    def get_activations_and_quantizers(self, layer: Any) -> list[tuple[Any, Any]]:
        """Name no activation: those that are fused are part of the operator."""
        del layer
        return []

    def set_quantize_activations(self, layer: Any, quantize_activations: list[Any]) -> None:
        """Change nothing."""
        del layer, quantize_activations

    def get_output_quantizers(self, layer: Any) -> list[Any]:
        """Return the quantizer of the result."""
        del layer
        return [RangeQuantizer(self.grid, self.minimum, self.maximum, fixed=self.fixed)]

    def get_config(self) -> dict[str, Any]:
        """Return what rebuilds this description."""
        return {
            "grid": self.grid,
            "minimum": self.minimum,
            "maximum": self.maximum,
            "fixed": self.fixed,
        }


def quantization_aware(trainable: TrainableModel, grids: tuple[SharedGrid, ...]) -> tf_keras.Model:
    """Return a copy of a model that rounds activations as its integer model will.

    Args:
        trainable: the float model.
        grids: of its activations.

    Returns:
        A Keras model of the same inputs and outputs, with copies of the weights.
    """
    graph = trainable.graph
    grid_of = {name: grid for grid in grids for name in grid.tensors}
    configs = {}
    for operator in graph.operators:
        if operator.kind in KEEPS_GRID:
            continue
        grid = grid_of.get(graph.tensors[operator.outputs[0]].name)
        if grid is not None:
            configs[layer_name(operator)] = OperatorConfig(
                grid=grids.index(grid),
                minimum=grid.minimum,
                maximum=grid.maximum,
                fixed=grid.fixed,
            )

    def annotated(layer: tf_keras.layers.Layer) -> tf_keras.layers.Layer:
        copy = type(layer).from_config(layer.get_config())
        config = configs.get(layer.name)
        return copy if config is None else tfmot.quantize_annotate_layer(copy, config)

    model = tf_keras.models.clone_model(trainable.keras, clone_function=annotated)
    model.set_weights(trainable.keras.get_weights())
    with tfmot.quantize_scope(
        {
            "OperatorLayer": OperatorLayer,
            "OperatorConfig": OperatorConfig,
            "RangeQuantizer": RangeQuantizer,
        }
    ):
        token = _ends_of_grids.set({})
        try:
            aware = tfmot.quantize_apply(model)
        finally:
            _ends_of_grids.reset(token)
    _pin_input(aware, grid_of[graph.input.name])
    return aware


def quantized_layer(aware: tf_keras.Model, operator: Operator) -> tf_keras.layers.Layer | None:
    """Return what computes an operator and rounds its result; None if nothing is rounded there."""
    name = _PREFIX + layer_name(operator)
    return next((layer for layer in aware.layers if layer.name == name), None)


def trained_range(layer: tf_keras.layers.Layer) -> tuple[float, float] | None:
    """Return the range that a quantized layer's grid has now; None if another layer has it."""
    (quantizer,) = layer.quantize_config.get_output_quantizers(layer.layer)
    named = {weight.name.split(":")[0].split("/")[-1]: weight for weight in layer.weights}
    if _LOW not in named:
        return None
    low, high = quantizer.ends(named[_LOW], named[_HIGH])
    return float(low), float(high)


def _pin_input(model: tf_keras.Model, grid: SharedGrid) -> None:
    """Give the picture its grid: the toolkit's own quantizer would look for its range."""
    for layer in model.layers:
        for weight in layer.weights if type(layer).__name__ == "QuantizeLayer" else ():
            if weight.name.endswith("_min:0"):
                weight.assign(grid.minimum)
            elif weight.name.endswith("_max:0"):
                weight.assign(grid.maximum)
