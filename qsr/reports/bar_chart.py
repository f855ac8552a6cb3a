"""Bars of a few named numbers, as a figure."""

from collections.abc import Sequence
from dataclasses import dataclass

from qsr.reports.drawing import FIRST, INK, MUTED, SECOND, SURFACE, drawing
from qsr.reports.page import Figure
from qsr.reports.wording import shortened

_ROW = 0.3
"""Inches that a bar takes."""

_LABEL = 30
"""Characters of a label that fit beside a bar."""


@dataclass(frozen=True)
class Bar:
    """One bar.

    Attributes:
        label: beside it.
        value: that it shows.
        text: at its end.
        marked: whether it stands out.
    """

    label: str
    value: float
    text: str
    marked: bool = False


def bar_figure(name: str, bars: Sequence[Bar], axis: str, caption: str) -> Figure:
    """Draw bars from zero, below each other.

    Args:
        name: unlike that of any other figure of the page.
        bars: from top to bottom; their values are finite.
        axis: what their length means, with its unit.
        caption: what the figure shows.
    """
    described = "; ".join(f"{bar.label} {bar.text}" for bar in bars)
    with drawing(name, f"{axis}: {described}.", 0.7 + _ROW * len(bars)) as one:
        axes = one.axes()
        for place, bar in enumerate(bars):
            colour = SECOND if bar.marked else FIRST
            axes.barh(
                place,
                bar.value,
                height=0.66,
                color=colour,
                hatch="////" if bar.marked else "",
                edgecolor=SURFACE,
                linewidth=0,
            )
            axes.annotate(
                bar.text,
                (max(bar.value, 0.0), place),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
            )
        axes.set_yticks(range(len(bars)), [shortened(bar.label, _LABEL) for bar in bars])
        axes.invert_yaxis()
        axes.margins(x=0.2)
        axes.axvline(0, color=MUTED, linewidth=0.8)
        axes.set_xlabel(axis)
        axes.grid(axis="x")
        axes.tick_params(axis="y", length=0, labelcolor=INK)
    return Figure(one.svg, caption)
