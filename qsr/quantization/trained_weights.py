"""Weights of a float ``.tflite`` model, back in the Keras network that it was converted from."""

import numpy as np
import tf_keras
from numpy.typing import NDArray

from qsr.quantization.trainable import as_trained, stored_weights
from qsr.tflite.graph import Graph, Operator
from qsr.tflite.io_grid import copies_channels


def take_weights(network: tf_keras.Model, model: bytes) -> bool:
    """Give a Keras network the weights of a float model.

    Layers are found by name: the converter calls a layer's constants ``network/layer/...``.

    Args:
        network: the model's network; changed only if every layer is found.
        model: content of a float ``.tflite`` file that was converted from such a network, whatever
            was done to its weights since.

    Returns:
        Whether all trainable weights were found; they are not in a model of other names.
    """
    graph = Graph(model)
    layers = {layer.name: layer for layer in network.layers if layer.trainable_weights}
    found: dict[str, list[NDArray[np.float32]]] = {}
    for operator in graph.operators:
        indices = stored_weights(operator)
        if indices:
            layer = layers.get(_layer(graph, indices[0]))
            if layer is None and copies_channels(graph, operator):
                continue  # a frozen kernel
            if layer is None:
                return False
            weights = [_as_keras(graph, operator, index) for index in indices]
            found[layer.name] = weights[: len(layer.get_weights())]
    if [one.shape for name in layers for one in found.get(name, ())] != [
        tuple(one.shape) for layer in layers.values() for one in layer.weights
    ]:
        return False
    for name, weights in found.items():
        layers[name].set_weights(weights)
    return True


def _layer(graph: Graph, index: int) -> str:
    """Return the name of the layer that a constant was converted from, as its own has it."""
    first, *_ = graph.tensors[index].name.split(";")
    _, _, inside = first.partition("/")
    return inside.partition("/")[0]


def _as_keras(graph: Graph, operator: Operator, index: int) -> NDArray[np.float32]:
    """Return a stored weight in the shape that Keras gives it."""
    values = as_trained(graph, operator, index)
    transposed = operator.kind == "TRANSPOSE_CONV" and index == operator.inputs[1]
    return values.swapaxes(2, 3) if transposed else values
