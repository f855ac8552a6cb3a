"""Weights of one model into another of the same architecture."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qsr.errors import ModelError
from qsr.models.zoo import load

if TYPE_CHECKING:
    import tf_keras

_NO_ARCHITECTURE = {"dtype", "trainable", "trainable_kernel"}
"""Options of a layer that change neither its weights nor what it computes; nor do initializers."""


def load_weights_into(model: "tf_keras.Model", path: Path) -> None:
    """Give a model the weights of a ``.keras`` file of the same architecture.

    Precision may differ, and what is trainable.

    Args:
        model: a network; changed only if nothing is raised.
        path: the file.

    Raises:
        ModelError: it cannot be loaded, or is of another network or config; the first difference is
            told.
    """
    given = load(path)
    difference = _first_difference(given, model)
    if difference is not None:
        raise ModelError(f"{path}: {difference}; give weights of the same network and config")
    layers = {layer.name: layer for layer in given.layers}
    for layer in model.layers:
        layer.set_weights(layers[layer.name].get_weights())


def _first_difference(given: Any, wanted: "tf_keras.Model") -> str | None:
    """Say what differs first between the architectures of two models; None if nothing does."""
    if given.name != wanted.name:
        return f"weights are of network {given.name}, the recipe wants {wanted.name}"
    layers = {layer.name: layer for layer in given.layers}
    for layer in wanted.layers:
        if layer.name not in layers:
            return f"weights lack the layer {layer.name} that the recipe wants"
        difference = _difference(layers.pop(layer.name), layer)
        if difference is not None:
            return f"layer {layer.name} of the weights {difference}"
    for name in layers:
        return f"weights are for a layer {name} too, which the recipe does not have"
    return None


def _difference(given: Any, wanted: "tf_keras.layers.Layer") -> str | None:
    """Say what differs first between two layers; None if nothing does."""
    if type(given) is not type(wanted):
        return f"is of class {type(given).__name__}, the recipe wants {type(wanted).__name__}"
    options, wanted_options = _architecture(given), _architecture(wanted)
    for name, value in wanted_options.items():
        if options.get(name) != value:
            return f"has {name} {options.get(name)}, the recipe wants {value}"
    return None


def _architecture(layer: Any) -> dict[str, Any]:
    """Return the options of a layer that decide what it computes."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in layer.get_config().items()
        if name not in _NO_ARCHITECTURE and not name.endswith("_initializer")
    }
