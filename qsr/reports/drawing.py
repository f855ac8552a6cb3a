"""Figures that follow the page that they are in: its colours, its fonts, its links.

matplotlib draws them, with text as text. Its colours stand for the page's: what it writes as
``#000001`` is turned into ``var(--ink)``, so that one drawing is right in light, dark and print.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 5.3
"""Inches: readable in the width of a phone, and two stand beside each other on a screen."""

INK = "#000001"
MUTED = "#000002"
LINE = "#000003"
SURFACE = "#000004"
FIRST = "#000005"
SECOND = "#000006"
WARNING = "#000007"
SHADE = "#000008"
ON_COLOUR = "#000009"

_VARIABLES = {
    "#000000": "var(--ink)",  # what matplotlib draws that was given no colour
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    LINE: "var(--line)",
    SURFACE: "var(--surface)",
    FIRST: "var(--first)",
    SECOND: "var(--second)",
    WARNING: "var(--warning)",
    SHADE: "var(--shade)",
    ON_COLOUR: "var(--on-colour)",
}
"""Each colour of a drawing and the variable of ``page.css`` that it stands for."""

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.titlecolor": INK,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "text.color": INK,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "hatch.linewidth": 0.8,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "legend.fontsize": 9,
}

_HREF = "{http://www.w3.org/1999/xlink}href"


class Drawing:
    """A figure that is being drawn; see :func:`drawing`.

    Attributes:
        figure: of matplotlib.
        svg: the drawing, once it is done.
    """

    def __init__(self, figure: "Figure") -> None:
        self.figure = figure
        self.svg = ""

    def axes(self) -> "Axes":
        """Return a single pair of axes."""
        return self.figure.subplots()


@contextmanager
def drawing(name: str, description: str, height: float) -> Iterator[Drawing]:
    """Draw a figure; its ``svg`` is there when the block ends.

    Args:
        name: unlike that of any other figure of the page: ids are made from it.
        description: for those who do not see it.
        height: in inches.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({**_STYLE, "svg.hashsalt": name}), warnings.catch_warnings():
        # The browser's fonts have what matplotlib's own lacks.
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        one = Drawing(Figure(figsize=(WIDTH, height), layout="constrained"))
        yield one
        file = BytesIO()
        one.figure.savefig(file, format="svg", metadata={"Date": None})
    one.svg = adapted(file.getvalue(), description)


def adapted(svg: bytes, description: str) -> str:
    """Return a file by matplotlib as an element of an HTML page.

    Args:
        svg: the file; each colour is one of this module.
        description: what it shows, in words.

    Raises:
        KeyError: it has a colour that the page has no variable for.
    """
    root = ET.fromstring(svg)  # noqa: S314 (matplotlib has just written it)
    for parent in root.iter():
        for child in [one for one in parent if _local(one.tag) in {"metadata", "style"}]:
            parent.remove(child)
    used = _used_ids(root)
    for element in root.iter():
        element.tag = _local(element.tag)
        _adapt(element, used)
    size = root.attrib["viewBox"].split()[2:]
    root.attrib = {
        "class": "chart",
        "viewBox": root.attrib["viewBox"],
        "width": f"{float(size[0]) * 4 / 3:.0f}",
        "height": f"{float(size[1]) * 4 / 3:.0f}",
        "role": "group" if root.find(".//a") is not None else "img",
        "aria-label": description,
    }
    return ET.tostring(root, encoding="unicode")


def _used_ids(root: ET.Element) -> set[str]:
    """Return the ids that anything in a drawing refers to."""
    used = set()
    for element in root.iter():
        used.add(element.get(_HREF, "").removeprefix("#"))
        for value in element.attrib.values():
            if "url(#" in value:
                used.add(value.partition("url(#")[2].partition(")")[0])
    return used


def _adapt(element: ET.Element, used: set[str]) -> None:
    """Give an element the page's colours and fonts, and links that stay within the page."""
    attributes = dict(element.attrib)
    if attributes.get("id") not in used:
        attributes.pop("id", None)
    attributes.pop("target", None)
    if _HREF in attributes:
        attributes["href"] = attributes.pop(_HREF)
    style = dict(
        part.strip().split(": ", maxsplit=1)
        for part in attributes.pop("style", "").split(";")
        if part.strip()
    )
    style.pop("font-family", None)
    for name in ("fill", "stroke"):
        value = attributes.pop(name, None) or style.pop(name, None)
        if value is not None:
            style[name] = _VARIABLES[value] if value.startswith("#") else value
    if style:
        attributes["style"] = "; ".join(f"{name}: {value}" for name, value in style.items())
    if "d" in attributes:
        attributes["d"] = " ".join(attributes["d"].split())
    element.attrib = attributes
    if element.tag != "text":
        element.text = None
    element.tail = None


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]
