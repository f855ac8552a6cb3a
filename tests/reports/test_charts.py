"""What figures draw, read from their SVG."""

import re
from dataclasses import replace
from math import inf
from xml.etree import ElementTree as ET

import pytest

from qsr.analysis.records import CauseCosts
from qsr.reports.causes_chart import causes_figure
from qsr.reports.drawing import INK, adapted, drawing
from qsr.reports.layer_charts import costs_figure, depth_figure
from qsr.reports.tensor_charts import channels_figure, histogram_figure


def drawn(figure):
    """Return the drawing of a figure, read."""
    return ET.fromstring(figure.svg)  # noqa: S314 (our own)


def shapes(figure, paint):
    """Return (left, right, height) of every path of a figure that is filled with a paint."""
    found = []
    for path in drawn(figure).iter("path"):
        if f"fill: {paint}" in path.get("style", ""):
            numbers = [float(number) for number in re.findall(r"-?\d+\.?\d*", path.get("d"))]
            xs, ys = numbers[::2], numbers[1::2]
            found.append((min(xs), max(xs), max(ys) - min(ys)))
    return found


def texts(figure):
    """Return every text of a figure."""
    return [one.text for one in drawn(figure).iter("text")]


def test_causes_add_up():
    """Each bar begins where the one above ends, the whole spans all, and widths are the costs."""
    causes = CauseCosts(
        weights_db=0.03,
        activations_db=0.05,
        saturation_db=0.02,
        io_grid_db=0.01,
        interaction_db=-0.015,
        reference_rounding_db=0.0,
        kernels_db=0.005,
        total_db=0.08,
        last_rounding_db=0.004,
    )
    figure = causes_figure(causes)
    weights, activations, io_grid, kernels = shapes(figure, "var(--first)")
    (interaction,) = shapes(figure, "var(--second)")
    (whole,) = shapes(figure, "var(--ink)")
    unit = (whole[1] - whole[0]) / causes.total_db
    assert weights[0] == pytest.approx(whole[0], abs=1e-3)
    assert activations[0] == pytest.approx(weights[1], abs=1e-3)
    assert io_grid[0] == pytest.approx(activations[1], abs=1e-3)
    assert interaction[1] == pytest.approx(io_grid[1], abs=1e-3)
    assert kernels[0] == pytest.approx(interaction[0], abs=1e-3)
    assert kernels[1] == pytest.approx(whole[1], abs=1e-3)
    for bar, value in ((weights, 0.03), (activations, 0.05), (interaction, 0.015)):
        assert bar[1] - bar[0] == pytest.approx(unit * value, rel=1e-3)
    assert {"+0.0300", "+0.0500", "+0.0100", "-0.0150", "+0.0050", "0.0800", "0.0040"} <= set(
        texts(figure)
    )


def test_depth_marks_infinite_values(comparison):
    """The curve through the depth marks layers of hardly any error or no signal, in words."""
    anchors = [f"layer-{place}" for place in range(len(comparison.layers))]
    words = set(texts(depth_figure(comparison.layers, anchors)))
    assert {"100 dB or more", "no signal", "accumulated", "local"} <= words
    finite = depth_figure(comparison.layers[:3], anchors[:3])
    assert not {"100 dB or more", "no signal"} & set(texts(finite))


def test_depth_of_equal_tensors(comparison):
    """SQNR of float32's own rounding does not stretch the axis, on which 8 bits are to be told."""
    equal = replace(
        comparison.layers[1],
        accumulated=replace(comparison.layers[1].accumulated, sqnr_db=144.9),
        local=None,
    )
    words = texts(depth_figure([equal, *comparison.layers[1:3]], ["a", "b", "c"]))
    assert "100 dB or more" in words
    ticks = [float(text) for text in words if text and text.replace(".", "").isdigit()]
    assert ticks
    assert max(ticks) < 60


def test_depth_links_to_rows(comparison):
    """Every layer's name below the curve leads to its row."""
    anchors = [f"layer-{place}" for place in range(len(comparison.layers))]
    figure = depth_figure(comparison.layers, anchors)
    links = [one.get("href") for one in drawn(figure).iter("a")]
    assert links == [f"#{anchor}" for anchor in anchors]


def test_costs_dearest_first(comparison):
    """Bars of cost are sorted, the dearest first, and the others are counted."""
    anchors = [f"layer-{place}" for place in range(len(comparison.layers))]
    figure = costs_figure(comparison.layers, anchors, most=5)
    measured = [layer for layer in comparison.layers if layer.cost]
    dear = sorted(measured, key=lambda one: -max(one.cost.alone_db, one.cost.recovered_db))[:5]
    links = [one.get("href") for one in drawn(figure).iter("a")]
    assert links == [f"#layer-{comparison.layers.index(layer)}" for layer in dear]
    assert f"{len(measured) - 5} others cost less" in figure.caption
    bars = [right - left for left, right, height in shapes(figure, "var(--first)") if height > 5]
    assert bars[:5] == sorted(bars[:5], reverse=True)


