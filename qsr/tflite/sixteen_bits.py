"""Integer models with activations of 16 bits and weights of 8, made by LiteRT's own quantizer.

TFLite's quantizer refuses DEPTH_TO_SPACE in 16 bits, and its kernel takes none. LiteRT's quantizer
(package ``litert-quantizer``) makes what it knows 16-bit, and leaves the rest in float: of XCAT
SPLIT_V, DEPTH_TO_SPACE and MINIMUM. So here

- each part of a SPLIT_V is handed over as a SLICE, which it knows;
- the end of the network, what only moves and clips the picture, is left out and put back in 8 bits:
  rounding a picture and moving it is moving it and rounding it;
- QUANTIZE is put at the beginning: bytes in, bytes out.
"""

import re
import warnings
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from qsr.errors import ModelError, UsageError
from qsr.quiet import captured_stderr
from qsr.tflite.clips import is_clip
from qsr.tflite.graph import Graph, Operator
from qsr.tflite.operator_codes import operator_code
from qsr.tflite.splits import with_slices

Range = tuple[float, float]

_QUANTIZE_VERSION = 2
_EIGHT_BIT_VERSION = 2
"""Of DEPTH_TO_SPACE, MINIMUM, MAXIMUM and the RELUs: the first that takes 8 bits."""


@dataclass(frozen=True)
class _Grid:
    """An 8-bit grid."""

    dtype: str
    scale: float
    zero_point: int

    @property
    def parameters(self) -> Any:
        """The same as an object of the flatbuffer schema."""
        found = schema.QuantizationParametersT()
        found.scale, found.zeroPoint = [self.scale], [self.zero_point]
        return found

    def rounded(self, values: Any) -> Any:
        """Return real numbers as integers of this grid."""
        ends = np.iinfo(self.dtype)
        steps = np.rint(np.asarray(values, np.float64) / self.scale) + self.zero_point
        return np.clip(steps, ends.min, ends.max).astype(self.dtype)

    def as_dtype(self, dtype: str) -> "_Grid":
        """Return the same grid in int8 or uint8."""
        shift = int(np.iinfo(dtype).min) - int(np.iinfo(self.dtype).min)
        return _Grid(dtype, self.scale, self.zero_point + shift)


def quantize_to_16_bits(
    model: bytes,
    ranges: Mapping[int, Range],
    *,
    io_dtype: str,
    per_channel: bool,
    float_operators: Collection[int] = (),
    source: str = "model",
) -> bytes:
    """Turn a float model into one of 16-bit activations, 8-bit weights and 8-bit ends.

    Args:
        model: content of a float ``.tflite`` file.
        ranges: tensor number to (minimum, maximum), of each activation.
        io_dtype: ``uint8`` or ``int8`` at both ends.
        per_channel: one scale per output channel of a convolution, not one per kernel.
        float_operators: places of operators that stay in float, in the order of execution.
        source: named in errors.

    Returns:
        Content of the integer ``.tflite`` file. Operators that LiteRT's quantizer does not know,
        such as PRELU, stay in float.

    Raises:
        ModelError: LiteRT's quantizer refuses the model.
        UsageError: it is not installed.
    """
    graph = Graph(model, source=source)
    end = _end(graph, float_operators)
    last = end[0].inputs[0] if end else graph.output_index
    kept_scopes = [
        _scope(graph, outputs)
        for index in float_operators
        for outputs in _as_handed_over(graph.operators[index])
    ]
    inner = _sixteen_bits(
        Graph(with_slices(model)).pruned([last]),
        {graph.tensors[index].name: span for index, span in ranges.items()},
        per_channel=per_channel,
        kept_scopes=kept_scopes,
        source=source,
    )
    return Graph(inner).edited(
        lambda flat: _Ends(graph, flat, io_dtype).put(
            end, ranges[graph.input_index], ranges[graph.output_index]
        )
    )


