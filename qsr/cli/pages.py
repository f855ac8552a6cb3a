"""The pages that commands write with ``--report``."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from qsr.jobs.pages import Origin, Page


def check_page(path: Path | None) -> None:
    """Check, before anything slow is done, that a page can be written, if one is asked for."""
    if path is not None:
        from qsr.jobs.pages import check_page as check

        check(path)


def write_page(path: Path | None, command: str, make: "Callable[[Origin], Page]") -> None:
    """Write a page, if one is asked for.

    Args:
        path: of the page, or None.
        command: that made it, as typed in a shell.
        make: makes it.
    """
    if path is not None:
        from qsr.jobs.pages import origin
        from qsr.jobs.pages import write_page as write

        write(path, make(origin(command)))
