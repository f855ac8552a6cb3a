"""Finds the layers between which the channels of a float model can be scaled without a trace."""

from dataclasses import dataclass

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from qsr.tflite.graph import Graph, Operator
from qsr.tflite.io_grid import ranges_tied_to_input, ranges_tied_to_output

KERNEL_PLACE = 1
DATA_PLACE = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 0, "TRANSPOSE_CONV": 2}
BIAS_PLACE = {"CONV_2D": 2, "DEPTHWISE_CONV_2D": 2, "TRANSPOSE_CONV": 3}
_FUSED = schema.ActivationFunctionType


@dataclass(frozen=True)
class Chain:
    """Two convolutions, and the tensors between them that nothing else reads.

    Attributes:
        first: makes the channels: CONV_2D, DEPTHWISE_CONV_2D or TRANSPOSE_CONV.
        second: reads them: CONV_2D or TRANSPOSE_CONV.
        tensors: numbers of the tensors between, in order of execution: one, or two if the
            activation is an operator of its own.
        prelu: the operator between, if it is a PRELU.
        slopes: ``(channels,)``: what values below 0 are multiplied by: 0 for RELU, 1 for none.
        channel_axis: the output channels' axis in the first kernel.
    """

    first: Operator
    second: Operator
    tensors: tuple[int, ...]
    prelu: Operator | None
    slopes: NDArray[np.float64]
    channel_axis: int

    @property
    def first_kernel(self) -> int:
        """Tensor number of the first convolution's kernel."""
        return self.first.inputs[KERNEL_PLACE]

    @property
    def second_kernel(self) -> int:
        """Tensor number of the second's kernel, ``(out, height, width, in)``."""
        return self.second.inputs[KERNEL_PLACE]

    @property
    def bias(self) -> int | None:
        """Tensor number of the first convolution's bias, if it has one."""
        return bias_of(self.first)


def find_chains(graph: Graph) -> tuple[Chain, ...]:
    """Find all chains of a float model.

    Left out are tensors tied to the picture at either end, whose grid is known, and layers that
    share stored values with others.

    Args:
        graph: a float model.
    """
    tied = ranges_tied_to_input(graph).keys() | ranges_tied_to_output(graph).keys()
    chains = (_chain_from(graph, first) for first in graph.operators)
    return tuple(chain for chain in chains if chain and not tied & set(chain.tensors))


def bias_of(operator: Operator) -> int | None:
    """Return the tensor number of a convolution's bias; None if there is none."""
    place = BIAS_PLACE.get(operator.kind)
    if place is None or len(operator.inputs) <= place or operator.inputs[place] < 0:
        return None
    return operator.inputs[place]


def _chain_from(graph: Graph, first: Operator) -> Chain | None:
    """Return the chain that an operator begins, or None."""
    if first.kind not in DATA_PLACE or not is_own(graph, first, first.inputs[KERNEL_PLACE]):
        return None
    axis = 3 if first.kind == "DEPTHWISE_CONV_2D" else 0
    channels = graph.tensors[first.inputs[KERNEL_PLACE]].shape[axis]
    bias = bias_of(first)
    if bias is not None and not scalable_bias(graph, first, bias):
        return None
    fused = getattr(first.options, "fusedActivationFunction", _FUSED.NONE)
    if fused not in {_FUSED.NONE, _FUSED.RELU}:
        return None
    slopes = np.full(channels, 0.0 if fused == _FUSED.RELU else 1.0)
    tensors, prelu = [first.outputs[0]], None
    reader = _only_reader(graph, tensors[0])
    if reader is not None and reader.kind in {"PRELU", "RELU"} and fused == _FUSED.NONE:
        if reader.kind == "RELU":
            slopes = np.zeros(channels)
        else:
            stored = _slopes(graph, reader, channels)
            if stored is None:
                return None
            prelu, slopes = reader, stored
        tensors.append(reader.outputs[0])
        reader = _only_reader(graph, tensors[1])
    if reader is None or not _reads_channels(graph, reader, tensors[-1], channels):
        return None
    return Chain(first, reader, tuple(tensors), prelu, slopes, axis)


def _only_reader(graph: Graph, index: int) -> Operator | None:
    """Return what reads a tensor's values, if that is one operator; SHAPE reads only its size."""
    readers = [reader for reader in graph.consumers[index] if reader.kind != "SHAPE"]
    return readers[0] if len(readers) == 1 and index != graph.output_index else None


def is_own(graph: Graph, operator: Operator, index: int) -> bool:
    """Whether a tensor is stored ``float32``, and only this operator reads it."""
    tensor = graph.tensors[index]
    readers = graph.consumers[index]
    return tensor.constant and tensor.dtype == "float32" and readers == (operator,)


def scalable_bias(graph: Graph, operator: Operator, index: int) -> bool:
    """Whether a bias can be scaled; zeros that several layers share stay what they are."""
    stored = graph.tensors[index].constant and graph.tensors[index].dtype == "float32"
    return is_own(graph, operator, index) or (stored and not graph.constant(index).any())


def _slopes(graph: Graph, prelu: Operator, channels: int) -> NDArray[np.float64] | None:
    """Return a PRELU's slope per channel; None if it has others."""
    index = prelu.inputs[1]
    if not is_own(graph, prelu, index) or graph.tensors[index].shape[-1] != channels:
        return None
    slopes = graph.constant(index)
    return slopes.reshape(-1).astype(np.float64) if slopes.size == channels else None


def _reads_channels(graph: Graph, operator: Operator, index: int, channels: int) -> bool:
    """Whether an operator is a convolution over all channels of a tensor."""
    return (
        operator.kind in {"CONV_2D", "TRANSPOSE_CONV"}
        and operator.inputs[DATA_PLACE[operator.kind]] == index
        and is_own(graph, operator, operator.inputs[KERNEL_PLACE])
        and graph.tensors[operator.inputs[KERNEL_PLACE]].shape[3] == channels
    )
