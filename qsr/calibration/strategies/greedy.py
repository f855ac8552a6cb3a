"""Greedy growth of a set of images, then floating search: add, drop, swap until nothing improves.

Floating search is of Pudil, Novovičová and Kittler, "Floating search methods in feature selection",
Pattern Recognition Letters 15(11), 1994; a swap is added to its two moves.
"""

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass

from qsr.calibration.proposal import together
from qsr.calibration.ranges import RangeTable
from qsr.calibration.strategies.base import Asking, Batch
from qsr.calibration.study import Trial, best_of
from qsr.errors import UsageError


@dataclass(frozen=True)
class Greedy:
    """Grows a set image by image from the best single one, then lets it float.

    Growth tries every candidate beside those chosen, and takes the best as long as it improves.
    Floating then tries to drop one, to swap one for any other and to add one, and begins anew after
    each improvement. Merging an image whose ranges lie inside gives the same model, which is never
    measured twice; so most of what is asked for costs nothing.

    Attributes:
        largest: number of images at most; None for no bound.
    """

    largest: int | None = None
    name: str = "greedy"

    def propose(self, table: RangeTable) -> Asking:
        """Ask for one move's neighbours at a time."""
        images = table.images
        largest = len(images) if self.largest is None else self.largest
        if not 1 <= largest <= len(images):
            raise UsageError(f"a set of {largest} images asked for; there are {len(images)}")
        chosen = yield from _better(None, ((image,) for image in images))
        while chosen is not None:
            grown = yield from _better(chosen, _added(chosen.images, images, largest))
            if grown is None:
                break
            chosen = grown
        while chosen is not None:
            for neighbours in (
                _dropped(chosen.images),
                _swapped(chosen.images, images),
                _added(chosen.images, images, largest),
            ):
                better = yield from _better(chosen, neighbours)
                if better is not None:
                    break
            chosen = better


def _better(
    chosen: Trial | None, subsets: Iterable[Sequence[str]]
) -> Generator[Batch, Sequence[Trial], Trial | None]:
    """Ask for subsets; return the best of them if it is better than what is chosen."""
    proposals = list(dict.fromkeys(together(sorted(subset)) for subset in subsets))
    if not proposals:
        return None
    best = best_of((yield Batch(proposals, chosen)))
    if best is None or (chosen is not None and not best.score > chosen.score):
        return None
    return best


def _added(subset: Sequence[str], images: Sequence[str], largest: int) -> Iterable[Sequence[str]]:
    if len(subset) < largest:
        for image in images:
            if image not in subset:
                yield (*subset, image)


def _dropped(subset: Sequence[str]) -> Iterable[Sequence[str]]:
    if len(subset) > 1:
        for left_out in subset:
            yield tuple(image for image in subset if image != left_out)


def _swapped(subset: Sequence[str], images: Sequence[str]) -> Iterable[Sequence[str]]:
    for smaller in _dropped(subset):
        for image in images:
            if image not in subset:
                yield (*smaller, image)
