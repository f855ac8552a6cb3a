"""A ``.tflite`` file as tensors, operators and quantization: read it, edit it, write it back."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from qsr.errors import ModelError
from qsr.tflite.soundness import check_sound

_OPERATOR_NAMES = {
    value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)
}
_TYPE_NAMES = {
    value: name.lower() for name, value in vars(schema.TensorType).items() if isinstance(value, int)
}


@dataclass(frozen=True)
class Tensor:
    """One tensor of the main subgraph.

    Attributes:
        index: its number, as the interpreter counts.
        name: unique; tensors of the same name in the file get ``#index`` appended.
        dtype: ``float32``, ``int8``, ``uint8``, ``int32``, ...
        shape: as stored; -1 where the size is not fixed.
        constant: True for weights, biases and other stored values.
        scale: quantization scales, ``(1,)``, ``(channels,)`` or empty when not quantized.
        zero_point: quantization zero points, of the same length.
        channel_axis: the axis that several scales count along.
    """

    index: int
    name: str
    dtype: str
    shape: tuple[int, ...]
    constant: bool
    scale: NDArray[np.float32]
    zero_point: NDArray[np.int64]
    channel_axis: int

    @property
    def quantized(self) -> bool:
        """Whether the tensor holds integers that stand for real numbers."""
        return self.scale.size > 0


@dataclass(frozen=True)
class Operator:
    """One operator of the main subgraph.

    Attributes:
        index: its place in the order of execution.
        kind: TFLite's name, such as ``CONV_2D``.
        inputs: tensor numbers; an absent optional input is -1.
        outputs: tensor numbers.
        options: the operator's options as the flatbuffer schema has them, or None.
    """

    index: int
    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Any


class Graph:
    """The main subgraph of a ``.tflite`` model, read once.

    Args:
        model: content of the file.
        source: named in errors.

    Raises:
        ModelError: not a ``.tflite`` model, or not one with one input and one output.
    """

    def __init__(self, model: bytes, *, source: str = "model") -> None:
        self.model = model
        self._flat = _parse(model, source)
        subgraph = self._flat.subgraphs[0]
        if len(subgraph.inputs) != 1 or len(subgraph.outputs) != 1:
            raise ModelError(
                f"{source}: a super-resolution model has one input and one output; this one has "
                f"{len(subgraph.inputs)} and {len(subgraph.outputs)}"
            )
        self.input_index = int(subgraph.inputs[0])
        self.output_index = int(subgraph.outputs[0])

    @cached_property
    def tensors(self) -> tuple[Tensor, ...]:
        """Every tensor, in the interpreter's order."""
        flat = self._flat.subgraphs[0].tensors
        names = [_text(tensor.name) for tensor in flat]
        repeated = {name for name in names if names.count(name) > 1}
        return tuple(
            self._tensor(index, tensor, f"{name}#{index}" if name in repeated else name)
            for index, (tensor, name) in enumerate(zip(flat, names, strict=True))
        )

    @cached_property
    def operators(self) -> tuple[Operator, ...]:
        """Every operator, in the order of execution."""
        codes = [
            max(code.builtinCode, code.deprecatedBuiltinCode) for code in self._flat.operatorCodes
        ]
        return tuple(
            Operator(
                index=index,
                kind=_OPERATOR_NAMES.get(codes[operator.opcodeIndex], "CUSTOM"),
                inputs=_numbers(operator.inputs),
                outputs=_numbers(operator.outputs),
                options=operator.builtinOptions,
            )
            for index, operator in enumerate(self._flat.subgraphs[0].operators)
        )

    @property
    def input(self) -> Tensor:
        """The picture that goes in."""
        return self.tensors[self.input_index]

    @property
    def output(self) -> Tensor:
        """The picture that comes out."""
        return self.tensors[self.output_index]

    @cached_property
    def activations(self) -> tuple[Tensor, ...]:
        """The input and every operator's outputs that hold real numbers, constants left out."""
        produced = {index for operator in self.operators for index in operator.outputs}
        real = {"float32", "int8", "uint8", "int16"}
        return tuple(
            tensor
            for tensor in self.tensors
            if (tensor.index in produced or tensor.index == self.input_index)
            and tensor.dtype in real
        )

    @cached_property
    def producer(self) -> dict[int, Operator]:
        """Tensor number to the operator that makes it."""
        return {index: operator for operator in self.operators for index in operator.outputs}

    @cached_property
    def consumers(self) -> dict[int, tuple[Operator, ...]]:
        """Tensor number to the operators that read it."""
        readers: dict[int, list[Operator]] = {tensor.index: [] for tensor in self.tensors}
        for operator in self.operators:
            for index in dict.fromkeys(operator.inputs):
                if index >= 0:
                    readers[index].append(operator)
        return {index: tuple(operators) for index, operators in readers.items()}

    def constant(self, index: int) -> NDArray[Any]:
        """Return the stored values of a constant tensor, in its shape.

        Raises:
            ModelError: the tensor is not constant, is of a type that numpy does not have, or has
                another number of values than its shape.
        """
        tensor = self.tensors[index]
        data = self._flat.buffers[self._flat.subgraphs[0].tensors[index].buffer].data
        if data is None:
            raise ModelError(f"{tensor.name}: no constant")
        try:
            return np.asarray(data, np.uint8).view(tensor.dtype).reshape(tensor.shape)
        except (TypeError, ValueError) as error:
            raise ModelError(f"{tensor.name}: stored values cannot be read: {error}") from error

    def with_ranges(self, ranges: Mapping[int, tuple[float, float]]) -> bytes:
        """Return the model with calibration statistics written into its tensors.

        Args:
            ranges: tensor number to (minimum, maximum), in real units. Other tensors stay as they
                are.
        """
        flat = copy(self._flat)  # what is not edited, the weights above all, is shared
        main = copy(flat.subgraphs[0])
        flat.subgraphs = [main, *flat.subgraphs[1:]]
        main.tensors = list(main.tensors)
        for index, (minimum, maximum) in ranges.items():
            tensor = main.tensors[index] = copy(main.tensors[index])
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.min = [float(minimum)]
            tensor.quantization.max = [float(maximum)]
        return _pack(flat)

    def with_grids(self, grids: Mapping[int, tuple[float, int]]) -> bytes:
        """Return the model with other grids for some of its tensors of integers.

        Args:
            grids: tensor number to (scale, zero point). Stored values stay the integers they are.
        """
        flat = copy(self._flat)
        main = copy(flat.subgraphs[0])
        flat.subgraphs = [main, *flat.subgraphs[1:]]
        main.tensors = list(main.tensors)
        for index, (scale, zero_point) in grids.items():
            tensor = main.tensors[index] = copy(main.tensors[index])
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale = [scale]
            tensor.quantization.zeroPoint = [zero_point]
        return _pack(flat)

    def with_constants(self, values: Mapping[int, NDArray[Any]]) -> bytes:
        """Return the model with other values in some of its constant tensors.

        Args:
            values: tensor number to its values, of the tensor's shape and type. Tensors that share
                stored values with one of them keep theirs.

        Raises:
            ValueError: a shape or type is not the tensor's.
        """
        flat = copy(self._flat)
        main = copy(flat.subgraphs[0])
        flat.subgraphs = [main, *flat.subgraphs[1:]]
        main.tensors, flat.buffers = list(main.tensors), list(flat.buffers)
        readers = Counter(tensor.buffer for part in flat.subgraphs for tensor in part.tensors)
        for index, stored in values.items():
            tensor = self.tensors[index]
            if (stored.shape, str(stored.dtype)) != (tensor.shape, tensor.dtype):
                raise ValueError(
                    f"{tensor.name}: {stored.dtype} {stored.shape} in place of "
                    f"{tensor.dtype} {tensor.shape}"
                )
            changed = main.tensors[index] = copy(main.tensors[index])
            _store(flat, changed, stored, readers)
        return _pack(flat)

    def with_channels(
        self, channels: Mapping[int, int], stored: Mapping[tuple[int, int], NDArray[Any]]
    ) -> bytes:
        """Return the model with other numbers of channels, and the constants that go with them.

        Args:
            channels: tensor number to its number of channels, the last axis.
            stored: place of an operator, and the place of a constant among its inputs, to what this
                operator reads there in place of it: of any shape, and of its type. Others that read
                the same constant keep it.
        """
        flat = copy(self._flat)
        main = copy(flat.subgraphs[0])
        flat.subgraphs = [main, *flat.subgraphs[1:]]
        main.tensors, main.operators = list(main.tensors), list(main.operators)
        flat.buffers = list(flat.buffers)
        readers = Counter(tensor.buffer for part in flat.subgraphs for tensor in part.tensors)
        for index, count in channels.items():
            tensor = main.tensors[index] = copy(main.tensors[index])
            tensor.shape = [*_numbers(tensor.shape)[:-1], count]
            signature = _numbers(tensor.shapeSignature)
            tensor.shapeSignature = [*signature[:-1], count] if signature else None
        for (place, position), values in stored.items():
            operator = main.operators[place] = copy(main.operators[place])
            old = operator.inputs[position]
            tensor = copy(main.tensors[old])
            tensor.shape, tensor.shapeSignature = list(values.shape), None
            if self.consumers[old] == (self.operators[place],):
                main.tensors[old] = tensor
            else:
                readers[tensor.buffer] += 1  # one tensor more than the file had
                tensor.name = _text(tensor.name) + f"/{place}"
                operator.inputs = list(operator.inputs)
                operator.inputs[position] = len(main.tensors)
                main.tensors.append(tensor)
            _store(flat, tensor, values, readers)
        return _pack(flat)

    def pruned(self, outputs: Collection[int]) -> bytes:
        """Return the model that ends in some tensors, without the operators they do not need.

        Tensors keep their numbers. What TFLite gives as an output it keeps intact, so each of them
        can be read after a run, whatever the kernels do with the others.

        Args:
            outputs: numbers of tensors that operators make, at least one.
        """
        needed, kept = set(outputs), set()
        for operator in reversed(self.operators):
            if needed.intersection(operator.outputs):
                needed.update(operator.inputs)
                kept.add(operator.index)
        flat = copy(self._flat)
        main = copy(flat.subgraphs[0])
        flat.subgraphs = [main, *flat.subgraphs[1:]]
        main.operators = [one for place, one in enumerate(main.operators) if place in kept]
        main.outputs = list(outputs)
        flat.signatureDefs = None  # they name the outputs that it had
        return _pack(flat)

    def rewired(self, places: Mapping[int, int], *, without: Collection[int]) -> bytes:
        """Return the model without some operators, whose neighbours are joined.

        Args:
            places: tensor number to the number of the tensor that every operator left reads or
                makes in its place. Both must be alike in type, shape and quantization.
            without: places of operators in the order of execution.
        """
        flat = copy(self._flat)
        main = copy(flat.subgraphs[0])
        flat.subgraphs = [main, *flat.subgraphs[1:]]
        operators = []
        for operator, old in zip(self.operators, main.operators, strict=True):
            if operator.index not in without:
                new = copy(old)
                new.inputs = [places.get(index, index) for index in operator.inputs]
                new.outputs = [places.get(index, index) for index in operator.outputs]
                operators.append(new)
        main.operators = operators
        return _pack(flat)

    def edited(self, edit: Callable[[Any], None]) -> bytes:
        """Return the model after any change.

        Args:
            edit: changes the objects of the flatbuffer schema, a ``ModelT`` read for it alone.
        """
        flat = schema.ModelT.InitFromPackedBuf(self.model, 0)
        edit(flat)
        return _pack(flat)

    def _tensor(self, index: int, flat: Any, name: str) -> Tensor:
        quantization = flat.quantization
        scale = getattr(quantization, "scale", None)
        zero_point = getattr(quantization, "zeroPoint", None)
        stored = self._flat.buffers[flat.buffer].data
        signature = _numbers(flat.shapeSignature)
        return Tensor(
            index=index,
            name=name,
            dtype=_TYPE_NAMES.get(flat.type, "unknown"),
            shape=signature or _numbers(flat.shape),
            constant=stored is not None and len(stored) > 0,
            scale=np.asarray(scale if scale is not None else [], np.float32),
            zero_point=np.asarray(zero_point if zero_point is not None else [], np.int64),
            channel_axis=int(getattr(quantization, "quantizedDimension", 0)),
        )


