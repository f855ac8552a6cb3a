"""An integer model as a float model of the same operators, with any part of its rounding.

What integers do to a picture is the work of three things: stored values are rounded, activations
are rounded, and activations are cut off at the ends of their grids. Here each can be had alone, in
any choice of layers, on the operators of the integer model itself but in float arithmetic. Many
such views are one model with an output for each: what they have in common is computed once.
"""

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from qsr.tflite.graph import EndGrid, Graph, Operator
from qsr.tflite.operator_codes import operator_code
from qsr.tflite.real_values import holds_biases, holds_reals, real_constant
from qsr.tflite.strided_slices import StridedSlice, strided_slices

CONVERSIONS = {"QUANTIZE", "DEQUANTIZE"}
"""Operators that leave real numbers as they are, but for the grids of what they read and make."""

Bounds = tuple[float, float]
"""Smallest and largest value that is let through, in real units; infinite for none."""

_QUANTIZE_VERSION = 2
_DEQUANTIZE_VERSION = 3
_BYTES = 255.0
_UNSIGNED = 128
_HAIR = 1e-6
"""Relative differences up to this are those of float32."""


@dataclass(frozen=True)
class View:
    """What of the integer model a float model has; tensors are named by the integer's numbers.

    Attributes:
        stored: constants that have the integer model's values, where others were given for them.
        rounded: activations that are rounded to their grid and cut off at its ends.
        saturated: activations that are cut off at the ends of their grid, but not rounded.
        ends: what a byte of the picture stands for inside, at the input and at the output; None
            if the picture goes in and comes out as it is.
    """

    stored: frozenset[int] = frozenset()
    rounded: frozenset[int] = frozenset()
    saturated: frozenset[int] = frozenset()
    ends: tuple[EndGrid, EndGrid] | None = None


@dataclass(frozen=True)
class FloatViews:
    """Several views as one float model.

    Attributes:
        model: content of the ``.tflite`` file.
        outputs: number of the tensor that is the picture of each view; equal views share one.
        activations: for each view, number of the integer model's tensor to the number of its float
            twin, before it is rounded or cut off.
    """

    model: bytes
    outputs: tuple[int, ...]
    activations: tuple[Mapping[int, int], ...]


def float_view(
    graph: Graph,
    *,
    constants: Mapping[int, NDArray[np.float32]] | None = None,
    rounded: Collection[int] = (),
    saturated: Collection[int] = (),
    ends: tuple[EndGrid, EndGrid] | None = None,
    value_max: float = 1.0,
) -> bytes:
    """Return an integer model as a float model of the same operators.

    ``QUANTIZE`` and ``DEQUANTIZE`` within it are left out; what they make may be rounded.

    Args:
        graph: the integer model; operators of it that compute in float stay as they are.
        constants: number of a stored tensor to values in its place, in real units and its shape.
            The others are what their integers stand for.
        rounded: as in :class:`View`.
        saturated: as in :class:`View`.
        ends: as in :class:`View`, such as :func:`qsr.tflite.graph.end_grids` gives.
        value_max: what white is for the picture that goes in and comes out; used with ``ends``.

    Returns:
        Content of the float ``.tflite`` file.

    Raises:
        ModelError: stored values cannot be read.
        ValueError: values of another shape than the tensor's.
    """
    others = dict(constants or {})
    view = View(rounded=frozenset(rounded), saturated=frozenset(saturated), ends=ends)
    return float_views(graph, [view], constants=others, value_max=value_max).model


