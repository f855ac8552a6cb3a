"""Numbers of a ``.tflite`` file that TFLite trusts: wrong ones would crash the process."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

_LIMITS: dict[int, np.iinfo[Any]] = {
    schema.TensorType.INT8: np.iinfo(np.int8),
    schema.TensorType.UINT8: np.iinfo(np.uint8),
    schema.TensorType.INT16: np.iinfo(np.int16),
    schema.TensorType.INT32: np.iinfo(np.int32),
}

_ADDITIONS = {schema.BuiltinOperator.ADD, schema.BuiltinOperator.SUB}

_LAST_IS_OPTIONAL = {
    schema.BuiltinOperator.CONV_2D: 2,
    schema.BuiltinOperator.CONV_3D: 2,
    schema.BuiltinOperator.CONV_3D_TRANSPOSE: 3,
    schema.BuiltinOperator.DEPTHWISE_CONV_2D: 2,
    schema.BuiltinOperator.FULLY_CONNECTED: 2,
    schema.BuiltinOperator.TRANSPOSE_CONV: 3,
}
"""The place of the biases, which an operator may lack."""

_ANY_IS_OPTIONAL = {
    schema.BuiltinOperator.BIDIRECTIONAL_SEQUENCE_LSTM,
    schema.BuiltinOperator.BIDIRECTIONAL_SEQUENCE_RNN,
    schema.BuiltinOperator.CUSTOM,
    schema.BuiltinOperator.LSH_PROJECTION,
    schema.BuiltinOperator.LSTM,
    schema.BuiltinOperator.SVDF,
    schema.BuiltinOperator.UNIDIRECTIONAL_SEQUENCE_LSTM,
}

_MAKE_NOTHING = {
    schema.BuiltinOperator.ASSIGN_VARIABLE,
    schema.BuiltinOperator.CALL_ONCE,
    schema.BuiltinOperator.HASHTABLE_IMPORT,
}

_LEAST_OPERANDS = {
    schema.BuiltinOperator.BATCH_MATMUL: 2,
    schema.BuiltinOperator.SLICE: 3,
    schema.BuiltinOperator.SPLIT: 2,
    schema.BuiltinOperator.STRIDED_SLICE: 4,
}
"""Of operators that XNNPACK takes for granted to have that many."""

_MOST_VALUES = 1 << 29
"""Of a tensor: 64 channels of a picture of 3840x2160 pixels. TFLite would ask for 8 GB."""

_SMALLEST_SCALE = np.finfo(np.float32).tiny

_ADDITION_BITS = {
    schema.TensorType.INT8: 20,
    schema.TensorType.UINT8: 20,
    schema.TensorType.INT16: 15,
}
"""By so many bits ADD and SUB shift integers to the left before they add them."""


def check_sound(flat: Any) -> None:
    """Check that a model's parts refer to parts that there are, in an order that can be run.

    Args:
        flat: the flatbuffer as objects of the schema.

    Raises:
        ValueError: they do not; what else wrong numbers lead to, such as an IndexError, means the
            same.
    """
    subgraph = flat.subgraphs[0]
    for tensor in subgraph.tensors:
        _check_tensor(tensor, len(flat.buffers))
    for entry in flat.metadata or ():
        if entry.buffer not in range(len(flat.buffers)):
            raise ValueError(f"metadata in buffer {entry.buffer}, which there is not")
    _check_order(flat, subgraph)
    _check_additions(flat, subgraph)


def _check_tensor(tensor: Any, buffers: int) -> None:
    """Check a tensor's place, size and quantization, and that its name is text."""
    if tensor.buffer not in range(buffers):
        raise ValueError(f"values in buffer {tensor.buffer}, which there is not")
    values = math.prod(abs(size) for size in _numbers(tensor.shape))
    if values > _MOST_VALUES:
        raise ValueError(f"a tensor of {values} values")
    if isinstance(tensor.name, bytes):
        tensor.name.decode()
    _check_scales(tensor)
    zero_points = getattr(tensor.quantization, "zeroPoint", None)
    if zero_points is not None and tensor.type in _LIMITS:
        limits = _LIMITS[tensor.type]
        if not all(limits.min <= zero <= limits.max for zero in zero_points):
            raise ValueError("a zero point beyond its type")


