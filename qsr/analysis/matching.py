"""Which tensor of one model is which tensor of another that computes the same."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from qsr.analysis.correspondence import SameOperator, correspond
from qsr.analysis.dataflow import Dataflow
from qsr.analysis.families import TensorPairs
from qsr.analysis.grid import Grid, grid_of
from qsr.analysis.records import How
from qsr.tflite.graph import Graph, Tensor

INPUT = "INPUT"
"""Stands for the operator of the tensor that no operator makes."""


@dataclass(frozen=True)
class Match:
    """One tensor as both models have it.

    Attributes:
        reference: in the reference; of real numbers, or of integers with one scale.
        tested: in the tested model; of integers with one scale.
        operator: what makes it in the tested model, changes of grid looked through;
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
        copies: number of a tensor of the tested model that holds what a matched one holds, on
            another grid or in float, to the number of the reference's tensor.
        only_reference: names of the reference's tensors that were not matched. Left out is what
            only holds a matched tensor's values, or stored ones, on another grid or in float.
        only_tested: the same of the tested model.
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
    """Find the tensors that two models of one network share.

    Operators are found by walking through both models, see
    :func:`qsr.analysis.correspondence.correspond`. What one makes is, in both models, a family of
    tensors: its result, and what clips make of that. Within a family

    - the models' ends are the same, on the outer side if that is an integer;
    - what the same operators read is the same, if clips that only the reference has cut off
      nothing but what the tested tensor's grid cuts off;
    - and what the same clips have let through is the same.

    Args:
        reference: a float or an integer model.
        tested: an integer model; its tensors that are in float are not matched.
    """
    flows = Dataflow(reference), Dataflow(tested)
    same = correspond(*flows)
    pairs = TensorPairs(*flows)
    pairs.add_ends()
    for operator in same.operators:
        for index, other in operator.operands:
            pairs.add_read(index, other)
    for head, other_head in same.heads.items():
        pairs.add_family(head, other_head)
    matches = _matches(*flows, pairs)
    return Alignment(
        matches=matches,
        constants=_same_constants(reference, tested, same.operators),
        copies=_copies(flows[1], matches),
        only_reference=_names_without(flows[0], {match.reference.index for match in matches}),
        only_tested=_names_without(flows[1], {match.tested.index for match in matches}),
    )


def _matches(reference: Dataflow, tested: Dataflow, pairs: TensorPairs) -> tuple[Match, ...]:
    """Return the pairs in the reference's order of execution."""
    graph = reference.graph
    executed = [
        graph.input_index,
        *(index for operator in graph.operators for index in operator.outputs),
    ]
    return tuple(
        _match(graph.tensors[index], tested, pairs.twins[index], at_end=index in pairs.ends)
        for index in executed
        if index in pairs.twins
    )


def _match(one: Tensor, tested: Dataflow, index: int, *, at_end: bool) -> Match:
    other = tested.graph.tensors[index]
    maker = tested.graph.producer.get(tested.plain(index))
    return Match(
        one,
        other,
        operator=INPUT if maker is None else maker.kind,
        how="end" if at_end else "name" if one.name == other.name else "structure",
    )


def _same_constants(
    reference: Graph, tested: Graph, operators: tuple[SameOperator, ...]
) -> dict[int, int]:
    """Return which constants of the same operators are of the same shape."""
    return {
        index: one
        for same in operators
        for one, index in zip(same.reference.constants, same.tested.constants, strict=False)
        if reference.tensors[one].shape == tested.tensors[index].shape
    }


def _copies(tested: Dataflow, matches: tuple[Match, ...]) -> dict[int, int]:
    """Return what holds the values of matched tensors, by their numbers in the tested model."""
    matched = {match.tested.index: match.reference.index for match in matches}
    plain = {tested.plain(index): one for index, one in reversed(matched.items())}  # first wins
    return {
        index: one
        for source, one in plain.items()
        for index in (source, *tested.conversions.get(source, ()))
        if index not in matched
    }


def _names_without(flow: Dataflow, matched: set[int]) -> tuple[str, ...]:
    """Return the names of the activations whose values are neither matched nor stored."""
    tensors, known = flow.graph.tensors, {flow.plain(index) for index in matched}
    return tuple(
        tensor.name
        for tensor in flow.graph.activations
        if (plain := flow.plain(tensor.index)) not in known and not tensors[plain].constant
    )
