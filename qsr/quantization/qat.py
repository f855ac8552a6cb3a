"""Quantization-aware training of a float ``.tflite`` model: before it, and after."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tf_keras

from qsr.atomic import replacing
from qsr.calibration.quantize import quantize
from qsr.calibration.ranges import Ranges
from qsr.quantization.fake_quantization import quantization_aware, quantized_layer, trained_range
from qsr.quantization.shared_grids import SharedGrid, picture_addends, shared_grids
from qsr.quantization.trainable import TrainableModel, trainable_model
from qsr.tflite.float_view import real_ends
from qsr.tflite.graph import Graph


@dataclass(frozen=True)
class QuantizationAwareModel:
    """A network that is trained with the errors that 8 bits will make.

    Attributes:
        keras: the model to train, from ``(N, h, w, 3)`` to ``(N, scale*h, scale*w, 3)``,
            ``float32``. Its weights hold the weights of the network and the ranges of activations.
        trainable: the float model that it was made of.
        grids: of the activations, as they were at first.
        ranges: of all activations, as they were at first.
    """

    keras: tf_keras.Model
    trainable: TrainableModel
    grids: tuple[SharedGrid, ...]
    ranges: Ranges

    def exported(self) -> tuple[bytes, Ranges]:
        """Return the float ``.tflite`` model with the weights of now, and the ranges of now.

        Quantizing the one with the other gives the integer model that was trained, but for the
        rounding of its weights, which were trained unrounded.
        """
        weights, spans = {}, {}
        graph = self.trainable.graph
        grid_of = {name: grid for grid in self.grids for name in grid.tensors}
        for operator in graph.operators:
            layer = quantized_layer(self.keras, operator)
            if layer is None:
                continue
            if layer.layer.trainable:
                weights[layer.layer.name] = layer.layer.get_weights()
            result = graph.tensors[operator.outputs[0]].name
            if not grid_of[result].fixed and (span := trained_range(layer)) is not None:
                spans.update(dict.fromkeys(grid_of[result].tensors, span))
        return self.trainable.exported(weights), self.ranges.with_known(spans)


def quantization_aware_model(
    model: bytes, ranges: Ranges, *, train_ranges: bool = True, source: str = "model"
) -> QuantizationAwareModel:
    """Make a model that can be trained with quantization in mind.

    Every activation is rounded to TFLite's grid in every step. Weights are to be rounded after
    training (:func:`qsr.quantization.weight_rounding.round_weights`; kernels of TRANSPOSE_CONV and
    slopes of PRELU the quantizer rounds to the nearest). The grids of input and output are those of
    a picture and stay. So does the range of what is added to a picture: a step near the picture's
    is best there (:func:`picture_addends`), and a gradient does not see why. A frozen
    nearest-neighbour kernel stays, too.

    Args:
        model: content of a float ``.tflite`` file, of pictures in 0..1.
        ranges: of its activations, such as ``RangeTable.merged`` or a search gives.
        train_ranges: whether they are only the start, and are trained; if not, they are exported as
            they are.
        source: named in errors.

    Raises:
        ModelError: damaged, or an operator cannot be trained through.
    """
    graph = Graph(model, source=source)
    trainable = trainable_model(graph, source=source)
    stay = picture_addends(graph).keys()
    grids = tuple(
        replace(grid, fixed=grid.fixed or not train_ranges or bool(stay & set(grid.tensors)))
        for grid in shared_grids(graph, ranges)
    )
    if not train_ranges:
        grids = _as_quantized(grids, quantize(model, ranges, source=source))
    return QuantizationAwareModel(quantization_aware(trainable, grids), trainable, grids, ranges)


def _as_quantized(grids: Sequence[SharedGrid], integer: bytes) -> tuple[SharedGrid, ...]:
    """Return grids with the ends they have in an integer model.

    Where the ranges of tensors that share a grid differ, TFLite takes that of one of them.
    """
    lowest, highest = np.iinfo(np.int8).min, np.iinfo(np.int8).max
    ends = {
        tensor.name: real_ends(float(tensor.scale[0]), int(tensor.zero_point[0]), lowest, highest)
        for tensor in Graph(integer).activations
        if tensor.quantized and tensor.dtype == "int8"
    }
    found = []
    for grid in grids:
        low, high = next(
            (ends[name] for name in grid.tensors if name in ends), (grid.minimum, grid.maximum)
        )
        found.append(replace(grid, minimum=low, maximum=high))
    return tuple(found)


def save_weights(keras: tf_keras.Model, path: Path) -> None:
    """Write all weights of a model, ranges too, to an ``.npz`` file, whole or not at all."""
    with replacing(path) as unfinished, unfinished.open("wb") as file:
        np.savez(file, *keras.get_weights())


def load_weights(keras: tf_keras.Model, path: Path) -> None:
    """Give a model the weights that :func:`save_weights` wrote of one like it."""
    with np.load(path) as stored:
        keras.set_weights([stored[name] for name in stored.files])
