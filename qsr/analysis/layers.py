"""The layers of an integer model: what each one's quantization consists of."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from qsr.analysis.grid import has_grid
from qsr.analysis.matching import Alignment
from qsr.tflite.clips import is_clip
from qsr.tflite.graph import Graph, Operator, Tensor
from qsr.tflite.io_grid import MOVES
from qsr.tflite.real_values import holds_biases, holds_reals, real_constant


@dataclass(frozen=True)
class Layer:
    """An operator of an integer model, with what quantization changes in it.

    Attributes:
        operator: of the tested model.
        outputs: numbers of its outputs that were matched.
        stored: numbers of its weights and biases.
        rounded: numbers of the tensors that it rounds: its outputs, and what it alone reads that is
            another tensor on another grid; none if it only moves or clips integers.
    """

    operator: Operator
    outputs: tuple[int, ...]
    stored: frozenset[int]
    rounded: frozenset[int]


def layers(graph: Graph, alignment: Alignment) -> tuple[Layer, ...]:
    """Return the layers whose output was matched and whose stored values were all paired.

    Args:
        graph: the tested model.
        alignment: of it with its reference.
    """
    every = rounded_activations(graph)
    found = []
    for operator in graph.operators:
        outputs = tuple(
            index for index in operator.outputs if alignment.of_tested(index) is not None
        )
        stored = stored_values(graph, operator)
        if outputs and all(_known(graph, alignment.constants, index) for index in stored):
            changed = frozenset(operator.outputs) | _own_requantizations(graph, alignment, operator)
            found.append(Layer(operator, outputs, stored, changed & every))
    return tuple(found)


def rounded_activations(graph: Graph) -> frozenset[int]:
    """Return the numbers of the activations that integer kernels round.

    Left out are those of operators that move or clip integers on one grid, and the input: bytes
    that come in are not rounded.

    Args:
        graph: an integer model.
    """
    return frozenset(
        index
        for operator in graph.operators
        if not _copies_integers(graph, operator)
        for index in operator.outputs
        if has_grid(graph.tensors[index])
    )


def stored_values(graph: Graph, operator: Operator) -> frozenset[int]:
    """Return the numbers of an operator's weights and biases that are integers.

    Args:
        graph: the model.
        operator: one of its operators; the bounds of a clip are no weights.
    """
    if is_clip(graph, operator):
        return frozenset()
    return frozenset(
        index
        for index in operator.inputs
        if index >= 0
        and graph.tensors[index].constant
        and (graph.tensors[index].quantized or holds_biases(graph, index))
    )


def _known(graph: Graph, constants: Mapping[int, int], index: int) -> bool:
    """Whether the reference's values for a constant are known; a bias of zeros may be one more."""
    return index in constants or not real_constant(graph, index).any()


def _own_requantizations(graph: Graph, alignment: Alignment, operator: Operator) -> frozenset[int]:
    """Return what an operator alone reads and a QUANTIZE made of a matched tensor."""
    return frozenset(
        index
        for index in operator.inputs
        if index in graph.producer
        and graph.producer[index].kind == "QUANTIZE"
        and alignment.of_tested(index) is None
        and len(graph.consumers[index]) == 1
    )


def _copies_integers(graph: Graph, operator: Operator) -> bool:
    """Whether each integer of an operator's results is one of those that it reads, or a bound."""
    if operator.kind not in MOVES | {"PADV2", "QUANTIZE"} and not is_clip(graph, operator):
        return False
    read = [graph.tensors[index] for index in operator.inputs if index >= 0]
    made = [graph.tensors[index] for index in operator.outputs]
    values = [tensor for tensor in read if not tensor.constant and holds_reals(tensor)]
    return bool(values) and all(_one_real_grid(values[0], one) for one in [*values[1:], *made])


def _one_real_grid(first: Tensor, second: Tensor) -> bool:
    """Whether two tensors can hold the same real numbers, ``int8`` and ``uint8`` alike."""
    if not (has_grid(first) and has_grid(second)):
        return False
    ends = np.iinfo(first.dtype), np.iinfo(second.dtype)
    return (
        ends[0].bits == ends[1].bits
        and float(first.scale[0]) == float(second.scale[0])
        and int(first.zero_point[0]) - ends[0].min == int(second.zero_point[0]) - ends[1].min
    )