def test_costs_unknown(comparison):
    """Without a single cost, there is no figure of costs."""
    layers = [replace(layer, cost=None) for layer in comparison.layers]
    assert costs_figure(layers, ["a"] * len(layers)) is None


def test_histogram_hatches_what_is_cut_off(comparison):
    """Values beyond the grid are hatched, and only where there are any."""
    inner, beyond = comparison.layers[1], comparison.layers[3]
    assert "url(#" not in _fills(histogram_figure(inner, "one"))
    assert "url(#" in _fills(histogram_figure(beyond, "two"))
    assert "saturated" in drawn(histogram_figure(beyond, "two")).get("aria-label")


def test_histogram_shows_the_grid(comparison):
    """The shaded part of a histogram is as wide as the grid is in the scale of its values."""
    layer = comparison.layers[3]
    figure = histogram_figure(layer, "grid")
    ((left, right, _),) = shapes(figure, "var(--shade)")
    ((start, end, _),) = [one for one in shapes(figure, "url(#") if one[2] > 5]
    span = layer.histogram.maximum - layer.histogram.minimum
    width = span / len(layer.histogram.counts)
    first = layer.grid_maximum + layer.scale / 2
    cut = span - (first - layer.histogram.minimum)
    assert (end - start) / (right - left) == pytest.approx(
        cut / (layer.grid_maximum - layer.grid_minimum),
        abs=width / (layer.grid_maximum - layer.grid_minimum),
    )


def test_histogram_without_empty_ends(comparison):
    """Empty bins at the ends of a histogram take no room from those that are filled."""
    layer = comparison.layers[1]
    counts = layer.histogram.counts
    span = layer.histogram.maximum - layer.histogram.minimum
    padded = replace(
        layer.histogram,
        counts=(*[0] * len(counts), *counts, *[0] * len(counts)),
        minimum=layer.histogram.minimum - span,
        maximum=layer.histogram.maximum + span,
    )
    widths = [
        right - left
        for histogram in (layer.histogram, padded)
        for left, right, _ in shapes(
            histogram_figure(replace(layer, histogram=histogram), "pad"), "var(--shade)"
        )
    ]
    assert widths[0] == pytest.approx(widths[1], rel=1e-3)


def test_histogram_of_nothing(comparison):
    """Without values, or with endless ones, there is no histogram."""
    layer = comparison.layers[1]
    for histogram in (
        replace(layer.histogram, counts=(0, 0)),
        replace(layer.histogram, maximum=inf),
    ):
        assert histogram_figure(replace(layer, histogram=histogram), "none") is None


def test_channels_of_the_local_error(comparison):
    """Bars of channels are the layer's own error, the accumulated one only without it."""
    layer = comparison.layers[1]
    assert "local" in channels_figure(layer, "own").caption
    assert "accumulated" in channels_figure(replace(layer, local=None), "all").caption


def test_channels_that_are_cut_off(comparison):
    """Each channel that is cut off has a hatched bar in a row of its own, and no other has one."""
    inner, beyond = comparison.layers[1], comparison.layers[3]
    whole = channels_figure(inner, "whole")
    assert "cut off" not in " ".join(texts(whole))
    assert "url(#" not in _fills(whole)
    figure = channels_figure(beyond, "cut")
    assert {"cut off", "(%)"} <= set(texts(figure))
    assert len([one for one in shapes(figure, "url(#") if one[2] > 1]) == 1
    assert "channel 4, 17 % are cut off" in drawn(figure).get("aria-label")


def test_ids_are_of_their_figure():
    """Ids of two figures of a page differ, and only those that are used are kept."""
    ids = []
    for name in ("one", "two"):
        with drawing(name, "a hatched bar", 1.0) as one:
            one.axes().bar([0], [1], color=INK, edgecolor=INK, hatch="//")
        ids.append({found.get("id") for found in drawn(one).iter() if found.get("id")})
    assert all(ids)
    assert not ids[0] & ids[1]


def test_colour_that_the_page_lacks():
    """A colour that stands for none of the page's is refused, not drawn."""
    svg = (
        b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1">'
        b'<path d="M 0 0" style="fill: #123456"/></svg>'
    )
    with pytest.raises(KeyError, match="123456"):
        adapted(svg, "a dot")


def _fills(figure):
    return " ".join(path.get("style", "") for path in drawn(figure).iter("path"))
