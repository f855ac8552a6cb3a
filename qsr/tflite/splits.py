"""A SPLIT_V as one SLICE for each of its parts: for quantizers that know SLICE alone."""

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from qsr.tflite.graph import Graph, Operator
from qsr.tflite.operator_codes import operator_code

_SLICE_VERSION = 1


def with_slices(model: bytes) -> bytes:
    """Return a float model that slices where it splits; it computes what it did.

    A SPLIT_V stays if its sizes or its axis are not stored.

    Args:
        model: content of a ``.tflite`` file.

    Raises:
        ModelError: damaged, or not a model with one input and one output.
    """
    graph = Graph(model)
    return graph.edited(lambda flat: _slice(graph, flat))


def _slice(graph: Graph, flat: Any) -> None:
    main = flat.subgraphs[0]
    operators = []
    for operator, written in zip(graph.operators, main.operators, strict=True):
        if not _is_known_split(graph, operator):
            operators.append(written)
            continue
        values, sizes, axis = operator.inputs
        rank = len(graph.tensors[values].shape)
        place = int(graph.constant(axis).item()) % rank
        first = 0
        for result, length in zip(operator.outputs, graph.constant(sizes).tolist(), strict=True):
            begin, size = [0] * rank, [-1] * rank  # -1: all that follows
            begin[place], size[place] = first, length
            first += length
            name = graph.tensors[result].name
            ends = [_stored(flat, f"{name}/begin", begin), _stored(flat, f"{name}/size", size)]
            operators.append(_sliced(flat, [values, *ends], result))
    main.operators = operators


def _is_known_split(graph: Graph, operator: Operator) -> bool:
    """Whether an operator is a SPLIT_V whose sizes and axis are stored and counted."""
    if operator.kind != "SPLIT_V":
        return False
    _, sizes, axis = operator.inputs
    stored = graph.tensors[sizes].constant and graph.tensors[axis].constant
    return stored and bool((graph.constant(sizes) >= 0).all())


def _sliced(flat: Any, inputs: list[int], result: int) -> Any:
    operator = schema.OperatorT()
    operator.opcodeIndex = operator_code(flat, "SLICE", _SLICE_VERSION)
    operator.inputs, operator.outputs = inputs, [result]
    operator.builtinOptions = schema.SliceOptionsT()
    operator.builtinOptionsType = schema.BuiltinOptions.SliceOptions
    return operator


def _stored(flat: Any, name: str, values: list[int]) -> int:
    """Add stored integers; return the number of their tensor."""
    buffer, tensor = schema.BufferT(), schema.TensorT()
    buffer.data = np.frombuffer(np.array(values, np.int32).tobytes(), np.uint8)
    tensor.name, tensor.shape, tensor.type = name, [len(values)], schema.TensorType.INT32
    tensor.buffer = len(flat.buffers)
    flat.buffers.append(buffer)
    flat.subgraphs[0].tensors.append(tensor)
    return len(flat.subgraphs[0].tensors) - 1
