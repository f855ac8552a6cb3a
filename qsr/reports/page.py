"""What every report consists of: sections of text, facts, tables, figures, graphs and pictures."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import ClassVar

from qsr.reports.levels import Level

_UPRIGHT = 16
"""Columns that fit across an upright sheet of paper."""


@dataclass(frozen=True)
class Text:
    """Paragraphs.

    Attributes:
        paragraphs: each of one or more sentences.
    """

    paragraphs: tuple[str, ...]
    kind: ClassVar[str] = "text"


@dataclass(frozen=True)
class Command:
    """A command line to copy.

    Attributes:
        purpose: what it is for, before a colon.
        line: as typed in a shell.
    """

    purpose: str
    line: str
    kind: ClassVar[str] = "command"


@dataclass(frozen=True)
class Facts:
    """Names and what they are.

    Attributes:
        items: (name, value).
    """

    items: tuple[tuple[str, str], ...]
    kind: ClassVar[str] = "facts"


@dataclass(frozen=True)
class Names:
    """A list of names, such as tensors.

    Attributes:
        title: what they have in common.
        names: in order.
    """

    title: str
    names: tuple[str, ...]
    kind: ClassVar[str] = "names"


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: what is shown.
        order: what it is sorted by; None sorts last. Text if its column is text.
        note: shown small below the text.
        level: of error, which colours it.
        href: where the text leads, within the page.
    """

    text: str
    order: float | str | None = None
    note: str = ""
    level: Level | None = None
    href: str = ""


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        title: short.
        meaning: what it holds, a sentence; may be empty.
        group: columns of the same group stand below a common heading.
        numeric: whether it is aligned right and sorted by number.
        prose: whether it holds sentences, which need room.
    """

    title: str
    meaning: str = ""
    group: str = ""
    numeric: bool = True
    prose: bool = False


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        cells: one for each column.
        anchor: what links to the row call it; empty if none do.
        marked: whether it stands out.
        tag: a word on why; may be empty.
    """

    cells: tuple[Cell, ...]
    anchor: str = ""
    marked: bool = False
    tag: str = ""


@dataclass(frozen=True)
class Table:
    """A table, which can be sorted by every column.

    Attributes:
        caption: what it shows.
        columns: of which the first names the row.
        rows: in an order that makes sense without sorting.
    """

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    kind: ClassVar[str] = "table"

    @property
    def groups(self) -> list[tuple[str, int]]:
        """Headings over columns and how many columns each spans; empty if there are none."""
        groups = [
            (name, len(list(run))) for name, run in groupby(one.group for one in self.columns)
        ]
        return groups if any(name for name, _ in groups) else []

    @property
    def explained(self) -> list[Column]:
        """Columns that have a meaning to tell."""
        return [column for column in self.columns if column.meaning]


@dataclass(frozen=True)
class Figure:
    """A drawing.

    Attributes:
        svg: an ``<svg>`` element for an HTML page, made by :mod:`qsr.reports.drawing`: trusted.
        caption: what it shows and how to read it.
    """

    svg: str
    caption: str
    kind: ClassVar[str] = "figure"


@dataclass(frozen=True)
class Figures:
    """Figures beside each other, where there is room.

    Attributes:
        title: what they have in common.
        note: a sentence on it; may be empty.
        figures: in order.
    """

    title: str
    note: str
    figures: tuple[Figure, ...]
    kind: ClassVar[str] = "figures"


@dataclass(frozen=True)
class Node:
    """A box of a graph.

    Attributes:
        title: in the box, shortened to fit.
        subtitle: below it.
        values: at the right, at most two, with their levels of error.
        description: everything about it in words.
        href: where it leads, within the page.
        marked: whether it stands out.
        x: left edge, in pixels.
        y: upper edge.
    """

    title: str
    subtitle: str
    values: tuple[tuple[str, Level | None], ...]
    description: str
    href: str
    marked: bool
    x: float
    y: float


@dataclass(frozen=True)
class Graph:
    """Boxes and the lines that join them.

    Attributes:
        caption: what it shows and how to read it.
        description: what is drawn, in words.
        width: in pixels.
        height: in pixels.
        node_width: of each box.
        node_height: of each box.
        nodes: the boxes.
        edges: lines, as the ``d`` of an SVG path.
        legend: levels and what they mean.
    """

    caption: str
    description: str
    width: float
    height: float
    node_width: float
    node_height: float
    nodes: tuple[Node, ...]
    edges: tuple[str, ...]
    legend: tuple[tuple[Level, str], ...]
    kind: ClassVar[str] = "graph"


@dataclass(frozen=True)
class ColourKey:
    """What the colours of a picture stand for.

    Attributes:
        colours: from low to high, at equal distances, as CSS writes them.
        low: what the first stands for.
        high: what the last stands for.
    """

    colours: tuple[str, ...]
    low: str
    high: str


@dataclass(frozen=True)
class Picture:
    """A picture.

    Attributes:
        title: what it is.
        description: for those who do not see it.
        png: content of a PNG file.
        key: what its colours stand for, if they are not its own.
    """

    title: str
    description: str
    png: bytes
    key: ColourKey | None = None

    @property
    def source(self) -> str:
        """The picture as a ``data:`` URL."""
        return f"data:image/png;base64,{b64encode(self.png).decode()}"

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, from the header (PNG specification, section 11.2.2)."""
        return int.from_bytes(self.png[16:20]), int.from_bytes(self.png[20:24])


@dataclass(frozen=True)
class Panels:
    """Pictures of the same thing beside each other.

    Attributes:
        title: of the thing.
        caption: what to see.
        pictures: in order.
        anchor: what links call it; empty if none do.
    """

    title: str
    caption: str
    pictures: tuple[Picture, ...]
    anchor: str = ""
    kind: ClassVar[str] = "panels"


Block = Text | Command | Facts | Names | Table | Figure | Figures | Graph | Panels


@dataclass(frozen=True)
class Section:
    """A part of a page.

    Attributes:
        title: its heading.
        anchor: what links call it.
        blocks: its content, from top to bottom.
        beside: whether, on a wide screen, the first block stands left of all others.
    """

    title: str
    anchor: str
    blocks: tuple[Block, ...]
    beside: bool = False

    @property
    def wide(self) -> bool:
        """Whether a table in it needs a sheet of paper turned sideways."""
        return any(
            isinstance(block, Table) and len(block.columns) > _UPRIGHT for block in self.blocks
        )


@dataclass(frozen=True)
class Origin:
    """Where a page comes from.

    Attributes:
        command: that made it, as typed in a shell.
        version: of qsr.
        date: when, as people write it.
    """

    command: str
    version: str
    date: str


@dataclass(frozen=True)
class Page:
    """A report.

    Attributes:
        title: its heading.
        lead: what matters most, at the top: (what it is about, sentences).
        sections: in order.
        origin: where it comes from.
    """

    title: str
    lead: Sequence[tuple[str, str]]
    sections: Sequence[Section]
    origin: Origin
