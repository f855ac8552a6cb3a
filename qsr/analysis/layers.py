"""The layers of an integer model: what each one's quantization consists of."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from qsr.analysis.grid import has_grid
from qsr.analysis.matching import Alignment, Match
from qsr.tflite.clips import is_clip
from qsr.tflite.float_view import CONVERSIONS
from qsr.tflite.graph import Graph, Operator, Tensor
from qsr.tflite.io_grid import MOVES
from qsr.tflite.real_values import holds_biases, holds_reals, real_constant


@dataclass(frozen=True)
class Result:
    """What an operator of the tested model makes that the reference has as well.

    Attributes:
        output: number of the operator's output.
        conversions: operators that bring it onto the grid of the matched tensor, in order, such as
            the QUANTIZE to ``uint8`` at the end of a model; mostly none.
        match: of the last one's result, or of the output itself.
    """

    output: int
    conversions: tuple[Operator, ...]
    match: Match


@dataclass(frozen=True)
class Layer:
    """An operator of the tested model, with what quantization changes in it.

    Attributes:
        operator: of the tested model.
        tensors: numbers of the matched tensors that are its results.
        stored: numbers of its weights and biases.
        rounded: numbers of the tensors that it rounds: its outputs, those conversions of them that
            were matched, and what it alone reads of another grid than it was made on; none if it
            only moves or clips integers.
    """

    operator: Operator
    tensors: tuple[int, ...]
    stored: frozenset[int]
    rounded: frozenset[int]


def layers(graph: Graph, alignment: Alignment) -> tuple[Layer, ...]:
    """Return the layers whose results were matched and whose stored values were all paired.

    Args:
        graph: the tested model.
        alignment: of it with its reference.
    """
    every = rounded_activations(graph)
    found = []
    for operator in graph.operators:
        made = results(graph, alignment, operator)
        stored = stored_values(graph, operator)
        if made and all(_known(graph, alignment.constants, index) for index in stored):
            changed = {
                *operator.outputs,
                *(one.outputs[0] for result in made for one in result.conversions),
                *_own_requantizations(graph, alignment, operator),
            }
            tensors = tuple(result.match.tested.index for result in made)
            found.append(Layer(operator, tensors, stored, every & changed))
    return tuple(found)


def results(graph: Graph, alignment: Alignment, operator: Operator) -> tuple[Result, ...]:
    """Return what an operator makes that the reference has as well.

    Args:
        graph: the tested model.
        alignment: of it with its reference.
        operator: one of the tested model's; one that only converts makes nothing of its own.
    """
    if operator.kind in CONVERSIONS:
        return ()
    return tuple(
        Result(output, conversions, match)
        for output in operator.outputs
        for index, conversions in _converted(graph, output, ())
        if (match := alignment.of_tested(index)) is not None
    )


def _converted(
    graph: Graph, index: int, conversions: tuple[Operator, ...]
) -> Iterator[tuple[int, tuple[Operator, ...]]]:
    """Yield a tensor and what it is converted to, with the operators that do so."""
    yield index, conversions
    for reader in graph.consumers[index]:
        if reader.kind in CONVERSIONS:
            yield from _converted(graph, reader.outputs[0], (*conversions, reader))


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
