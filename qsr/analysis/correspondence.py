"""Which operators of two models are the same, found by walking through both side by side."""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from qsr.analysis.dataflow import COMMUTATIVE, Dataflow, Value
from qsr.analysis.likeness import Likeness, likeness
from qsr.analysis.places import consistent_names, contradict, fits_in
from qsr.tflite.real_values import real_constant

_SAME_NAME = 0.5
_SAME_CLIPS = 0.1
"""What names and clips add to the likeness of stored values, where several operators could be the
same; they decide where those are as good as equal."""

_CLEARLY = 0.05
"""An operator must be better than any other by this to be chosen among several."""

_ALIKE = 0.6
"""Weights at least as alike as this are of one layer, wherever it stands."""


@dataclass(frozen=True)
class SameOperator:
    """A result of one operator, as both models have it.

    Attributes:
        reference: in the reference.
        tested: in the tested model.
        operands: numbers of the tensors that they read, (of the reference, of the tested model).
    """

    reference: Value
    tested: Value
    operands: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Correspondence:
    """Two models side by side.

    Attributes:
        heads: head of a family of the reference to that of the same family of the tested model.
        operators: what makes them, where it is the same, in the reference's order of execution.
    """

    heads: Mapping[int, int]
    operators: tuple[SameOperator, ...]


def correspond(reference: Dataflow, tested: Dataflow) -> Correspondence:
    """Find the families of tensors and the operators that two models share.

    Both models take a picture and give one. From there operators are the same that have the same
    function and sizes and read what is the same, or make what is the same; among several, stored
    values, names and clips decide, and last the order.

    If that leaves anything over, the models are not the same throughout, and equal sizes prove
    less. Then operators whose weights have nothing to do with each other are not taken for the
    same; those of like weights, or of one name, are, if they stand in the same place to all that
    is known; and what the same operators read is the same, whatever makes it. Names count only
    where none of them contradicts another, or what was found without them.

    Args:
        reference: one model.
        tested: the other.
    """
    names = consistent_names(reference, tested)
    walk = _Walk(reference, tested, names, by_weights=False)
    walk.run()
    if not walk.complete:
        walk = _Walk(reference, tested, {}, by_weights=True)
        walk.run()
        if not contradict(names, walk.heads):
            walk = _Walk(reference, tested, names, by_weights=True)
            walk.run()
    operators = tuple(walk.operators())
    output = reference.head(reference.graph.output_index)
    if all(same.reference.head != output for same in operators):
        walk.heads.pop(output, None)  # a picture comes out of any model
    return Correspondence(walk.heads, operators)


