"""Which tensor of an integer model is which tensor of the float model that it was made from."""

from dataclasses import dataclass

import numpy as np

from qsr.analysis.sums import Grid
from qsr.tflite.graph import Graph, Tensor

INPUT = "INPUT"
"""Stands for the operator of the tensor that no operator makes."""

_INTEGERS = {"int8", "uint8", "int16"}


@dataclass(frozen=True)
class Match:
    """One tensor as both models have it.

    Attributes:
        float_tensor: in the float model.
        integer_tensor: in the integer model.
        operator: what makes it in the float model; :data:`INPUT` if nothing does.
    """

    float_tensor: Tensor
    integer_tensor: Tensor
    operator: str

    @property
    def grid(self) -> Grid:
        """What the integer tensor can hold."""
        tensor = self.integer_tensor
        scale, zero_point = float(tensor.scale[0]), int(tensor.zero_point[0])
        limits = np.iinfo(tensor.dtype)
        return Grid(
            scale,
            zero_point,
            minimum=scale * (int(limits.min) - zero_point),
            maximum=scale * (int(limits.max) - zero_point),
        )


def match_tensors(float_graph: Graph, integer_graph: Graph) -> tuple[Match, ...]:
    """Find the tensors that two models share.

    The quantizer keeps the names of tensors, with two exceptions. At an input or output of another
    type it puts a ``QUANTIZE`` or ``DEQUANTIZE``: both ends are matched by their place, on the
    model's outer side if that is an integer. And it names every output of an operator with several
    after all of them, ``a;b``, ``a;b1``: those are matched in their order.

    Args:
        float_graph: the float model.
        integer_graph: the integer model.

    Returns:
        Matches in the float model's order of execution.
    """
    ends = {
        float_graph.input_index: _integer_input(integer_graph),
        float_graph.output_index: _integer_output(integer_graph),
    }
    inner = {
        tensor.name: tensor
        for tensor in integer_graph.activations
        if _has_grid(tensor) and not any(tensor is end for end in ends.values())
    }
    renamed = _renamed_outputs(float_graph, integer_graph)
    matches = []
    for index, operator in [
        (float_graph.input_index, INPUT),
        *((index, step.kind) for step in float_graph.operators for index in step.outputs),
    ]:
        tensor = float_graph.tensors[index]
        name = renamed.get(index, tensor.name)
        twin = ends[index] if index in ends else inner.get(name)
        if twin is not None and tensor.dtype == "float32":
            matches.append(Match(tensor, twin, operator))
    return tuple(matches)


def _has_grid(tensor: Tensor) -> bool:
    """Whether a tensor holds integers of one scale."""
    return tensor.dtype in _INTEGERS and tensor.scale.size == 1


def _integer_input(graph: Graph) -> Tensor | None:
    """Return the first integer tensor of the picture that goes in."""
    if _has_grid(graph.input):
        return graph.input
    for operator in graph.consumers[graph.input_index]:
        if operator.kind == "QUANTIZE":
            return graph.tensors[operator.outputs[0]]
    return None


def _integer_output(graph: Graph) -> Tensor | None:
    """Return the last integer tensor of the picture that comes out."""
    if _has_grid(graph.output):
        return graph.output
    operator = graph.producer.get(graph.output_index)
    if operator is not None and operator.kind == "DEQUANTIZE":
        return graph.tensors[operator.inputs[0]]
    return None


def _renamed_outputs(float_graph: Graph, integer_graph: Graph) -> dict[int, str]:
    """Return the integer model's names for outputs of operators that have several.

    Returns:
        The float model's tensor number to the name.
    """
    first_output = {
        integer_graph.tensors[operator.outputs[0]].name: operator
        for operator in integer_graph.operators
        if len(operator.outputs) > 1
    }
    renamed = {}
    for operator in float_graph.operators:
        joined = ";".join(float_graph.tensors[index].name for index in operator.outputs)
        twin = first_output.get(joined)
        if twin is not None and len(twin.outputs) == len(operator.outputs):
            for index, other in zip(operator.outputs, twin.outputs, strict=True):
                renamed[index] = integer_graph.tensors[other].name
    return renamed
