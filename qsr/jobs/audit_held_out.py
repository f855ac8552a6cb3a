"""What held-out images say about a representative set: saturation, and what would lessen it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qsr.calibration.audit import (
    FINER,
    Dropped,
    GridsOf,
    TensorSaturation,
    error_change_db,
    saturations,
    scaled,
    squared_errors,
)
from qsr.calibration.ranges import Ranges, RangeTable
from qsr.calibration.saturation import Saturation
from qsr.data.pairs import Pair
from qsr.errors import UsageError
from qsr.jobs.audit_records import AddAdvice, HeldOut

_MOST_ADDED = 64
"""Held-out images that are tried as an addition: those that widen the grids most."""

Measure = Callable[[Sequence[Pair], Sequence[Ranges]], Saturation]


@dataclass(frozen=True)
class Columns:
    """Which tensors of the table count.

    Attributes:
        judged: ``(tensors,)``: their grid follows from the images.
        leads: one judged tensor of each grid: where tensors share one, the tensor that fills it.
    """

    judged: NDArray[np.bool_]
    leads: NDArray[np.bool_]

    def of(self, ranges: Ranges) -> Ranges:
        """Return the ranges of the judged tensors alone."""
        names = tuple(np.array(ranges.tensors, dtype=object)[self.judged])
        return Ranges(names, ranges.minimum[self.judged], ranges.maximum[self.judged])


@dataclass(frozen=True)
class Without:
    """What dropping an image does to held-out images.

    Attributes:
        share: share of their activations that are cut off without it, in the worst tensor.
        error_change_db: how much larger the error of saturation and rounding gets, in dB.
    """

    share: float
    error_change_db: float


@dataclass(frozen=True)
class HeldOutFindings:
    """Everything that held-out images say.

    Attributes:
        summary: over all tensors.
        tensors: tensor name to how the held-out activations fit.
        without: what dropping the image would do; None without one.
    """

    summary: HeldOut
    tensors: dict[str, TensorSaturation]
    without: Without | None


class Unseen:
    """The held-out images that the set does not have, told by their pixels.

    Args:
        table: the ranges of the set.
        held_out: the ranges of the held-out images.
        pairs: the held-out images.

    Raises:
        UsageError: the set has all of them.
    """

    def __init__(self, table: RangeTable, held_out: RangeTable, pairs: Sequence[Pair]) -> None:
        in_set = set(table.image_hashes)
        hashes = zip(held_out.images, held_out.image_hashes, strict=True)
        self.shared = tuple(name for name, digest in hashes if digest in in_set)
        names = [name for name in held_out.images if name not in set(self.shared)]
        if not names:
            raise UsageError(
                "every image of --against is in --images too; give images that the set does not "
                "have, or leave --against out"
            )
        self.table = held_out.subset(names)
        self.pairs = tuple(pair for pair in pairs if pair.name in set(names))


def held_out_findings(
    unseen: Unseen,
    merged: Ranges,
    drop: Dropped | None,
    *,
    grids_of: GridsOf,
    columns: Columns,
    measure: Measure,
) -> HeldOutFindings:
    """Measure saturation as it is, and with one image more or less, in one run per image.

    Args:
        unseen: the held-out images.
        merged: the ranges of the set.
        drop: the set without the image that may be dropped.
        grids_of: gives the grids that follow from ranges.
        columns: which tensors count; at least one is judged.
        measure: counts what lies outside grids.
    """
    grids = grids_of(merged)
    added = _widening(unseen.table, merged, grids, columns)
    sets = [grids, *(scaled(grids, share) for share in FINER)]
    sets += [drop.grids] if drop is not None else []
    first_added = len(sets)
    sets += [grids_of(_widened(merged, unseen.table, row)) for row in added]
    sets = [columns.of(one) for one in sets]
    saturation = measure(unseen.pairs, sets)
    records = saturations(saturation, sets[0], tuple(enumerate(FINER, start=1)))
    leads = columns.leads[columns.judged]
    worst = max(range(len(records)), key=lambda column: records[column].share)
    shares = _shares(saturation)
    worst_image = int(shares.max(axis=1).argmax())
    summary = HeldOut(
        images=len(saturation.images),
        worst_share=records[worst].share,
        worst_tensor=saturation.tensors[worst],
        saturating_images=int((shares > 0).any(axis=1).sum()),
        worst_image=saturation.images[worst_image],
        worst_image_share=float(shares[worst_image].max()),
        gain_db=float(np.mean([record.gain_db for record in records], where=leads)),
        add=_add_advice(saturation, sets, dict(enumerate(added, start=first_added)), leads),
        shared=unseen.shared,
    )
    without = None
    if drop is not None:
        place = 1 + len(FINER)
        before, after = (squared_errors(saturation, at, sets[at]) for at in (0, place))
        change = error_change_db(before, after)
        without = Without(worst_share(saturation, place), float(change[leads].mean()))
    return HeldOutFindings(summary, dict(zip(saturation.tensors, records, strict=True)), without)


def worst_share(saturation: Saturation, place: int = 0, rows: Sequence[int] | None = None) -> float:
    """Return the share of activations outside, of the tensor where it is largest; 0 to 1.

    Args:
        saturation: what was measured.
        place: which set of ranges.
        rows: over which images; all if None.
    """
    chosen = slice(None) if rows is None else list(rows)
    outside = saturation.below[chosen, place] + saturation.above[chosen, place]
    return float((outside.sum(axis=0) / saturation.values[chosen].sum(axis=0)).max())


def _shares(saturation: Saturation) -> NDArray[np.float64]:
    """Return the share outside the first set of ranges, per image and tensor."""
    outside = saturation.below[:, 0] + saturation.above[:, 0]
    return np.asarray(outside / saturation.values)


def _widening(table: RangeTable, merged: Ranges, grids: Ranges, columns: Columns) -> list[int]:
    """Return the rows of the images that would widen grids, the most first."""
    width = grids.maximum.astype(np.float64) - grids.minimum
    over = np.maximum(table.maximum - merged.maximum, 0)
    under = np.maximum(merged.minimum - table.minimum, 0)
    wider = ((over + under) / np.where(width > 0, width, 1))[:, columns.leads].sum(axis=1)
    order = np.argsort(-wider, kind="stable")
    return [int(row) for row in order if wider[row] > 0][:_MOST_ADDED]


def _widened(ranges: Ranges, table: RangeTable, row: int) -> Ranges:
    """Return the ranges with one more image."""
    return Ranges(
        ranges.tensors,
        np.minimum(ranges.minimum, table.minimum[row]),
        np.maximum(ranges.maximum, table.maximum[row]),
    )


def _add_advice(
    saturation: Saturation,
    sets: Sequence[Ranges],
    added: dict[int, int],
    leads: NDArray[np.bool_],
) -> AddAdvice | None:
    """Return which image helps the others most; None if none does, or there are no others.

    Args:
        saturation: what was measured.
        sets: the grids of each set of ranges.
        added: place of a set to the row of the image that was added.
        leads: which tensors count.
    """
    best: AddAdvice | None = None
    for place, row in added.items():
        others = [other for other in range(len(saturation.images)) if other != row]
        if not others:
            return None
        before, after = (squared_errors(saturation, at, sets[at], others) for at in (0, place))
        change = float(error_change_db(before, after)[leads].mean())
        if change < (0.0 if best is None else best.error_change_db):
            best = AddAdvice(
                image=saturation.images[row],
                share_before=worst_share(saturation, 0, others),
                share_after=worst_share(saturation, place, others),
                error_change_db=change,
            )
    return best
