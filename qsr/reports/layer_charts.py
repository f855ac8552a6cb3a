"""SQNR and cost of all layers, as figures."""

from collections.abc import Sequence
from math import isfinite
from typing import TYPE_CHECKING

import numpy as np

from qsr.analysis.records import LayerCost, LayerError
from qsr.reports.drawing import FIRST, INK, MUTED, SECOND, SURFACE, drawing
from qsr.reports.marks import drawable, legend_above, mark_beyond
from qsr.reports.page import Figure
from qsr.reports.wording import decibels, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ROW = 0.16
"""Inches that a horizontal bar takes."""

_LABEL = 26
"""Characters of a name that fit beside a bar."""

_LEAST_DB = 5e-5
"""A cost that is not printed as 0.0000."""

_NAMED = 32
"""Layers whose names fit below an axis; of more, every few have a number."""


def depth_figure(layers: Sequence[LayerError], anchors: Sequence[str]) -> Figure:
    """Draw accumulated and local SQNR through the depth of the network.

    Args:
        layers: in order of execution.
        anchors: of their rows.
    """
    accumulated = [layer.accumulated.sqnr_db for layer in layers]
    local = [layer.local.sqnr_db if layer.local else None for layer in layers]
    known = [value for value in [*accumulated, *local] if value is not None and drawable(value)]
    lowest, highest = (min(known), max(known)) if known else (0.0, 1.0)
    room = max(1.0, 0.08 * (highest - lowest))
    with drawing(
        "depth",
        f"SQNR through {len(layers)} layers: accumulated from {_ends(accumulated)}, local from "
        f"{_ends([value for value in local if value is not None])}.",
        3.9 if len(layers) <= _NAMED else 2.9,
    ) as one:
        axes = one.axes()
        for values, name, colour, marker, dashes in (
            (local, "local", SECOND, "s", "--"),
            (accumulated, "accumulated", FIRST, "o", "-"),
        ):
            shown = [np.nan if value is None or not drawable(value) else value for value in values]
            axes.plot(
                shown, color=colour, marker=marker, linestyle=dashes, markersize=4, label=name
            )
        for values, colour in ((local, SECOND), (accumulated, FIRST)):
            mark_beyond(axes, values, (highest + room, lowest - room), colour)
        _name_places(axes, layers, anchors)
        axes.set_ylabel("SQNR (dB)")
        axes.set_xlim(-0.7, len(layers) - 0.3)
        axes.grid(axis="y")
        legend_above(one.figure, axes)
    return Figure(
        one.svg,
        "Accumulated (circles, whole line): all layers before are integer, too. Local (squares, "
        "dashed line): this layer alone, fed the reference's values. Higher is better; where the "
        "local curve dips, a layer adds noise of its own.",
    )


def costs_figure(
    layers: Sequence[LayerError], anchors: Sequence[str], *, most: int = 20
) -> Figure | None:
    """Draw what layers cost, the dearest first.

    Args:
        layers: in order of execution.
        anchors: of their rows.
        most: layers that are shown.

    Returns:
        None if no cost was measured.
    """
    measured = [
        (layer, anchor, layer.cost)
        for layer, anchor in zip(layers, anchors, strict=True)
        if layer.cost is not None
    ]
    if not measured:
        return None
    ranked = sorted(measured, key=lambda one: -_largest(one[2]))
    dear = [one for one in ranked if _largest(one[2]) >= _LEAST_DB][:most] or ranked[:1]
    places = np.arange(len(dear))
    first = dear[0]
    with drawing(
        "costs",
        f"Cost in dB of {len(dear)} layers; the dearest is {first[0].label}: alone "
        f"{first[2].alone_db:.4f} dB, recovered {first[2].recovered_db:.4f} dB.",
        0.9 + 2 * _ROW * len(dear),
    ) as one:
        axes = one.axes()
        for shift, values, name, colour, hatch in (
            (-0.2, [cost.alone_db for _, _, cost in dear], "alone", FIRST, ""),
            (0.2, [cost.recovered_db for _, _, cost in dear], "recovered", SECOND, "////"),
        ):
            axes.barh(
                places + shift,
                values,
                height=0.38,
                color=colour,
                label=name,
                hatch=hatch,
                edgecolor=SURFACE,
                linewidth=0,
            )
        axes.set_yticks(places, [shortened(layer.label, _LABEL) for layer, _, _ in dear])
        for text, (_, anchor, _) in zip(axes.get_yticklabels(), dear, strict=True):
            text.set_url(f"#{anchor}")
        axes.set_ylim(len(dear) - 0.4, -0.6)
        axes.axvline(0, color=MUTED, linewidth=0.8)
        axes.set_xlabel("dB of mean PSNR")
        axes.grid(axis="x")
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        legend_above(one.figure, axes)
    others = len(measured) - len(dear)
    left_out = f" {others} others cost less." if others else ""
    return Figure(
        one.svg,
        "Alone: lost when this layer alone is quantized in the reference. Recovered (hatched): got "
        f"back when this layer alone stays in float in the tested model.{left_out}",
    )


def _largest(cost: LayerCost) -> float:
    """Return the larger of what a layer costs alone and what is got back from it."""
    return max(cost.alone_db, cost.recovered_db)


def _name_places(axes: "Axes", layers: Sequence[LayerError], anchors: Sequence[str]) -> None:
    """Write names, or numbers if there are too many, below the places of an axis."""
    count = len(layers)
    if count > _NAMED:
        places = list(range(0, count, max(1, count // 12)))
        axes.set_xticks(places, [str(place + 1) for place in places])
        axes.set_xlabel("layer, by its number in the table")
        return
    axes.set_xticks(
        range(count),
        [shortened(layer.label, _LABEL) for layer in layers],
        rotation=90,
        rotation_mode="anchor",
        ha="right",
        va="center",
        fontsize=8,
    )
    for text, anchor in zip(axes.get_xticklabels(), anchors, strict=True):
        text.set_url(f"#{anchor}")


def _ends(values: Sequence[float]) -> str:
    """Say the first and the last of some values in dB."""
    if not values:
        return "nowhere"
    first, last = (
        f"{decibels(value)}{' dB' if isfinite(value) else ''}" for value in (values[0], values[-1])
    )
    return f"{first} to {last}"