def float_views(
    graph: Graph,
    views: Sequence[View],
    *,
    constants: Mapping[int, NDArray[np.float32]] | None = None,
    clipped: Mapping[int, Bounds] | None = None,
    value_max: float = 1.0,
    as_bytes: bool = False,
    also: Collection[int] = (),
) -> FloatViews:
    """Return several views of an integer model as one float model with an output for each.

    Args:
        graph: the integer model.
        views: what each has of the integer model.
        constants: as for :func:`float_view`; a view that names a tensor as ``stored`` has the
            integer model's values instead.
        clipped: number of an activation to bounds that it is cut off at in every view, such as
            those of a clip that the integer model leaves to saturation.
        value_max: what white is for the picture that goes in and comes out.
        as_bytes: pictures come out clipped and rounded, ``uint8``, in place of ``float32``.
        also: numbers of activations whose float twins in the first view are outputs too, after
            those of the views.

    Returns:
        The model, and where its pictures are.

    Raises:
        ModelError: stored values cannot be read.
        ValueError: values of another shape than the tensor's.
    """
    others = dict(constants or {})
    for index, values in others.items():
        if values.shape != graph.tensors[index].shape:
            raise ValueError(
                f"{graph.tensors[index].name}: {values.shape} in place of "
                f"{graph.tensors[index].shape}"
            )
    found: list[FloatViews] = []

    def build(flat: Any) -> None:
        builder = _Builder(graph, flat, others, dict(clipped or {}), value_max)
        made = [builder.add(view) for view in views]
        outputs = [builder.bytes_of(output) if as_bytes else output for output, _ in made]
        activations = tuple(places for _, places in made)
        builder.finish([*outputs, *(activations[0][index] for index in also)])
        found.append(FloatViews(b"", tuple(outputs), activations))

    model = graph.edited(build)
    return FloatViews(model, found[0].outputs, found[0].activations)


def real_ends(scale: float, zero_point: int, lowest: int, highest: int) -> Bounds:
    """Return the smallest and the largest real number that integers of a grid stand for.

    Args:
        scale: distance of neighbours.
        zero_point: the integer that stands for 0.
        lowest: the smallest integer.
        highest: the largest.
    """
    return scale * (lowest - zero_point), scale * (highest - zero_point)


