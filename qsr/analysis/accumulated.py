"""The error of each tensor with everything before it quantized as well."""

from qsr.analysis.matching import Alignment
from qsr.analysis.pair import PairWindow
from qsr.analysis.sums import ErrorSums, error_sums
from qsr.errors import ModelError


def accumulated_sums(window: PairWindow, alignment: Alignment) -> dict[int, ErrorSums]:
    """Compare every matched tensor on one piece of a picture, where no other piece covers better.

    Args:
        window: the piece, run by both models.
        alignment: of the two models.

    Returns:
        Number of the tested model's tensor to its sums.

    Raises:
        ModelError: two matched tensors are of different shapes, or values of the reference are not
            finite.
    """
    pair, found = window.pair, {}
    for match in alignment.matches:
        values = window.kept(window.reference(match.reference.index))
        integers = window.kept(window.tested(match.tested.index))
        if values.shape != integers.shape:
            raise ModelError(
                f"{match.reference.name} has the shape {values.shape} in {pair.reference_source} "
                f"and {integers.shape} in {pair.tested_source}: not the same network"
            )
        sums = error_sums(values, integers, match.grid)
        if not sums.finite:
            raise ModelError(f"{pair.reference_source}: {match.reference.name} is not finite")
        found[match.tested.index] = sums
    return found
