"""Numbers of a ``.tflite`` file that TFLite trusts: wrong ones would crash the process."""

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

_LIMITS: dict[int, np.iinfo[Any]] = {
    schema.TensorType.INT8: np.iinfo(np.int8),
    schema.TensorType.UINT8: np.iinfo(np.uint8),
    schema.TensorType.INT16: np.iinfo(np.int16),
    schema.TensorType.INT32: np.iinfo(np.int32),
}


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


def _check_tensor(tensor: Any, buffers: int) -> None:
    """Check where a tensor's values are stored, and that its zero points are values of its type."""
    if tensor.buffer not in range(buffers):
        raise ValueError(f"values in buffer {tensor.buffer}, which there is not")
    zero_points = getattr(tensor.quantization, "zeroPoint", None)
    if zero_points is not None and tensor.type in _LIMITS:
        limits = _LIMITS[tensor.type]
        if not all(limits.min <= zero <= limits.max for zero in zero_points):
            raise ValueError("a zero point beyond its type")


def _check_order(flat: Any, subgraph: Any) -> None:
    """Check that every operator reads what is there by then and makes what is not."""
    made = {-1, *_numbers(subgraph.inputs)}
    for index, tensor in enumerate(subgraph.tensors):
        data = flat.buffers[tensor.buffer].data
        stored = data is not None and len(data) > 0
        if stored or tensor.isVariable or 0 in _numbers(tensor.shape):
            made.add(index)
    for place, operator in enumerate(subgraph.operators):
        if operator.opcodeIndex not in range(len(flat.operatorCodes)):
            raise ValueError(f"operator {place} is of no kind")
        for index in _numbers(operator.inputs):
            if index not in made:
                raise ValueError(f"operator {place} reads tensor {index} before it is made")
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
