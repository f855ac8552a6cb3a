"""What a network computes, whatever grids its values pass through and wherever they are clipped.

Two models of one network differ in changes of grid, and in clips: one has a RELU of its own where
another fused it into a convolution, or left it to the ends of a grid. So what is only converted or
clipped counts as one family with the tensor that it is made of, the family's head, and operators
read and make families. What is converted from a stored value, as float16 models do with all of
theirs, counts as that stored value.
"""

import math
from collections import defaultdict
from collections.abc import Hashable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from qsr.tflite.clips import bounds, is_clip
from qsr.tflite.float_view import CONVERSIONS
from qsr.tflite.graph import Graph, Operator
from qsr.tflite.real_values import holds_reals

_KEEPS_VALUES = CONVERSIONS | {"FAKE_QUANT"}
"""Operators whose result holds what they read, on another grid or none.

FAKE_QUANT takes floats and gives floats, rounded to a grid that no tensor has: what is computed is
the same with it and without, but a float view cannot leave it out and round its result again."""

COMMUTATIVE = {"ADD", "MAXIMUM", "MINIMUM", "MUL"}
"""Operators whose two operands may change places."""

_SLICES = {"SLICE", "SPLIT", "SPLIT_V"}
"""Operators of which each result is a part of one tensor."""

_SIZES = {"bool", "int32", "int64"}
"""Types of stored operands that are no real numbers: axes, paddings, permutations."""

_FREE_SIZES = {
    *("RESHAPE", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "TRANSPOSE_CONV"),
    *("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"),
}
"""Operators whose result is of a stored size, which another model may compute; and those that have
a bias, which may be stored as integers without a scale."""

_FREE_OPTIONS = {
    "asymmetricQuantizeInputs",
    "fusedActivationFunction",
    "newShape",
    "potScaleInt16",
    "quantizedBiasType",
    "weightsFormat",
}
"""Options that models of one network may differ in."""

_FUSED = {
    schema.ActivationFunctionType.RELU: (0.0, math.inf),
    schema.ActivationFunctionType.RELU6: (0.0, 6.0),
    schema.ActivationFunctionType.RELU_N1_TO_1: (-1.0, 1.0),
}
"""Fused activations that clip, and what they let through."""

Span = tuple[float, float]
"""Smallest and largest value, in real units; infinite where there is no end."""

_EVERYTHING: Span = (-math.inf, math.inf)


@dataclass(frozen=True)
class Value:
    """A result of an operator that neither converts nor clips: the head of a family.

    Attributes:
        head: number of its tensor.
        operator: what makes it.
        function: what is computed, but for the operands: kind, options, sizes, and which part.
        operands: numbers of the tensors read, conversions undone, constants left out.
        constants: numbers of the stored real values read: weights, bias, slopes.
    """

    head: int
    operator: Operator
    function: Hashable
    operands: tuple[int, ...]
    constants: tuple[int, ...]