@dataclass(frozen=True)
class EndGrid:
    """The grid of a model's input or output.

    Attributes:
        dtype: ``uint8``, ``int8`` or ``float32``.
        scale: quantization scale; 0 if it has none.
        zero_point: quantization zero point.
    """

    dtype: str
    scale: float
    zero_point: int


def end_grids(model: bytes) -> tuple[EndGrid, EndGrid]:
    """Read the grids of input and output alone, without reading the rest: well under 1 ms.

    Args:
        model: content of a sound ``.tflite`` file with one input and one output.
    """
    subgraph = schema.Model.GetRootAs(model, 0).Subgraphs(0)
    ends = (subgraph.Tensors(subgraph.Inputs(0)), subgraph.Tensors(subgraph.Outputs(0)))
    first, last = (_end_grid(tensor) for tensor in ends)
    return first, last


def _end_grid(tensor: Any) -> EndGrid:
    quantization = tensor.Quantization()
    if quantization is None or quantization.ScaleLength() == 0:
        return EndGrid(_TYPE_NAMES[tensor.Type()], 0.0, 0)
    return EndGrid(
        _TYPE_NAMES[tensor.Type()], float(quantization.Scale(0)), int(quantization.ZeroPoint(0))
    )


def _parse(model: bytes, source: str) -> Any:
    """Return the flatbuffer as mutable objects of the schema."""
    if model[4:8] != b"TFL3":
        raise ModelError(f"{source}: not a .tflite model (no TFL3 mark at its start)")
    try:
        flat = schema.ModelT.InitFromPackedBuf(model, 0)
        whole = flat.subgraphs and flat.buffers and flat.operatorCodes is not None
    except Exception as error:  # the generated reader raises whatever a wrong offset leads to
        raise ModelError(f"{source}: damaged .tflite model ({error})") from error
    if not whole:
        raise ModelError(f"{source}: damaged .tflite model (no subgraph)")
    try:
        check_sound(flat)
    except Exception as error:  # wrong numbers lead anywhere
        raise ModelError(f"{source}: damaged .tflite model ({error})") from error
    return flat


def _store(flat: Any, tensor: Any, values: NDArray[Any], readers: Counter[int]) -> None:
    """Have a tensor hold other values; tensors that share its buffer, so counted, keep theirs."""
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(values.tobytes(), np.uint8)
    if readers[tensor.buffer] == 1:
        flat.buffers[tensor.buffer] = buffer
    else:
        readers[tensor.buffer] -= 1
        tensor.buffer = len(flat.buffers)
        flat.buffers.append(buffer)


def _pack(flat: Any) -> bytes:
    """Return the bytes of a flatbuffer's objects."""
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(flat.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _text(name: bytes | str | None) -> str:
    """Return a name as text."""
    return name.decode(errors="replace") if isinstance(name, bytes) else (name or "")


def _numbers(values: Any) -> tuple[int, ...]:
    """Return a flatbuffer's vector as plain integers; an absent one is empty."""
    return () if values is None else tuple(int(value) for value in values)