def check_installed() -> None:
    """Check that LiteRT's quantizer is there, without loading it.

    Raises:
        UsageError: it is not; what to install is given.
    """
    if find_spec("litert_quantizer") is None:
        raise UsageError(
            "activations of 16 bits need LiteRT's quantizer: pip install 'qsr[litert]'"
        )


def _end(graph: Graph, float_operators: Collection[int]) -> tuple[Operator, ...]:
    """Return the operators at the end that move and clip the picture and nothing else."""
    found: list[Operator] = []
    index = graph.output_index
    while (operator := graph.producer.get(index)) is not None:
        readers = len(graph.consumers[index])
        moves = operator.kind == "DEPTH_TO_SPACE" or is_clip(graph, operator)
        if not moves or readers != bool(found) or operator.index in float_operators:
            break
        if operator.inputs[0] not in graph.producer:
            break
        found.insert(0, operator)
        index = operator.inputs[0]
    return tuple(found)


def _sixteen_bits(
    model: bytes,
    ranges: Mapping[str, Range],
    *,
    per_channel: bool,
    kept_scopes: Iterable[str],
    source: str,
) -> bytes:
    """Run LiteRT's quantizer with given ranges."""
    quantizer, typing = _litert_quantizer()
    every = typing.TFLOperationName.ALL_SUPPORTED
    granularity = typing.QuantGranularity
    measured = {
        name: {"min": np.array([low], np.float32), "max": np.array([high], np.float32)}
        for name, (low, high) in ranges.items()
    }
    with captured_stderr(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it keeps all tensors of an interpreter
        try:
            made = quantizer.Quantizer(bytearray(model))
            made.add_static_config(
                ".*",
                every,
                activation_num_bits=16,
                weight_num_bits=8,
                weight_granularity=(
                    granularity.CHANNELWISE if per_channel else granularity.TENSORWISE
                ),
            )
            for scope in kept_scopes:
                made.update_quantization_recipe(
                    f"^{re.escape(scope)}$",
                    every,
                    algorithm_key=quantizer.AlgorithmName.NO_QUANTIZE,
                )
            result = made.quantize(measured, enable_progress_report=False)
        except (KeyError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
            reason = next(iter(str(error).strip().splitlines()), repr(error))
            raise ModelError(f"{source}: LiteRT's quantizer refuses it: {reason}") from error
    return bytes(result.quantized_model)


def _litert_quantizer() -> tuple[Any, Any]:
    """Import the optional package."""
    check_installed()
    with captured_stderr():
        from litert_quantizer import qtyping, quantizer
    return quantizer, qtyping


def _as_handed_over(operator: Operator) -> list[tuple[int, ...]]:
    """Return the outputs of an operator, together, and apart if it became several."""
    if operator.kind != "SPLIT_V":
        return [operator.outputs]
    return [operator.outputs, *((index,) for index in operator.outputs)]


def _scope(graph: Graph, outputs: Iterable[int]) -> str:
    """Return what LiteRT's quantizer calls an operator."""
    return "".join(f"{graph.tensors[index].name};" for index in outputs)


class _Ends:
    """Puts 8-bit ends on the 16-bit body of a network.

    Args:
        graph: the float model.
        flat: the body, as objects of the flatbuffer schema; its tensors have the numbers that they
            have in the float model, and others follow.
        io_dtype: of both ends.
    """

    def __init__(self, graph: Graph, flat: Any, io_dtype: str) -> None:
        self._graph = graph
        self._float = schema.ModelT.InitFromPackedBuf(graph.model, 0)
        self._flat = flat
        self._main = flat.subgraphs[0]
        self._io_dtype = io_dtype

    def put(self, end: tuple[Operator, ...], of_input: Range, of_output: Range) -> None:
        """Put QUANTIZE at the beginning, and what was left out at the end.

        Args:
            end: operators of the float model that the body lacks.
            of_input: the input's (minimum, maximum).
            of_output: the output's.
        """
        main, graph = self._main, self._graph
        (inner_input,), (inner_output,) = main.inputs, main.outputs
        grid = _grid_of(of_input, self._io_dtype)
        outer_input = self._added(graph.input_index, grid)
        self._rename(inner_input, f"{graph.input.name}_16_bits")
        main.operators.insert(0, self._quantize(outer_input, inner_input))
        grid = _grid_of(of_output, "int8")
        if not end:
            self._rename(inner_output, f"{graph.output.name}_16_bits")
        current = self._added(graph.output_index if not end else end[0].inputs[0], grid)
        if end:
            self._rename(current, f"{graph.tensors[end[0].inputs[0]].name}_8_bits")
        main.operators.append(self._quantize(inner_output, current))
        for operator in end:
            current = self._appended(operator, current, grid)
        if self._io_dtype != "int8":
            self._rename(current, f"{graph.output.name}_int8")
            outer = self._added(graph.output_index, grid.as_dtype(self._io_dtype))
            main.operators.append(self._quantize(current, outer))
            current = outer
        main.inputs, main.outputs = [outer_input], [current]
        self._flat.signatureDefs = self._float.signatureDefs
        for signature in self._flat.signatureDefs or ():
            signature.inputs[0].tensorIndex = outer_input
            signature.outputs[0].tensorIndex = current

    def _appended(self, operator: Operator, source: int, grid: _Grid) -> int:
        """Append an operator of the float model in 8 bits; return the number of its result."""
        written = self._float.subgraphs[0].operators[operator.index]
        written.opcodeIndex = operator_code(self._flat, operator.kind, _EIGHT_BIT_VERSION)
        result = self._as_8_bits(operator.outputs[0], grid)
        written.inputs = [source, *(self._stored(index, grid) for index in operator.inputs[1:])]
        written.outputs = [result]
        self._main.operators.append(written)
        return result

    def _stored(self, index: int, grid: _Grid) -> int:
        """Add a stored bound of the float model in 8 bits; return its number."""
        buffer = schema.BufferT()
        values = grid.rounded(self._graph.constant(index))
        buffer.data = np.frombuffer(values.tobytes(), np.uint8)
        added = self._added(index, grid)
        self._rename(added, f"{self._graph.tensors[index].name}_8_bits")
        self._main.tensors[added].buffer = len(self._flat.buffers)
        self._flat.buffers.append(buffer)
        return added

    def _as_8_bits(self, index: int, grid: _Grid) -> int:
        """Give a tensor that the body does not use a grid."""
        tensor = self._main.tensors[index]
        tensor.type = getattr(schema.TensorType, grid.dtype.upper())
        tensor.quantization = grid.parameters
        return index

    def _added(self, like: int, grid: _Grid) -> int:
        """Add a tensor of the shape and the name of one of the float model's."""
        old, tensor = self._float.subgraphs[0].tensors[like], schema.TensorT()
        tensor.name, tensor.shape, tensor.shapeSignature = old.name, old.shape, old.shapeSignature
        tensor.hasRank = old.hasRank
        self._main.tensors.append(tensor)
        return self._as_8_bits(len(self._main.tensors) - 1, grid)

    def _rename(self, index: int, name: str) -> None:
        self._main.tensors[index].name = name

    def _quantize(self, source: int, result: int) -> Any:
        operator = schema.OperatorT()
        operator.opcodeIndex = operator_code(self._flat, "QUANTIZE", _QUANTIZE_VERSION)
        operator.inputs, operator.outputs = [source], [result]
        operator.builtinOptions = schema.QuantizeOptionsT()
        operator.builtinOptionsType = schema.BuiltinOptions.QuantizeOptions
        return operator


def _grid_of(span: Range, dtype: str) -> _Grid:
    """Return the 8-bit grid of a range, which is made to hold 0, as TFLite's quantizer does."""
    low, high = min(span[0], 0.0), max(span[1], 0.0)
    scale = (high - low) / 255.0 or 1.0
    ends = np.iinfo(dtype)
    return _Grid(dtype, scale, int(np.clip(round(ends.min - low / scale), ends.min, ends.max)))
