"""Finds channels that are split and joined on their way between convolutions, in one grid.

XCAT's blocks are such: what a convolution makes is split, and what two make is joined and split
again. TFLite gives all that is split and joined one grid, so all its channels share 256 values; and
each can be scaled without a trace, as between two convolutions alone (:mod:`.chains`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from qsr.quantization.chains import is_own, scalable_bias
from qsr.tflite.graph import Graph, Operator
from qsr.tflite.io_grid import ranges_tied_to_input, ranges_tied_to_output

_LAST_AXIS = {3, -1}
_FUSED = schema.ActivationFunctionType


@dataclass(frozen=True)
class Mesh:
    """Channels of one grid, numbered: those of the first maker, those of the second, and so on.

    Attributes:
        makers: the CONV_2D operators that make them, linear or with a fused RELU.
        readers: the CONV_2D operators that read them, each with the number of the channel that it
            reads as its first, second, ... input channel.
    """

    makers: tuple[Operator, ...]
    readers: tuple[tuple[Operator, NDArray[np.intp]], ...]


def find_meshes(graph: Graph) -> tuple[Mesh, ...]:
    """Find all meshes of a float model; chains, in which nothing is split or joined, are none.

    Left out are tensors tied to the picture at either end, whose grid is known, those that anything
    else makes or reads, and layers that share stored values with others.

    Args:
        graph: a float model.
    """
    tied = ranges_tied_to_input(graph).keys() | ranges_tied_to_output(graph).keys()
    tied |= {graph.input_index, graph.output_index}
    meshes = (_mesh(graph, tensors) for tensors in _joined(graph) if not tied & tensors)
    return tuple(mesh for mesh in meshes if mesh is not None)


def _joined(graph: Graph) -> list[set[int]]:
    """Return the sets of tensors that splitting and joining ties together."""
    set_of: dict[int, set[int]] = {}
    for operator in graph.operators:
        if _parts(graph, operator) is not None:
            tied = {*_moved(graph, operator), *operator.outputs}
            merged = set().union(*(set_of.get(index, {index}) for index in tied))
            set_of.update(dict.fromkeys(merged, merged))
    return list({id(tensors): tensors for tensors in set_of.values()}.values())


def _mesh(graph: Graph, tensors: set[int]) -> Mesh | None:
    """Return the mesh of tensors that are tied together; None if something else touches them."""
    makers: list[Operator] = []
    readers: list[tuple[Operator, NDArray[np.intp]]] = []
    channels: dict[int, NDArray[np.intp]] = {}
    count = 0
    for operator in graph.operators:  # makers come before what moves, and that before readers
        parts = _parts(graph, operator)
        if parts is not None and tensors.issuperset(operator.outputs):
            moved = np.concatenate([channels[index] for index in _moved(graph, operator)])
            ends = np.cumsum(parts)[:-1]
            channels.update(zip(operator.outputs, np.split(moved, ends), strict=True))
            continue
        if tensors.intersection(operator.inputs):
            data, kernel = operator.inputs[:2]
            if not _is_reader(graph, operator, tensors):
                return None
            if graph.tensors[kernel].shape[3] != len(channels[data]):
                return None
            readers.append((operator, channels[data]))
        if tensors.intersection(operator.outputs):
            if not _is_maker(graph, operator):
                return None
            makers.append(operator)
            made = graph.tensors[operator.inputs[1]].shape[0]
            channels[operator.outputs[0]] = np.arange(count, count + made)
            count += made
    return Mesh(tuple(makers), tuple(readers)) if readers else None


def _parts(graph: Graph, operator: Operator) -> Sequence[int] | None:
    """Return how many channels each result of an operator has, if it splits or joins channels."""
    if operator.kind == "CONCATENATION":
        plain = operator.options.fusedActivationFunction == _FUSED.NONE
        joins = plain and operator.options.axis in _LAST_AXIS
        return [graph.tensors[operator.outputs[0]].shape[-1]] if joins else None
    axes = {"SPLIT": 0, "SPLIT_V": 2}
    if operator.kind not in axes:
        return None
    axis = graph.tensors[operator.inputs[axes[operator.kind]]]
    if not axis.constant or int(graph.constant(axis.index).reshape(())) not in _LAST_AXIS:
        return None
    return [graph.tensors[index].shape[-1] for index in operator.outputs]


def _moved(graph: Graph, operator: Operator) -> list[int]:
    """Return the tensors whose channels an operator moves."""
    return [index for index in operator.inputs if graph.tensors[index].dtype == "float32"]


def _is_maker(graph: Graph, operator: Operator) -> bool:
    """Whether an operator is a convolution whose output channels can be scaled."""
    if operator.kind != "CONV_2D" or not is_own(graph, operator, operator.inputs[1]):
        return False
    fused = operator.options.fusedActivationFunction
    return fused in {_FUSED.NONE, _FUSED.RELU} and all(
        scalable_bias(graph, operator, index) for index in operator.inputs[2:] if index >= 0
    )


def _is_reader(graph: Graph, operator: Operator, tensors: set[int]) -> bool:
    """Whether an operator is a convolution whose input channels can be scaled."""
    return (
        operator.kind == "CONV_2D"
        and not tensors.intersection(operator.inputs[1:])
        and is_own(graph, operator, operator.inputs[1])
    )