class Dataflow:
    """A model as families of tensors and the operators between them.

    Args:
        graph: the model, float or integer.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._plain: dict[int, int] = {}
        self._heads: dict[int, int] = {}
        self._spans: dict[int, Span] = {}
        self._clips: list[Operator] = []
        for operator in graph.operators:
            self._read(operator)

    def plain(self, index: int) -> int:
        """Return the tensor that one holds the values of, conversions undone."""
        return self._plain.get(index, index)

    def head(self, index: int) -> int:
        """Return the head of a tensor's family."""
        return self._heads.get(self.plain(index), self.plain(index))

    def span(self, index: int) -> Span:
        """Return what clips, fused ones too, let through from a tensor's head to it."""
        return self._spans.get(self.plain(index), _EVERYTHING)

    @property
    def clips(self) -> tuple[Operator, ...]:
        """Operators that clip, in the order of execution; bounds are read as they are stored."""
        return tuple(self._clips)

    @cached_property
    def values(self) -> tuple[Value, ...]:
        """What is computed, in the order of execution."""
        return tuple(
            self._value(operator, place)
            for operator in self.graph.operators
            for place, index in enumerate(operator.outputs)
            if index not in self._plain
            and index not in self._heads
            and holds_reals(self.graph.tensors[index])
        )

    @cached_property
    def by_head(self) -> dict[int, Value]:
        """What is computed by the number of its tensor; the input is not."""
        return {value.head: value for value in self.values}

    @cached_property
    def families(self) -> dict[int, tuple[int, ...]]:
        """Head to the family's tensors in the order of execution, without conversions."""
        found: dict[int, list[int]] = {self.graph.input_index: [self.graph.input_index]}
        for operator in self.graph.operators:
            for index in operator.outputs:
                if index not in self._plain:
                    found.setdefault(self.head(index), []).append(index)
        return {head: tuple(family) for head, family in found.items()}

    @cached_property
    def conversions(self) -> dict[int, tuple[int, ...]]:
        """Tensor to the tensors that hold its values on another grid, in the order of execution."""
        found: dict[int, list[int]] = defaultdict(list)
        for index, plain in self._plain.items():
            found[plain].append(index)
        return {plain: tuple(copies) for plain, copies in found.items()}

    @cached_property
    def ancestors(self) -> dict[int, frozenset[int]]:
        """Head to the heads that it is computed from, directly or not."""
        found: dict[int, frozenset[int]] = {}
        for value in self.values:
            above = {self.head(index) for index in value.operands}
            found[value.head] = frozenset(above).union(*(found.get(head, ()) for head in above))
        return found

    def _read(self, operator: Operator) -> None:
        """Note an operator that converts or clips, or the clip that is fused into another."""
        if operator.kind in _KEEPS_VALUES:
            self._plain[operator.outputs[0]] = self.plain(operator.inputs[0])
            return
        operator = self._reading_stored(operator)
        if is_clip(self.graph, operator):
            self._clips.append(operator)
            (result,), source = operator.outputs, self.plain(operator.inputs[0])
            (lowest, highest), (low, high) = self.span(source), bounds(self.graph, operator)
            self._heads[result] = self.head(source)
            self._spans[result] = (max(lowest, low.value), min(highest, high.value))
        else:
            fused = getattr(operator.options, "fusedActivationFunction", None)
            if fused in _FUSED:
                self._spans.update(dict.fromkeys(operator.outputs, _FUSED[fused]))

    def _reading_stored(self, operator: Operator) -> Operator:
        """Return an operator as one that reads stored values as they are stored."""
        plain = [self.plain(index) for index in operator.inputs]
        return replace(
            operator,
            inputs=tuple(
                stored if stored >= 0 and self.graph.tensors[stored].constant else index
                for index, stored in zip(operator.inputs, plain, strict=True)
            ),
        )

    def _value(self, operator: Operator, place: int) -> Value:
        sources = [self.plain(index) for index in operator.inputs if index >= 0]
        real = [
            index
            for index in sources
            if holds_reals(self.graph.tensors[index]) or index == self.graph.input_index
        ]
        constant = [index for index in real if self.graph.tensors[index].constant]
        return Value(
            head=operator.outputs[place],
            operator=operator,
            function=self._function(operator, place),
            operands=tuple(index for index in real if index not in constant),
            constants=tuple(constant),
        )

    def _function(self, operator: Operator, place: int) -> Hashable:
        if operator.kind in _SLICES and (part := self._part(operator, place)) is not None:
            return "SLICE", part
        return (
            operator.kind,
            place,
            _options(operator),
            () if operator.kind in _FREE_SIZES else self._sizes(operator),
        )

    def _part(self, operator: Operator, place: int) -> Hashable | None:
        """Return which part of a tensor a result is: (axis, first, length) of each axis cut.

        None if that is not stored.
        """
        tensors = self.graph.tensors
        result = tensors[operator.outputs[place]].shape
        if operator.kind == "SLICE":
            if not tensors[operator.inputs[1]].constant:
                return None
            begin = self.graph.constant(operator.inputs[1]).ravel().tolist()
            source = tensors[operator.inputs[0]].shape
            cut = [
                axis for axis, first in enumerate(begin) if first or source[axis] != result[axis]
            ]
            return tuple((axis, begin[axis], result[axis]) for axis in cut)
        which = 0 if operator.kind == "SPLIT" else 2
        if not tensors[operator.inputs[which]].constant:
            return None
        axis = int(self.graph.constant(operator.inputs[which]).item()) % len(result)
        lengths = [tensors[index].shape[axis] for index in operator.outputs]
        return ((axis, sum(lengths[:place]), lengths[place]),)

    def _sizes(self, operator: Operator) -> Hashable:
        """Return the stored operands that are no real numbers."""
        tensors = self.graph.tensors
        return tuple(
            tuple(self.graph.constant(index).ravel().tolist())
            for index in operator.inputs
            if index >= 0
            and tensors[index].constant
            and not tensors[index].quantized
            and tensors[index].dtype in _SIZES
        )


def _options(operator: Operator) -> Hashable:
    """Return the options that models of one network share, without those at their defaults."""
    if operator.options is None:
        return ()
    fused = getattr(operator.options, "fusedActivationFunction", None)
    options = {
        name: tuple(value) if isinstance(value, list | np.ndarray) else value
        for name, value in vars(operator.options).items()
        if name not in _FREE_OPTIONS
    } | {"fused": None if fused in _FUSED else fused}
    return tuple(sorted((name, value) for name, value in options.items() if value))
