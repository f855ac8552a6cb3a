"""Operators that cut a tensor into parts, as the strided slices that they are.

XNNPACK runs STRIDED_SLICE, and in float neither SPLIT_V nor a SLICE of what is not of a fixed size.
An operator that it leaves out takes its model apart into pieces, between which all tensors stay in
memory.
"""

from dataclasses import dataclass

from qsr.tflite.graph import Graph, Operator


@dataclass(frozen=True)
class StridedSlice:
    """A part of a tensor, whole along all axes but those that it is cut along.

    Attributes:
        begin: first index along each axis; 0 where the axis is not cut.
        end: index after the last.
        whole: bits of the axes that are not cut, as ``begin_mask`` and ``end_mask`` want them.
    """

    begin: tuple[int, ...]
    end: tuple[int, ...]
    whole: int


def strided_slices(graph: Graph, operator: Operator) -> tuple[StridedSlice, ...] | None:
    """Return what each result of an operator is a slice of its input, one for each.

    Args:
        graph: the model.
        operator: one of its operators.

    Returns:
        None for an operator that is no SPLIT, SPLIT_V or SLICE, or whose parts are not stored.
    """
    match operator.kind:
        case "SPLIT":
            axis, source = operator.inputs
            return _split(graph, operator, source, axis)
        case "SPLIT_V":
            source, _, axis = operator.inputs
            return _split(graph, operator, source, axis)
        case "SLICE":
            return _slice(graph, operator)
        case _:
            return None


def _split(
    graph: Graph, operator: Operator, source: int, axis: int
) -> tuple[StridedSlice, ...] | None:
    rank = len(graph.tensors[source].shape)
    if not graph.tensors[axis].constant or rank == 0:
        return None
    along = int(graph.constant(axis).item()) % rank
    lengths = [graph.tensors[index].shape[along] for index in operator.outputs]
    if min(lengths) < 0:
        return None
    starts = [sum(lengths[:place]) for place in range(len(lengths))]
    return tuple(
        _cut(rank, {along: (start, start + length)})
        for start, length in zip(starts, lengths, strict=True)
    )


def _slice(graph: Graph, operator: Operator) -> tuple[StridedSlice, ...] | None:
    _, begin, size = operator.inputs
    if not (graph.tensors[begin].constant and graph.tensors[size].constant):
        return None
    ends = list(zip(graph.constant(begin).tolist(), graph.constant(size).tolist(), strict=True))
    if any(start and length < 0 for start, length in ends):
        return None
    cuts = {
        axis: (start, start + length) for axis, (start, length) in enumerate(ends) if length >= 0
    }
    return (_cut(len(ends), cuts),)


def _cut(rank: int, cuts: dict[int, tuple[int, int]]) -> StridedSlice:
    return StridedSlice(
        begin=tuple(cuts.get(axis, (0, 0))[0] for axis in range(rank)),
        end=tuple(cuts.get(axis, (0, 0))[1] for axis in range(rank)),
        whole=sum(1 << axis for axis in range(rank) if axis not in cuts),
    )