@dataclass
class _Builder:
    """Writes views over the objects of the integer model, each part that is alike once.

    Attributes:
        graph: the integer model.
        flat: the same as objects of the flatbuffer schema, which become the float model.
        others: values in place of stored ones.
        clipped: bounds of activations.
        value_max: what white is outside.
    """

    graph: Graph
    flat: Any
    others: dict[int, NDArray[np.float32]]
    clipped: dict[int, Bounds]
    value_max: float
    _made: dict[Hashable, tuple[int, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Take the model apart."""
        main = self.flat.subgraphs[0]
        self._old_tensors, self._old_operators = main.tensors, main.operators
        self._old_buffers = self.flat.buffers
        main.tensors, main.operators = [], []
        self.flat.buffers = [schema.BufferT()]
        self.flat.subgraphs = [main]
        self.flat.metadata = self.flat.metadataBuffer = self.flat.signatureDefs = None
        self._main = main
        self._input = self._activation(self.graph.input_index)
        self._fold_equal_constants()

    def add(self, view: View) -> tuple[int, dict[int, int]]:
        """Add a view; return the number of its picture, and those of all its activations."""
        graph = self.graph
        current: dict[int, int] = {}
        raw: dict[int, int] = {}
        picture = self._input
        if view.ends is not None:
            picture = self._affine(picture, *self._inwards(view.ends[0]))
        self._settle(view, graph.input_index, picture, current, raw)
        for operator in graph.operators:
            if operator.kind in CONVERSIONS and _converts_reals(graph, operator):
                results: tuple[int, ...] = (self._read(view, operator.inputs[0], current),)
            else:
                inputs = tuple(self._read(view, index, current) for index in operator.inputs)
                results = self._once(
                    ("operator", operator.index, inputs), partial(self._run, operator, inputs)
                )
            for index, result in zip(operator.outputs, results, strict=True):
                self._settle(view, index, result, current, raw)
        output = current[graph.output_index]
        if view.ends is not None:
            output = self._affine(output, *self._outwards(view.ends[1]))
        return output, raw

    def bytes_of(self, picture: int) -> int:
        """Clip and round a picture to ``uint8``; return the number of the result."""
        grid = EndGrid("uint8", self.value_max / _BYTES, 0)
        (result,) = self._once(("bytes", picture), lambda: (self._quantized(picture, grid),))
        return result

    def finish(self, outputs: Sequence[int]) -> None:
        """Make these the outputs, each once, in this order; the input can be read in any case."""
        self._main.inputs = [self._input]
        self._main.outputs = [index for index in dict.fromkeys(outputs) if index != self._input]

    def _fold_equal_constants(self) -> None:
        """Forget values that are no others than those stored."""
        for index, values in list(self.others.items()):
            stored = real_constant(self.graph, index)
            tolerance = _HAIR * float(np.abs(stored).max(initial=0))
            if bool((np.abs(stored - values) <= tolerance).all()):
                del self.others[index]

    def _settle(
        self, view: View, index: int, number: int, current: dict[int, int], raw: dict[int, int]
    ) -> None:
        """Put a new activation in its place, clipped, saturated and rounded as the view has it."""
        raw[index] = number
        tensor = self.graph.tensors[index]
        if index in self.clipped:
            number = self._bounded(number, self.clipped[index])
        if tensor.scale.size == 1:
            grid = EndGrid(tensor.dtype, float(tensor.scale[0]), int(tensor.zero_point[0]))
            if index in view.rounded:
                number = self._rounded(number, grid)
            elif index in view.saturated:
                ends = np.iinfo(grid.dtype)
                held = real_ends(grid.scale, grid.zero_point, int(ends.min), int(ends.max))
                number = self._bounded(number, held)
        current[index] = number

    def _read(self, view: View, index: int, current: Mapping[int, int]) -> int:
        """Return the number of what an operator reads."""
        if index < 0 or index in current:
            return current.get(index, index)
        other = index in self.others and index not in view.stored
        (number,) = self._once(
            ("constant", index, other), lambda: (self._constant(index, other=other),)
        )
        return number

    def _once(self, key: Hashable, make: Callable[[], tuple[int, ...]]) -> tuple[int, ...]:
        """Return what was made for a key, or make it."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def _constant(self, index: int, *, other: bool) -> int:
        tensor, old = self.graph.tensors[index], self._old_tensors[index]
        new = copy(old)
        real = holds_reals(tensor) or holds_biases(self.graph, index)
        if other or (tensor.constant and real):
            values = self.others[index] if other else real_constant(self.graph, index)
            new.type, new.quantization = schema.TensorType.FLOAT32, None
            new.buffer = self._buffer(values.astype(np.float32))
        elif tensor.constant:
            new.buffer = len(self.flat.buffers)
            self.flat.buffers.append(self._old_buffers[old.buffer])
        else:
            new.buffer = 0
        return self._append(new)

    def _activation(self, index: int) -> int:
        """Add a float tensor like one of the integer model's."""
        new = copy(self._old_tensors[index])
        new.buffer = 0
        if holds_reals(self.graph.tensors[index]):
            new.type, new.quantization = schema.TensorType.FLOAT32, None
        return self._append(new)

    def _run(self, operator: Operator, inputs: tuple[int, ...]) -> tuple[int, ...]:
        """Add an operator of the integer model."""
        outputs = tuple(self._activation(index) for index in operator.outputs)
        parts = strided_slices(self.graph, operator)
        if parts is not None:
            source = inputs[1 if operator.kind == "SPLIT" else 0]
            for part, output in zip(parts, outputs, strict=True):
                self._put_slice(part, source, output)
            return outputs
        new = copy(self._old_operators[operator.index])
        new.inputs, new.outputs = list(inputs), list(outputs)
        self._main.operators.append(new)
        return outputs

    def _rounded(self, source: int, grid: EndGrid) -> int:
        """Add a QUANTIZE and a DEQUANTIZE."""

        def make() -> tuple[int, ...]:
            integers = self._quantized(source, grid)
            return (self._put("DEQUANTIZE", _DEQUANTIZE_VERSION, [integers], self._like(source)),)

        (result,) = self._once(("rounded", source, grid), make)
        return result

    def _quantized(self, source: int, grid: EndGrid) -> int:
        """Add a QUANTIZE."""
        tensor = copy(self._main.tensors[source])
        tensor.type = getattr(schema.TensorType, grid.dtype.upper())
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.scale = [grid.scale]
        tensor.quantization.zeroPoint = [grid.zero_point]
        return self._put("QUANTIZE", _QUANTIZE_VERSION, [source], self._append(tensor))

    def _bounded(self, source: int, bounds: Bounds) -> int:
        """Add a MAXIMUM and a MINIMUM, as far as they clip."""
        lowest, highest = bounds
        if np.isfinite(lowest):
            source = self._with_number("MAXIMUM", source, lowest)
        if np.isfinite(highest):
            source = self._with_number("MINIMUM", source, highest)
        return source

    def _affine(self, source: int, factor: float, addend: float) -> int:
        """Add a MUL and an ADD, if they change a picture of 256 levels."""
        white = self.value_max
        if abs(factor - 1) > _HAIR:
            source = self._with_number("MUL", source, factor)
        if abs(addend) > _HAIR * white:
            source = self._with_number("ADD", source, addend)
        return source

    def _inwards(self, grid: EndGrid) -> tuple[float, float]:
        """Return the factor and addend from the picture that goes in to what bytes stand for."""
        if grid.scale == 0:
            return 1.0, 0.0
        zero = _unsigned_zero(grid)
        return grid.scale * _BYTES / self.value_max, -grid.scale * zero

    def _outwards(self, grid: EndGrid) -> tuple[float, float]:
        """Return the factor and addend from what bytes stand for to the picture that comes out."""
        if grid.scale == 0:
            return 1.0, 0.0
        step = self.value_max / _BYTES
        return step / grid.scale, step * _unsigned_zero(grid)

    def _with_number(self, kind: str, source: int, number: float) -> int:
        """Add an element-wise operator with one number as its second operand."""

        def make() -> tuple[int, ...]:
            (stored,) = self._once(("number", number), lambda: (self._number(number),))
            return (self._put(kind, 1, [source, stored], self._like(source)),)

        (result,) = self._once((kind, source, number), make)
        return result

    def _number(self, number: float) -> int:
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type = f"{number:g}", [], schema.TensorType.FLOAT32
        tensor.buffer = self._buffer(np.array([number], np.float32))
        return self._append(tensor)

    def _like(self, source: int) -> int:
        """Add a float tensor of the shape of another."""
        tensor = copy(self._main.tensors[source])
        tensor.type, tensor.quantization, tensor.buffer = schema.TensorType.FLOAT32, None, 0
        return self._append(tensor)

    def _put(self, kind: str, version: int, inputs: list[int], output: int) -> int:
        """Append an operator of our own; return the number of its result."""
        operator = schema.OperatorT()
        operator.opcodeIndex = operator_code(self.flat, kind, version)
        operator.inputs, operator.outputs = inputs, [output]
        options = _OPTIONS[kind]
        operator.builtinOptions = getattr(schema, f"{options}T")()
        operator.builtinOptionsType = getattr(schema.BuiltinOptions, options)
        self._main.operators.append(operator)
        return output

    def _put_slice(self, part: StridedSlice, source: int, output: int) -> None:
        """Append a STRIDED_SLICE."""
        ones = (1,) * len(part.begin)
        ends = [self._integers(values) for values in (part.begin, part.end, ones)]
        self._put("STRIDED_SLICE", 1, [source, *ends], output)
        options = self._main.operators[-1].builtinOptions
        options.beginMask = options.endMask = part.whole

    def _integers(self, values: tuple[int, ...]) -> int:
        """Return the number of stored integers."""

        def make() -> tuple[int, ...]:
            tensor = schema.TensorT()
            tensor.name, tensor.shape, tensor.type = "", [len(values)], schema.TensorType.INT32
            tensor.buffer = self._buffer(np.array(values, np.int32))
            return (self._append(tensor),)

        (index,) = self._once(("integers", values), make)
        return index

    def _append(self, tensor: Any) -> int:
        self._main.tensors.append(tensor)
        return len(self._main.tensors) - 1

    def _buffer(self, values: NDArray[Any]) -> int:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(values.tobytes(), np.uint8)
        self.flat.buffers.append(buffer)
        return len(self.flat.buffers) - 1


_OPTIONS = {
    "ADD": "AddOptions",
    "DEQUANTIZE": "DequantizeOptions",
    "MAXIMUM": "MaximumMinimumOptions",
    "MINIMUM": "MaximumMinimumOptions",
    "MUL": "MulOptions",
    "QUANTIZE": "QuantizeOptions",
    "STRIDED_SLICE": "StridedSliceOptions",
}


def _converts_reals(graph: Graph, operator: Operator) -> bool:
    """Whether an operator makes real numbers of real numbers."""
    ends = (operator.inputs[0], operator.outputs[0])
    return all(holds_reals(graph.tensors[index]) for index in ends)


def _unsigned_zero(grid: EndGrid) -> int:
    """Return which byte, 0 to 255 from black to white, stands for 0."""
    return grid.zero_point + (_UNSIGNED if grid.dtype == "int8" else 0)
