"""Which tensors are the same within families that two models share."""

import math

from qsr.analysis.dataflow import Dataflow, Span
from qsr.analysis.grid import Grid, grid_of, has_grid
from qsr.tflite.graph import Tensor

_SAME_BOUND = 0.5
"""Bounds less than this many steps of a grid apart are the same on it."""


class TensorPairs:
    """Tensors of two models that are the same, each in one pair at most.

    Args:
        reference: families of the reference.
        tested: those of the tested model.
    """

    def __init__(self, reference: Dataflow, tested: Dataflow) -> None:
        self._reference = reference
        self._tested = tested
        self._taken: set[int] = set()
        self.twins: dict[int, int] = {}
        """Number of the reference's tensor to that of the tested model's; both can be read."""
        self.ends: set[int] = set()
        """Numbers of the reference's tensors that were paired by their place."""

    def add_ends(self) -> None:
        """Pair inputs and outputs, on the outer side of a model if that can be read."""
        reference, tested = self._reference.graph, self._tested.graph
        for one, other in (
            (reference.input, tested.input),
            (reference.output, tested.output),
        ):
            first = one.index if is_readable(one) else self._shown_reference(one.index)
            second = other.index if has_grid(other) else self._shown_tested(other.index)
            if first is not None and self._add(first, second):
                self.ends.add(first)

    def add_read(self, index: int, other: int) -> None:
        """Pair what two operators read that are the same.

        Clips on the way to the reference's operator must cut off nothing that the tested tensor has
        not cut off as well, be it by a clip or by the ends of its grid.

        Args:
            index: number of the reference's tensor, conversions undone.
            other: number of the tested model's tensor, conversions undone.
        """
        second = self._shown_tested(other)
        if second is None:
            return
        grid = grid_of(self._tested.graph.tensors[second])
        clipped, others = self._reference.span(index), self._tested.span(other)
        own = self._reference.graph.tensors[index]
        if has_grid(own):
            clipped = _common(clipped, grid_of(own).ends)
        inside = _same(_common(clipped, others), clipped, grid)
        if inside and _same(_common(clipped, grid.ends), _common(others, grid.ends), grid):
            self._add(self._shown_reference(index), second)

    def add_family(self, head: int, other_head: int) -> None:
        """Pair the tensors of one family that the same clips have let through, in their order.

        Args:
            head: of the reference's family.
            other_head: of the tested model's.
        """
        for index in self._reference.families[head]:
            for other in self._tested.families[other_head]:
                second = self._shown_tested(other)
                if second is not None and _same(
                    self._reference.span(index),
                    self._tested.span(other),
                    grid_of(self._tested.graph.tensors[second]),
                ):
                    self._add(self._shown_reference(index), second)

    def _add(self, index: int | None, other: int | None) -> bool:
        if index is None or other is None or index in self.twins or other in self._taken:
            return False
        self.twins[index] = other
        self._taken.add(other)
        return True

    def _shown_reference(self, index: int) -> int | None:
        """Return the first tensor of real numbers that holds what one holds."""
        plain, tensors = self._reference.plain(index), self._reference.graph.tensors
        holders = (plain, *self._reference.conversions.get(plain, ()))
        return next((one for one in holders if is_readable(tensors[one])), None)

    def _shown_tested(self, index: int) -> int | None:
        """Return the first tensor of integers of one scale that holds what one holds."""
        plain, tensors = self._tested.plain(index), self._tested.graph.tensors
        holders = (plain, *self._tested.conversions.get(plain, ()))
        return next((one for one in holders if has_grid(tensors[one])), None)


def is_readable(tensor: Tensor) -> bool:
    """Whether a tensor holds real numbers, or integers of one scale."""
    return tensor.dtype == "float32" or has_grid(tensor)


def _common(one: Span, other: Span) -> Span:
    """Return what two clips in a row let through."""
    return max(one[0], other[0]), min(one[1], other[1])


def _same(one: Span, other: Span, grid: Grid) -> bool:
    """Whether two spans are the same on a grid."""
    slack = _SAME_BOUND * grid.scale
    return all(
        first == second or (math.isfinite(first - second) and abs(first - second) < slack)
        for first, second in zip(one, other, strict=True)
    )
