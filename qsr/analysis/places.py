"""Where tensors stand in a network: before and after which others, and under what name."""

from collections.abc import Mapping

from qsr.analysis.dataflow import Dataflow
from qsr.tflite.graph import Tensor


def consistent_names(reference: Dataflow, tested: Dataflow) -> dict[int, int]:
    """Return the heads that have one name in both models; none if that cannot be for all of them.

    Tensors that were only numbered have names that mean nothing, and contradict each other.

    Args:
        reference: one model.
        tested: the other.

    Returns:
        Head of the reference to that of the tested model.
    """
    others = {tested.graph.tensors[value.head].name: value.head for value in tested.values}
    found: dict[int, int] = {}
    for value in reference.values:
        other = others.get(reference.graph.tensors[value.head].name)
        if other is not None:
            if not fits_in(reference, tested, found, value.head, other):
                return {}
            found[value.head] = other
    return found


def contradict(names: Mapping[int, int], heads: Mapping[int, int]) -> bool:
    """Whether what was found are others than those that have one name.

    Args:
        names: head of the reference to that of the tested model with its name.
        heads: head of the reference to that of the tested model that is the same.
    """
    named = {other: head for head, other in names.items()}
    return any(
        names.get(head, other) != other or named.get(other, head) != head
        for head, other in heads.items()
    )


def fits_in(
    reference: Dataflow, tested: Dataflow, heads: Mapping[int, int], head: int, other: int
) -> bool:
    """Whether two heads are of one shape and stand in one place to all that is known.

    Args:
        reference: one model.
        tested: the other.
        heads: what is known: head of the reference to that of the tested model.
        head: of the reference.
        other: of the tested model.
    """
    if not _same_shape(reference.graph.tensors[head], tested.graph.tensors[other]):
        return False
    mine, others = reference.ancestors, tested.ancestors
    above, others_above = mine.get(head, frozenset()), others.get(other, frozenset())
    return all(
        (known in above) == (twin in others_above)
        and (head in mine.get(known, ())) == (other in others.get(twin, ()))
        for known, twin in heads.items()
    )


def _same_shape(one: Tensor, other: Tensor) -> bool:
    """Whether two shapes are equal as far as they are fixed."""
    return len(one.shape) == len(other.shape) and all(
        first == second or min(first, second) < 0
        for first, second in zip(one.shape, other.shape, strict=True)
    )
