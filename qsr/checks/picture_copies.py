"""Finds the tensors that are meant to be the picture itself, channels repeated.

XCAT's frozen nearest-neighbour kernel makes one: a 1x1 convolution whose output channel i copies
input channel i mod 3; ABPN makes one by joining the picture nine times.
"""

from dataclasses import dataclass

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from qsr.checks.weights import real_constant
from qsr.tflite.graph import Graph, Operator, Tensor

_NEAR = 0.5
"""A kernel whose every weight is nearer than this to 0, or to the 1 of a copy, is meant to copy."""

_RELU = (schema.ActivationFunctionType.NONE, schema.ActivationFunctionType.RELU)


@dataclass(frozen=True)
class PictureCopy:
    """An operator that is meant to copy the picture's channels.

    Attributes:
        operator: ``CONV_2D`` with a 1x1 kernel, or ``CONCATENATION``.
        source: the tensor that it reads.
        result: the tensor that it makes.
        kernel: ``(out, in)`` ``float64``: real weights; those of an exact copy if it has none.
        exact_kernel: ``(out, in)``: 1 where output channels copy, 0 elsewhere.
        bias: ``(out,)`` ``float64``, in real units.
    """

    operator: Operator
    source: Tensor
    result: Tensor
    kernel: NDArray[np.float64]
    exact_kernel: NDArray[np.float64]
    bias: NDArray[np.float64]

    @property
    def deviation(self) -> float:
        """How far the weight is from 0 or 1 that is farthest."""
        return float(np.abs(self.kernel - self.exact_kernel).max())


def find_copies(graph: Graph) -> tuple[PictureCopy, ...]:
    """Find the operators that are meant to copy the picture.

    Args:
        graph: a model, float or integer.
    """
    pictures = {graph.input_index}
    found = []
    for operator in graph.operators:
        if operator.kind == "QUANTIZE" and operator.inputs[0] in pictures:
            pictures.update(operator.outputs)
        copy = _of_kernel(graph, operator) or _of_join(graph, operator)
        if copy is not None and copy.source.index in pictures:
            found.append(copy)
    return tuple(found)


def _of_kernel(graph: Graph, operator: Operator) -> PictureCopy | None:
    """Return what a 1x1 convolution copies, if it is meant to."""
    if operator.kind != "CONV_2D" or not graph.tensors[operator.inputs[1]].constant:
        return None
    options = operator.options
    weights = real_constant(graph, operator.inputs[1])
    if weights is None or weights.shape[1:3] != (1, 1):
        return None
    kernel = weights[:, 0, 0, :]
    if len(kernel) <= kernel.shape[1] or options.fusedActivationFunction not in _RELU:
        return None
    exact = np.zeros_like(kernel)
    exact[np.arange(len(kernel)), kernel.argmax(axis=1)] = 1.0
    if np.abs(kernel - exact).max() >= _NEAR or (options.strideH, options.strideW) != (1, 1):
        return None
    bias = np.zeros(len(kernel))
    for index in operator.inputs[2:]:
        stored = real_constant(graph, index) if index >= 0 else None
        bias = bias if stored is None else stored.reshape(-1)
    return PictureCopy(
        operator,
        graph.tensors[operator.inputs[0]],
        graph.tensors[operator.outputs[0]],
        kernel,
        exact,
        bias,
    )


def _of_join(graph: Graph, operator: Operator) -> PictureCopy | None:
    """Return what a concatenation of one tensor, again and again, copies."""
    if operator.kind != "CONCATENATION" or len(set(operator.inputs)) != 1:
        return None
    source = graph.tensors[operator.inputs[0]]
    exact = np.tile(np.eye(max(1, source.shape[-1])), (len(operator.inputs), 1))
    result = graph.tensors[operator.outputs[0]]
    return PictureCopy(operator, source, result, exact, exact, np.zeros(len(exact)))
