"""Values and channels of one tensor, as figures."""

from math import isfinite
from typing import TYPE_CHECKING

import numpy as np

from qsr.analysis.records import ChannelErrors, LayerError
from qsr.reports.drawing import (
    FIRST,
    INK,
    LINE,
    MUTED,
    SECOND,
    SHADE,
    SURFACE,
    WARNING,
    drawing,
)
from qsr.reports.marks import drawable, legend_above, mark_beyond
from qsr.reports.page import Figure
from qsr.reports.wording import amount, decibels

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def histogram_figure(layer: LayerError, name: str) -> Figure | None:
    """Draw the reference's values of a tensor against the tested model's grid.

    Args:
        layer: the tensor.
        name: unlike that of any other figure.

    Returns:
        None if no value was counted.
    """
    histogram = layer.histogram
    counts = np.asarray(histogram.counts)
    if not counts.any() or not isfinite(histogram.minimum + histogram.maximum):
        return None
    lower, upper = histogram.minimum, histogram.maximum
    if lower == upper:
        lower, upper = lower - layer.scale / 2, upper + layer.scale / 2
    edges = np.linspace(lower, upper, len(counts) + 1)
    middles = (edges[1:] + edges[:-1]) / 2
    inside = (middles >= layer.grid_minimum - layer.scale / 2) & (
        middles <= layer.grid_maximum + layer.scale / 2
    )
    error = layer.accumulated
    with drawing(
        name,
        f"Histogram of {layer.label}: values from {amount(layer.minimum)} to "
        f"{amount(layer.maximum)}, grid from {amount(layer.grid_minimum)} to "
        f"{amount(layer.grid_maximum)}, {100 * error.saturated_share:.3g} % saturated.",
        2.4,
    ) as one:
        axes = one.axes()
        axes.axvspan(layer.grid_minimum, layer.grid_maximum, color=SHADE, linewidth=0)
        for end in (layer.grid_minimum, layer.grid_maximum):
            axes.axvline(end, color=MUTED, linewidth=0.9, linestyle=":")
        axes.stairs(np.where(inside, counts, np.nan), edges, fill=True, color=FIRST, linewidth=0)
        if counts[~inside].any():
            axes.stairs(
                np.where(inside, np.nan, counts),
                edges,
                fill=True,
                facecolor=WARNING,
                edgecolor=SURFACE,
                hatch="////",
                linewidth=0,
            )
        axes.set_yscale("log")
        axes.set_ylim(0.5, 2 * counts.max())
        axes.yaxis.set_major_formatter(lambda count, _: f"{count:,.0f}")
        axes.minorticks_off()
        filled = np.flatnonzero(counts)
        lowest = min(edges[filled[0]], layer.grid_minimum)
        highest = max(edges[filled[-1] + 1], layer.grid_maximum)
        axes.set_xlim(lowest - 0.03 * (highest - lowest), highest + 0.03 * (highest - lowest))
        axes.set_xlabel("value")
        axes.set_ylabel("count")
        levels = axes.secondary_xaxis(
            "top",
            functions=(
                lambda value: np.asarray(value) / layer.scale + layer.zero_point,
                lambda level: (np.asarray(level) - layer.zero_point) * layer.scale,
            ),
        )
        levels.set_xlabel("integer")
    return Figure(one.svg, "Values of the reference against the grid of the tested model.")


def channels_figure(layer: LayerError, name: str) -> Figure:
    """Draw SQNR, bias and gain of each channel of a tensor; and what is cut off, if anything is.

    Args:
        layer: the tensor; its local error is shown, or the accumulated one if there is none.
        name: unlike that of any other figure.
    """
    error = layer.local or layer.accumulated
    kind = "local" if layer.local else "accumulated"
    channels = error.channels
    steps = [value / layer.scale for value in channels.mean_error]
    worst = int(np.argmin(channels.sqnr_db))
    cut_off = [100 * share for share in channels.saturated_share]
    most = int(np.argmax(cut_off))
    saturated = f" Of channel {most}, {cut_off[most]:.3g} % are cut off." if any(cut_off) else ""
    with drawing(
        name,
        f"Channels of {layer.label}, {kind} error: the worst is channel {worst} with "
        f"{decibels(channels.sqnr_db[worst])}{' dB' if isfinite(channels.sqnr_db[worst]) else ''}, "
        f"bias {steps[worst]:+.3f} steps.{saturated}",
        3.9 if saturated else 3.2,
    ) as one:
        heights = [3, 2, 2, 2] if saturated else [3, 2, 2]
        rows = one.figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
        upper, middle, lower, *rest = rows
        _draw_channels_sqnr(upper, channels)
        middle.bar(range(len(steps)), steps, color=SECOND)
        middle.axhline(0, color=MUTED, linewidth=0.8)
        middle.set_ylabel("bias\n(steps)")
        lower.plot(channels.gain, color=INK, marker="D", markersize=3, linewidth=0)
        lower.axhline(1, color=MUTED, linewidth=0.8)
        lower.margins(y=0.25)
        lower.set_ylabel("gain")
        for axes in rest:
            axes.bar(
                range(len(steps)),
                cut_off,
                facecolor=WARNING,
                edgecolor=SURFACE,
                hatch="////",
                linewidth=0,
            )
            axes.set_ylabel("cut off\n(%)")
        rows[-1].set_xlabel("channel")
        rows[-1].xaxis.get_major_locator().set_params(integer=True)
        rows[-1].set_xlim(-0.7, len(steps) - 0.3)
        for axes in rows:
            axes.grid(axis="y")
        one.figure.align_ylabels()
        legend_above(one.figure, upper)
    return Figure(one.svg, f"Error of each channel, {kind}.")


def _draw_channels_sqnr(axes: "Axes", channels: ChannelErrors) -> None:
    values = channels.sqnr_db
    finite = [value if drawable(value) else 0.0 for value in values]
    axes.bar(range(len(values)), finite, color=FIRST)
    top, bottom = max([*finite, 1.0]), min([*finite, 0.0])
    mark_beyond(axes, values, (top, bottom + 0.08 * (top - bottom)), FIRST)
    axes.margins(y=0.15)
    axes.axhline(0, color=LINE, linewidth=0.8)
    axes.set_ylabel("SQNR\n(dB)")