def _check_scales(tensor: Any) -> None:
    """Check that scales are positive numbers; those of single channels may be 0, as weights are."""
    scales = np.asarray(_scales(tensor), np.float32)
    if not (np.isfinite(scales).all() and (scales >= 0).all()):
        raise ValueError("a scale that is no positive number")
    single = tensor.type in _ADDITION_BITS and scales.size == 1
    if single and scales[0] < _SMALLEST_SCALE:
        raise ValueError("a scale of 0")


def _check_additions(flat: Any, subgraph: Any) -> None:
    """Check that what is added or subtracted has scales, and that the result's is not far finer.

    TFLite wants ``2 * max(scales of operands) / (2**bits * scale of result)`` to be below 1.
    """
    for place, operator in enumerate(subgraph.operators):
        if _kind(flat, operator) not in _ADDITIONS:
            continue
        first, second, result = (
            subgraph.tensors[index] for index in (*operator.inputs, *operator.outputs)
        )
        bits = _ADDITION_BITS.get(second.type)
        if bits is None:
            continue
        scales = [_scales(tensor) for tensor in (first, second, result)]
        if any(len(of_one) != 1 for of_one in scales):
            raise ValueError(f"operator {place} adds integers without a scale")
        operands, made = max(scales[0][0], scales[1][0]), scales[2][0]
        if not 2 * operands < 2**bits * made:
            raise ValueError(f"operator {place} adds onto a grid that is far too fine")


def _check_operands(kind: int, place: int, operator: Any) -> None:
    """Check that an operator reads and makes as many tensors as its kind wants."""
    read, made = len(_numbers(operator.inputs)), len(_numbers(operator.outputs))
    if read < _LEAST_OPERANDS.get(kind, 0):
        raise ValueError(f"operator {place} reads {read} tensors, too few for its kind")
    if made == 0 and kind not in _MAKE_NOTHING:
        raise ValueError(f"operator {place} makes nothing")
    parts = getattr(operator.builtinOptions, "numSplits", 0)
    if kind == schema.BuiltinOperator.SPLIT and made != parts:
        raise ValueError(f"operator {place} splits into {parts} and makes {made} tensors")


def _kind(flat: Any, operator: Any) -> int:
    """Return the number of an operator's kind, which old files keep in another place."""
    code = flat.operatorCodes[operator.opcodeIndex]
    return int(max(code.builtinCode, code.deprecatedBuiltinCode))


def _scales(tensor: Any) -> Sequence[float]:
    """Return a tensor's scales; none if it is not quantized."""
    scales = getattr(tensor.quantization, "scale", None)
    return () if scales is None else [float(scale) for scale in scales]


def _check_order(flat: Any, subgraph: Any) -> None:
    """Check that every operator reads what is there by then and makes what is not."""
    made = set(_numbers(subgraph.inputs))
    for index, tensor in enumerate(subgraph.tensors):
        data = flat.buffers[tensor.buffer].data
        stored = data is not None and len(data) > 0
        if stored or tensor.isVariable or 0 in _numbers(tensor.shape):
            made.add(index)
    for place, operator in enumerate(subgraph.operators):
        if operator.opcodeIndex not in range(len(flat.operatorCodes)):
            raise ValueError(f"operator {place} is of no kind")
        kind = _kind(flat, operator)
        for order, index in enumerate(_numbers(operator.inputs)):
            optional = kind in _ANY_IS_OPTIONAL or _LAST_IS_OPTIONAL.get(kind) == order
            if index not in made and not (optional and index == -1):
                raise ValueError(f"operator {place} reads tensor {index} before it is made")
        _check_operands(kind, place, operator)
        for index in _numbers(operator.outputs):
            if index in made or index not in range(len(subgraph.tensors)):
                raise ValueError(f"operator {place} cannot make tensor {index}")
            made.add(index)
    ends = [*_numbers(subgraph.inputs), *_numbers(subgraph.outputs)]
    if not all(index in made and index in range(len(subgraph.tensors)) for index in ends):
        raise ValueError("an input or output that there is not")


def _numbers(values: Any) -> list[int]:
    """Return a flatbuffer's vector as plain integers; an absent one is empty."""
    return [] if values is None else [int(value) for value in values]
