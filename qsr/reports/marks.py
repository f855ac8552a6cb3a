"""What figures have in common: marks for SQNR beyond an axis, and legends."""

from collections.abc import Sequence
from math import inf
from typing import TYPE_CHECKING

from qsr.reports.wording import decibels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_DB = 100.0
"""SQNR from which a tensor is as good as equal: 16 bits reach 98 dB, float32 itself 150 dB."""


def drawable(sqnr_db: float | None) -> bool:
    """Whether an SQNR is known and has a place on an axis."""
    return sqnr_db is not None and -inf < sqnr_db < MOST_DB


def mark_beyond(
    axes: "Axes", values: Sequence[float | None], edges: tuple[float, float], colour: str
) -> None:
    """Mark SQNRs that have no place: large ones at the first edge, minus infinity at the second."""
    large = [place for place, value in enumerate(values) if value is not None and value >= MOST_DB]
    none = [place for place, value in enumerate(values) if value == -inf]
    for places, edge, sign, label in (
        (large, edges[0], "^", f"{MOST_DB:.0f} dB or more"),
        (none, edges[1], "v", decibels(-inf)),
    ):
        if places:
            heights = [edge] * len(places)
            axes.scatter(places, heights, color=colour, marker=sign, s=22, label=label)


def legend_above(figure: "Figure", axes: "Axes") -> None:
    """Explain what is in some axes above the figure, each kind once; nothing if there is none."""
    handles, labels = axes.get_legend_handles_labels()
    kinds = dict(zip(labels, handles, strict=True))
    if kinds:
        figure.legend(list(kinds.values()), list(kinds), loc="outside upper left", ncols=len(kinds))