class _Walk:
    """What is known so far of two models."""

    def __init__(
        self,
        reference: Dataflow,
        tested: Dataflow,
        names: Mapping[int, int],
        *,
        by_weights: bool,
    ) -> None:
        self.reference = reference
        self.tested = tested
        self.heads: dict[int, int] = {}
        self._found: set[int] = set()
        self._names = names
        self._by_weights = by_weights
        self._known_likeness: dict[tuple[int, int], Likeness] = {}

    @property
    def complete(self) -> bool:
        """Whether everything in both models was found."""
        return all(value.head in self.heads for value in self.reference.values) and all(
            value.head in self._found for value in self.tested.values
        )

    def run(self) -> None:
        """Find all that can be found."""
        reference, tested = self.reference, self.tested
        self._add(reference.graph.input_index, tested.graph.input_index)
        self._add(
            reference.head(reference.graph.output_index), tested.head(tested.graph.output_index)
        )
        while (
            self._forward()
            or self._backward()
            or (self._by_weights and self._like_weights())
            or self._by_name()
            or self._by_use()
            or self._by_order()
        ):
            pass

    def operators(self) -> Iterator[SameOperator]:
        """Yield what makes the families found, where it is the same."""
        for value in self.reference.values:
            other = self.tested.by_head.get(self.heads.get(value.head, -1))
            if other is None or not self._fit(value, other):
                continue
            operands = self._operands(value, other)
            if operands is not None and all(
                self.heads.get(self.reference.head(one)) == self.tested.head(two)
                for one, two in operands
            ):
                yield SameOperator(value, other, operands)

    def _add(self, head: int, other: int) -> bool:
        """Note that two families are the same; False if one is known already, or they cannot be."""
        if head in self.heads or other in self._found:
            return False
        if not fits_in(self.reference, self.tested, self.heads, head, other):
            return False
        self.heads[head] = other
        self._found.add(other)
        return True

    def _forward(self) -> bool:
        """Find operators that read what is known."""
        changed = False
        for values, others in self._ready():
            changed |= self._choose(values, others)
        return changed

    def _by_order(self) -> bool:
        """Pair the first of several operators that nothing tells apart, if they are as many."""
        return any(
            len(values) == len(others)
            and self._acceptable(values[0], others[0])
            and self._add(values[0].head, others[0].head)
            for values, others in self._ready()
        )

    def _ready(self) -> Iterable[tuple[list[Value], list[Value]]]:
        """Return operators not found yet that read the same and do the same, in both models."""
        mine: dict[Hashable, list[Value]] = defaultdict(list)
        others: dict[Hashable, list[Value]] = defaultdict(list)
        for value in self.reference.values:
            sources = [self.heads.get(self.reference.head(index)) for index in value.operands]
            if value.head not in self.heads and sources and None not in sources:
                mine[_key(value, sources)].append(value)
        for value in self.tested.values:
            if value.head not in self._found:
                sources = [self.tested.head(index) for index in value.operands]
                others[_key(value, sources)].append(value)
        return [(values, others[key]) for key, values in mine.items() if key in others]

    def _choose(self, values: list[Value], others: list[Value]) -> bool:
        """Pair those of some operators that belong together beyond doubt."""
        several = len(values) > 1 or len(others) > 1
        scores = {
            (value.head, other.head): self._score(value, other) if several else 0.0
            for value in values
            for other in others
            if self._acceptable(value, other)
        }
        changed = False
        for head, other in self._clear(scores):
            changed |= self._add(head, other)
        return changed

    def _clear(self, scores: Mapping[tuple[int, int], float]) -> Iterator[tuple[int, int]]:
        """Yield the pairs that are clearly better than any other of the same head, best first.

        What was paired meanwhile is no rival.
        """
        for (head, other), score in sorted(scores.items(), key=lambda item: -item[1]):
            rivals = [
                rival
                for (one, two), rival in scores.items()
                if (one == head) != (two == other)
                and (one == head or one not in self.heads)
                and (two == other or two not in self._found)
            ]
            if all(score > rival + _CLEARLY for rival in rivals):
                yield head, other

    def _backward(self) -> bool:
        """Find operators whose results are read by operators that are known."""
        changed = False
        for head, other in self._read():
            if self._may_be(head, other):
                changed |= self._add(head, other)
        return changed

    def _by_use(self) -> bool:
        """Find one more family that is read by operators that are known, whatever makes it."""
        return any(self._add(head, other) for head, other in self._read())

    def _read(self) -> list[tuple[int, int]]:
        """Return the heads that operators known to be the same read side by side."""
        found = []
        for head, other_head in self.heads.items():
            value, other = self.reference.by_head.get(head), self.tested.by_head.get(other_head)
            if value is not None and other is not None and self._acceptable(value, other):
                for one, two in self._operands(value, other) or ():
                    found.append((self.reference.head(one), self.tested.head(two)))
        return found

    def _like_weights(self) -> bool:
        """Find one more operator by its weights: those that are more like no other's."""
        left = [value for value in self.reference.values if value.head not in self.heads]
        others = [value for value in self.tested.values if value.head not in self._found]
        scores = {
            (value.head, other.head): likely.score
            for value in left
            for other in others
            if self._fit(value, other)
            and (likely := self._likeness(value, other)).telling
            and likely.score >= _ALIKE
        }
        return any(self._add(head, other) for head, other in self._clear(scores))

    def _by_name(self) -> bool:
        """Find one more family whose head has the same name in both models."""
        same = [
            (self.reference.by_head[head], self.tested.by_head[other])
            for head, other in self._names.items()
        ]
        same.sort(key=lambda pair: not self._fit(*pair))  # those that do the same first
        return any(
            not self._contradicted(value, other) and self._add(value.head, other.head)
            for value, other in same
        )

    def _contradicted(self, value: Value, other: Value) -> bool:
        """Whether two operators that do the same are known to read different things."""
        if not self._fit(value, other):
            return False
        operands = self._operands(value, other) or ()
        return any(
            self.heads.get(self.reference.head(one), self.tested.head(two)) != self.tested.head(two)
            for one, two in operands
        )

    def _operands(self, value: Value, other: Value) -> tuple[tuple[int, int], ...] | None:
        """Return what two operators read side by side; None if the order is not known yet."""
        straight = tuple(zip(value.operands, other.operands, strict=True))
        if value.operator.kind not in COMMUTATIVE or len(straight) != 2:  # noqa: PLR2004
            return straight
        crossed = tuple(zip(value.operands, reversed(other.operands), strict=True))
        possible = [
            order for order in (straight, crossed) if all(self._may_be(*pair) for pair in order)
        ]
        known = [order for order in possible if any(self._is(*pair) for pair in order)]
        if len(known) == 1 or (known and straight[0][0] == straight[1][0]):
            return known[0]
        return possible[0] if len(possible) == 1 else None

    def _is(self, index: int, other: int) -> bool:
        """Whether two tensors are known to be of the same family."""
        return self.heads.get(self.reference.head(index)) == self.tested.head(other)

    def _may_be(self, index: int, other: int) -> bool:
        """Whether two tensors can be of the same family, by what is known and what makes them."""
        head, other_head = self.reference.head(index), self.tested.head(other)
        if head in self.heads or other_head in self._found:
            return self.heads.get(head) == other_head
        value, made = self.reference.by_head.get(head), self.tested.by_head.get(other_head)
        return value is not None and made is not None and self._acceptable(value, made)

    def _fit(self, value: Value, other: Value) -> bool:
        """Whether two operators do the same, with stored values of the same sizes.

        One may have a bias of zeros that the other lacks.
        """
        if value.function != other.function or len(value.operands) != len(other.operands):
            return False
        graphs = self.reference.graph, self.tested.graph
        common = min(len(value.constants), len(other.constants))
        return (
            all(
                _bare(graphs[0].tensors[one].shape) == _bare(graphs[1].tensors[two].shape)
                for one, two in zip(value.constants, other.constants, strict=False)
            )
            and not any(real_constant(graphs[0], one).any() for one in value.constants[common:])
            and not any(real_constant(graphs[1], two).any() for two in other.constants[common:])
        )

    def _acceptable(self, value: Value, other: Value) -> bool:
        """Whether two operators can be the same."""
        if not self._fit(value, other):
            return False
        return (
            not self._by_weights
            or self._same_name(value, other)
            or not self._likeness(value, other).unlike
        )

    def _score(self, value: Value, other: Value) -> float:
        """Return how much speaks for two operators to be the same."""
        same_clips = [self.reference.span(index) for index in value.operands] == [
            self.tested.span(index) for index in other.operands
        ]
        return (
            self._likeness(value, other).score
            + _SAME_NAME * self._same_name(value, other)
            + _SAME_CLIPS * same_clips
        )

    def _same_name(self, value: Value, other: Value) -> bool:
        return self._names.get(value.head) == other.head

    def _likeness(self, value: Value, other: Value) -> Likeness:
        key = value.head, other.head
        if key not in self._known_likeness:
            self._known_likeness[key] = likeness(
                self.reference.graph, value.constants, self.tested.graph, other.constants
            )
        return self._known_likeness[key]


def _key(value: Value, sources: Iterable[int | None]) -> Hashable:
    """Return what two operators must share to be the same, once what they read is known."""
    heads = [head for head in sources if head is not None]
    if value.operator.kind in COMMUTATIVE:
        heads.sort()
    return value.function, tuple(heads)


def _bare(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return a shape without the ones that it begins with."""
    first = next((place for place, side in enumerate(shape) if side != 1), len(shape))
    return tuple(int(side) for side in np.array(shape[first:], int))
