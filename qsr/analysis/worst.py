"""Which few of many pictures lose most, found while they stream by."""

import heapq
from typing import Generic, TypeVar

from qsr.analysis.records import PictureError
from qsr.metrics import counted_db

Item = TypeVar("Item")

WORST_COUNT = 6
"""How many pictures a report shows."""


def loss_db(error: PictureError) -> float:
    """Return what pictures are ranked by, in dB: the more, the worse.

    The drop; without an original, minus the PSNR of one model's picture against the other's.

    Args:
        error: of one picture.
    """
    return -counted_db(error.between_db) if error.drop_db is None else error.drop_db


class Worst(Generic[Item]):
    """Keeps what belongs to the pictures that lose most, and drops the rest at once.

    The same pictures are kept in whatever order they come.

    Args:
        count: of pictures to keep at most.
    """

    def __init__(self, count: int = WORST_COUNT) -> None:
        self._count = count
        self._heap: list[tuple[float, int, Item]] = []  # (loss, minus place, item), least first

    @property
    def items(self) -> tuple[Item, ...]:
        """What is kept, the largest loss first; of equal losses, the earlier place first."""
        return tuple(item for *_, item in sorted(self._heap, reverse=True))

    def takes(self, place: int, loss: float) -> bool:
        """Return whether a picture would be kept as things stand, so that panels are worth drawing.

        Args:
            place: of the picture among all, its own.
            loss: as :func:`loss_db` returns it.
        """
        if len(self._heap) < self._count:
            return True
        return bool(self._heap) and (loss, -place) > self._heap[0][:2]

    def offer(self, place: int, loss: float, item: Item) -> None:
        """Keep what belongs to a picture, if it is among the worst so far.

        Args:
            place: of the picture among all, its own.
            loss: as :func:`loss_db` returns it.
            item: what to keep.
        """
        if self.takes(place, loss):
            push = heapq.heappush if len(self._heap) < self._count else heapq.heappushpop
            push(self._heap, (loss, -place, item))
