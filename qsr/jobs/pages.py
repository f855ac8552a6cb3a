"""Pages that commands write: where they may lie, where they come from, and that they are whole."""

from datetime import UTC, datetime
from pathlib import Path

from qsr import __version__
from qsr.jobs.new_files import Product, check_new, write_text
from qsr.reports import Origin, Page, page_html

__all__ = ["Origin", "Page", "check_page", "origin", "write_page"]

_PAGE = Product("the page", ".html", "--report")


def check_page(path: Path) -> None:
    """Check, before anything slow is done, that a page can be written.

    Args:
        path: of the page.

    Raises:
        UsageError: its name does not end in ``.html``, or its folder cannot be written to.
    """
    check_new(path, _PAGE)


def write_page(path: Path, page: Page) -> None:
    """Write a page whole or not at all.

    Args:
        path: of the file.
        page: the report.

    Raises:
        UsageError: it cannot be written.
    """
    write_text(path, page_html(page))


def origin(command: str) -> Origin:
    """Return where a page comes from that is made now.

    Args:
        command: that makes it, as typed in a shell.
    """
    return Origin(command, __version__, datetime.now(UTC).date().isoformat())
