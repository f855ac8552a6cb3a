"""What figures have in common: marks for infinite values, and legends."""

from collections.abc import Sequence
from math import inf
from typing import TYPE_CHECKING

from qsr.reports.wording import decibels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def mark_endless(
    axes: "Axes", values: Sequence[float | None], edges: tuple[float, float], colour: str
) -> None:
    """Mark where values are infinite: at the first edge, or minus infinite: at the second."""
    for endless, edge, sign in zip((inf, -inf), edges, "^v", strict=True):
        places = [place for place, value in enumerate(values) if value == endless]
        if places:
            heights = [edge] * len(places)
            axes.scatter(places, heights, color=colour, marker=sign, s=22, label=decibels(endless))


def legend_above(figure: "Figure", axes: "Axes") -> None:
    """Explain what is in some axes above the figure, each kind once; nothing if there is none."""
    handles, labels = axes.get_legend_handles_labels()
    kinds = dict(zip(labels, handles, strict=True))
    if kinds:
        figure.legend(list(kinds.values()), list(kinds), loc="outside upper left", ncols=len(kinds))
