"""Weights of a float ``.tflite`` model, back in the Keras network that it was converted from."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from qsr.tflite.graph import Graph, Operator
from qsr.tflite.io_grid import copies_channels

if TYPE_CHECKING:
    import tf_keras

_AXES = {"CONV_2D": (1, 2, 3, 0), "TRANSPOSE_CONV": (1, 2, 0, 3)}
"""From TFLite's kernels, (out, height, width, in), to Keras's."""

_PLACES = {"CONV_2D": (1, 2), "TRANSPOSE_CONV": (1, 3), "PRELU": (1,)}
"""Which inputs of an operator are its layer's weights, in Keras's order."""


def take_weights(network: "tf_keras.Model", model: bytes) -> bool:
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
        if operator.kind in _PLACES:
            layer = layers.get(_layer(graph, operator))
            if layer is None and copies_channels(graph, operator):
                continue  # a frozen kernel
            if layer is None:
                return False
            found[layer.name] = _weights(graph, operator)[: len(layer.get_weights())]
    if [one.shape for name in layers for one in found.get(name, ())] != [
        tuple(one.shape) for layer in layers.values() for one in layer.weights
    ]:
        return False
    for name, weights in found.items():
        layers[name].set_weights(weights)
    return True


def _layer(graph: Graph, operator: Operator) -> str:
    """Return the name of the layer that an operator was converted from, as its constant has it."""
    first, *_ = graph.tensors[operator.inputs[1]].name.split(";")
    _, _, inside = first.partition("/")
    return inside.partition("/")[0]


def _weights(graph: Graph, operator: Operator) -> list[NDArray[np.float32]]:
    """Return an operator's weights in Keras's shapes."""
    places = [place for place in _PLACES[operator.kind] if place < len(operator.inputs)]
    values = [
        graph.constant(operator.inputs[place]) for place in places if operator.inputs[place] >= 0
    ]
    if operator.kind in _AXES:
        values[0] = values[0].transpose(_AXES[operator.kind])
    return values
