"""Bars and curves of a few numbers."""

import re
from xml.etree import ElementTree as ET

import pytest

from qsr.reports.bar_chart import Bar, bar_figure
from qsr.reports.curve_chart import Curve, Mark, curve_figure


def drawn(figure):
    """Return the drawing of a figure, read."""
    return ET.fromstring(figure.svg)  # noqa: S314 (our own)


def test_bars_begin_at_zero():
    """Bars are as long as their values, to either side of one zero; marked ones are hatched."""
    figure = bar_figure(
        "bars",
        [Bar("one", 0.02, "0.02"), Bar("two", -0.01, "-0.01"), Bar("<three>", 0.04, "0.04", True)],
        "cost (dB)",
        "costs",
    )
    ends = []
    for path in drawn(figure).iter("path"):
        style = path.get("style", "")
        if "fill: var(--first)" in style or "fill: url(#" in style:
            xs = [float(x) for x in re.findall(r"[ML] (-?\d+\.?\d*)", path.get("d"))]
            ends.append((min(xs), max(xs)))
    one, two, three = ends[:3]
    assert one[0] == pytest.approx(two[1], abs=1e-3) == pytest.approx(three[0], abs=1e-3)
    assert one[1] - one[0] == pytest.approx(2 * (two[1] - two[0]), rel=1e-3)
    assert three[1] - three[0] == pytest.approx(2 * (one[1] - one[0]), rel=1e-3)
    assert "url(#" in figure.svg
    texts = [one.text for one in drawn(figure).iter("text")]
    assert {"one", "two", "<three>", "-0.01", "cost (dB)"} <= set(texts)


def test_curves_and_marks():
    """Each curve with a point has its name in the legend, and each mark its own beside it."""
    figure = curve_figure(
        "curves",
        [Curve("full", ((1, 30.0), (2, 29.5))), Curve("none", ()), Curve("early", ((1, 29.9),))],
        ("trial", "PSNR (dB)"),
        "trials",
        marks=[Mark("all together", 29.8)],
    )
    texts = {one.text for one in drawn(figure).iter("text")}
    assert {"full", "early", "all together", "trial", "PSNR (dB)"} <= texts
    assert "none" not in texts
    assert "full from 30 to 29.5" in drawn(figure).get("aria-label")


def test_long_curve():
    """A curve of many points is a line without a marker at each."""
    points = tuple((float(x), float(x % 7)) for x in range(500))
    figure = curve_figure("long", [Curve("loss", points)], ("step", "loss"), "loss")
    marks = [one for one in drawn(figure).iter("use") if "var(--first)" in one.get("style", "")]
    assert len(marks) <= 1
