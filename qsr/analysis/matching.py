"""Which tensor of one model is which tensor of another that computes the same."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from qsr.analysis.grid import Grid, grid_of, has_grid
from qsr.analysis.records import How
from qsr.tflite.graph import Graph, Operator, Tensor

INPUT = "INPUT"
"""Stands for the operator of the tensor that no operator makes."""

_REQUANTIZATIONS = {"QUANTIZE", "DEQUANTIZE"}


@dataclass(frozen=True)
class Match:
    """One tensor as both models have it.

    Attributes:
        reference: in the reference; of real numbers, or of integers with a scale.
        tested: in the tested model; of integers with one scale.
        operator: what makes it in the tested model, ``QUANTIZE`` at an end looked through;
            :data:`INPUT` if nothing does.
        how: how the two were found to be the same.
    """

    reference: Tensor
    tested: Tensor
    operator: str
    how: How

    @property
    def grid(self) -> Grid:
        """What the tested tensor can hold."""
        return grid_of(self.tested)


@dataclass(frozen=True)
class Alignment:
    """Two models side by side.

    Attributes:
        matches: tensors that both have, each at most once, in the reference's order of execution.
        constants: number of a constant of the tested model (weights, bias, slopes) to that of the
            same constant of the reference, of the same shape.
        copies: number of an inner tensor of the tested model that holds what a matched one holds,
            on another grid, to the number of the reference's tensor.
        only_reference: names of the reference's tensors that were not matched.
        only_tested: names of the tested model's tensors that were not matched, copies too.
    """

    matches: tuple[Match, ...]
    constants: Mapping[int, int]
    copies: Mapping[int, int]
    only_reference: tuple[str, ...]
    only_tested: tuple[str, ...]

    def of_tested(self, index: int) -> Match | None:
        """Return the match of a tensor of the tested model.

        Args:
            index: its number.
        """
        return self._by_tested.get(index)

    def reference_of(self, index: int) -> int | None:
        """Return the reference's tensor whose values a tested tensor stands for, copies too.

        Args:
            index: number of the tested model's tensor.
        """
        found = self._by_tested.get(index)
        return self.copies.get(index) if found is None else found.reference.index

    @cached_property
    def _by_tested(self) -> dict[int, Match]:
        return {match.tested.index: match for match in self.matches}


def align(reference: Graph, tested: Graph) -> Alignment:
    """Find the tensors that two models share.

    The quantizer keeps the names of tensors, with two exceptions. At an input or output of another
    type it puts a ``QUANTIZE`` or ``DEQUANTIZE``: both ends are matched by their place, on the
    model's outer side if that is an integer. And it names every output of an operator with several
    after all of them, ``a;b``, ``a;b1``: those are matched in their order.

    Args:
        reference: a float or an integer model.
        tested: an integer model.
    """
    ends = {
        reference.input_index: _integer_input(tested),
        reference.output_index: _integer_output(tested),
    }
    inner = {
        tensor.name: tensor
        for tensor in tested.activations
        if has_grid(tensor) and not any(tensor is end for end in ends.values())
    }
    renamed = _renamed_outputs(reference, tested)
    matches = []
    for index in [
        reference.input_index,
        *(index for step in reference.operators for index in step.outputs),
    ]:
        tensor = reference.tensors[index]
        name = renamed.get(index, tensor.name)
        twin = ends[index] if index in ends else inner.get(name)
        if twin is not None and (tensor.dtype == "float32" or has_grid(tensor)):
            how: How = "end" if index in ends else "structure" if index in renamed else "name"
            matches.append(Match(tensor, twin, _maker(tested, twin.index), how))
    constants = _paired_constants(reference, tested, matches)
    copies = _copies(tested, matches)
    return Alignment(
        tuple(matches),
        constants,
        copies,
        _names_without(reference, {match.reference.index for match in matches}),
        _names_without(tested, {match.tested.index for match in matches}),
    )


def _maker(graph: Graph, index: int) -> str:
    """Return the kind of the operator that makes a tensor, requantizations looked through."""
    operator = graph.producer.get(index)
    while operator is not None and operator.kind in _REQUANTIZATIONS:
        operator = graph.producer.get(operator.inputs[0])
    return INPUT if operator is None else operator.kind


def _copies(tested: Graph, matches: list[Match]) -> dict[int, int]:
    found = {match.tested.index: match.reference.index for match in matches}
    matched = set(found)
    for operator in tested.operators:
        if operator.kind in _REQUANTIZATIONS and operator.inputs[0] in found:
            found.setdefault(operator.outputs[0], found[operator.inputs[0]])
    for operator in reversed(tested.operators):
        if operator.kind in _REQUANTIZATIONS and operator.outputs[0] in found:
            found.setdefault(operator.inputs[0], found[operator.outputs[0]])
    return {index: of for index, of in found.items() if index not in matched}


def _paired_constants(reference: Graph, tested: Graph, matches: list[Match]) -> dict[int, int]:
    paired = {}
    for match in matches:
        first = reference.producer.get(match.reference.index)
        second = tested.producer.get(match.tested.index)
        if first is None or second is None or first.kind != second.kind:
            continue
        for one, other in zip(first.inputs, second.inputs, strict=False):
            if min(one, other) >= 0 and _same_constant(
                reference.tensors[one], tested.tensors[other]
            ):
                paired[other] = one
    return paired


def _same_constant(one: Tensor, other: Tensor) -> bool:
    real = one.dtype == "float32" or one.quantized
    return real and other.quantized and one.constant and other.constant and one.shape == other.shape


def _names_without(graph: Graph, matched: set[int]) -> tuple[str, ...]:
    """Return the names of the activations that were not matched."""
    return tuple(tensor.name for tensor in graph.activations if tensor.index not in matched)


def _integer_input(graph: Graph) -> Tensor | None:
    """Return the first integer tensor of the picture that goes in."""
    if has_grid(graph.input):
        return graph.input
    for operator in graph.consumers[graph.input_index]:
        if operator.kind == "QUANTIZE":
            return graph.tensors[operator.outputs[0]]
    return None


def _integer_output(graph: Graph) -> Tensor | None:
    """Return the last integer tensor of the picture that comes out."""
    if has_grid(graph.output):
        return graph.output
    operator = graph.producer.get(graph.output_index)
    if operator is not None and operator.kind == "DEQUANTIZE":
        return graph.tensors[operator.inputs[0]]
    return None


def _renamed_outputs(reference: Graph, tested: Graph) -> dict[int, str]:
    """Return the tested model's names for outputs of operators that have several."""
    first_output: dict[str, Operator] = {
        tested.tensors[operator.outputs[0]].name: operator
        for operator in tested.operators
        if len(operator.outputs) > 1
    }
    renamed = {}
    for operator in reference.operators:
        joined = ";".join(reference.tensors[index].name for index in operator.outputs)
        twin = first_output.get(joined)
        if twin is not None and len(twin.outputs) == len(operator.outputs):
            for index, other in zip(operator.outputs, twin.outputs, strict=True):
                renamed[index] = tested.tensors[other].name
    return renamed
