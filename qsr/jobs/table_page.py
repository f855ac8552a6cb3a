"""The page of a table of the paper beside ours."""

from collections.abc import Sequence
from typing import Protocol

from qsr.jobs.table_report import TableReport
from qsr.reports import Origin, Page
from qsr.reports.page import Cell, Column, Facts, Names, Row, Section, Table, Text


class Grid(Protocol):
    """A table of text, as the terminal shows it."""

    @property
    def title(self) -> str:
        """What stands above it."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Headings, of one line or of two."""

    @property
    def rows(self) -> tuple[tuple[str, ...], ...]:
        """As many cells each; the first is text, the others begin with a number."""


def table_page(
    report: TableReport, grids: Sequence[Grid], notes: Sequence[str], origin: Origin
) -> Page:
    """Return the page of a table.

    Args:
        report: the table.
        grids: it, laid out.
        notes: what a reader has to know of it.
        origin: of the page.
    """
    facts = [
        ("candidates", report.candidates),
        ("images that chose", report.choosing),
        ("times taken on", f"{report.host}, {report.threads} threads"),
        ("runs", report.runs),
        *((one.name, f"{one.images} images of {one.data}") for one in report.sets),
    ]
    sections = [
        *(
            Section(grid.title, f"table-{place}", (_table(grid),))
            for place, grid in enumerate(grids)
        ),
        Section("Notes", "notes", (Text(tuple(notes)), Facts(tuple(facts)))),
    ]
    lists = [
        Names(f"{title} {one.name}", names)
        for one in report.sets
        for title, names in (
            ("Had a part in quantization, of", one.seen),
            ("Left out of", one.skipped),
        )
        if names
    ]
    if lists:
        sections.append(Section("Images", "images", tuple(lists)))
    return Page(f"Table {report.number}: {report.title}", (), sections, origin)


def _table(grid: Grid) -> Table:
    first, *others = (title.replace("\n", " ") for title in grid.columns)
    return Table(
        grid.title,
        (Column(first, numeric=False), *(Column(title) for title in others)),
        tuple(
            Row((Cell(row[0], row[0]), *(Cell(text, _number(text)) for text in row[1:])))
            for row in grid.rows
        ),
    )


def _number(text: str) -> float | None:
    """Return the number that a cell begins with, which it is sorted by; None without."""
    try:
        return float(text.partition(" ")[0].replace(",", ""))
    except ValueError:
        return None
