"""Curves over one axis, as a figure."""

from collections.abc import Sequence
from dataclasses import dataclass

from qsr.reports.drawing import FIRST, INK, MUTED, SECOND, drawing
from qsr.reports.marks import legend_above
from qsr.reports.page import Figure

_KINDS = (
    (FIRST, "o", "-"),
    (SECOND, "s", "--"),
    (INK, "D", ":"),
)
"""Colour, marker and dashes of each curve: told apart without colours, too."""

_MARKED = 60
"""Points of a curve up to which each has its marker."""


@dataclass(frozen=True)
class Curve:
    """One curve.

    Attributes:
        label: in the legend.
        points: (x, y), finite, in the order of x.
    """

    label: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Mark:
    """A value to compare curves with, drawn across the figure.

    Attributes:
        label: beside it.
        value: on the axis of y.
    """

    label: str
    value: float


def curve_figure(
    name: str,
    curves: Sequence[Curve],
    axes_labels: tuple[str, str],
    caption: str,
    *,
    marks: Sequence[Mark] = (),
) -> Figure:
    """Draw curves, at most three.

    Args:
        name: unlike that of any other figure of the page.
        curves: those with a point are drawn.
        axes_labels: what x and y are, with units.
        caption: what the figure shows.
        marks: values across the figure.
    """
    shown = [curve for curve in curves if curve.points]
    described = "; ".join(
        f"{curve.label} from {curve.points[0][1]:.4g} to {curve.points[-1][1]:.4g}"
        for curve in shown
    )
    with drawing(name, f"{axes_labels[1]} over {axes_labels[0]}: {described}.", 2.9) as one:
        axes = one.axes()
        for curve, (colour, marker, dashes) in zip(shown, _KINDS, strict=False):
            xs, ys = zip(*curve.points, strict=True)
            axes.plot(
                xs,
                ys,
                color=colour,
                linestyle=dashes,
                marker=marker if len(xs) <= _MARKED else "",
                markersize=4,
                label=curve.label,
            )
        for mark in marks:
            axes.axhline(mark.value, color=MUTED, linewidth=0.9, linestyle=":")
            axes.annotate(
                mark.label,
                (1, mark.value),
                xycoords=("axes fraction", "data"),
                xytext=(0, 3),
                textcoords="offset points",
                ha="right",
                color=MUTED,
            )
        axes.ticklabel_format(useOffset=False)
        axes.set_xlabel(axes_labels[0])
        axes.set_ylabel(axes_labels[1])
        axes.grid(axis="y")
        legend_above(one.figure, axes)
    return Figure(one.svg, caption)
