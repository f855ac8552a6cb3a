"""Numbers as people read them: infinities are words, and what is not known is a dash."""

from math import inf, isfinite, isnan

from qsr.reports.levels import level_of
from qsr.reports.page import Cell

UNKNOWN = "\N{EN DASH}"


def printable(text: str) -> str:
    """Return text without what neither XML nor a page can hold, such as control characters."""
    return "".join(
        character if character.isprintable() or character == "\n" else "\N{REPLACEMENT CHARACTER}"
        for character in text
    )


def shortened(text: str, most: int) -> str:
    """Return printable text of so many characters at most; its end tells names apart best."""
    clean = printable(text)
    return clean if len(clean) <= most else f"\N{HORIZONTAL ELLIPSIS}{clean[1 - most :]}"


def decibels(value: float | None, places: int = 2, *, infinite: str = "no error") -> str:
    """Return a value in dB as text.

    Args:
        value: may be infinite; None if not known.
        places: digits behind the point.
        infinite: the word for infinity.
    """
    if value is None or isnan(value):
        return UNKNOWN
    if value == inf:
        return infinite
    return "no signal" if value == -inf else f"{value:.{places}f}"


def amount(value: float | None) -> str:
    """Return a number of any size, with four significant digits."""
    if value is None or isnan(value):
        return UNKNOWN
    if not isfinite(value):
        return "infinite" if value > 0 else "minus infinite"
    return f"{value:.4g}"


def percent(share: float | None) -> str:
    """Return a share from 0 to 1 in percent, small ones with two significant digits."""
    if share is None or isnan(share):
        return UNKNOWN
    hundredth = 100 * share
    return "0" if hundredth == 0 else f"{hundredth:.2g}" if hundredth < 1 else f"{hundredth:.1f}"


def sqnr_cell(value: float | None, *, coloured: bool = True) -> Cell:
    """Return a cell of an SQNR in dB."""
    known = value is not None and not isnan(value)
    level = level_of(value) if coloured and value is not None and known else None
    return Cell(decibels(value), _order(value), level=level)


def decibels_cell(
    value: float | None, places: int = 2, *, infinite: str = "no error", note: str = ""
) -> Cell:
    """Return a cell of a value in dB."""
    return Cell(decibels(value, places, infinite=infinite), _order(value), note=note)


def amount_cell(value: float | None, *, note: str = "") -> Cell:
    """Return a cell of a number of any size."""
    return Cell(amount(value), _order(value), note=note)


def percent_cell(share: float | None) -> Cell:
    """Return a cell of a share from 0 to 1, in percent."""
    return Cell(percent(share), _order(share))


def text_cell(text: str, *, note: str = "", href: str = "") -> Cell:
    """Return a cell of text."""
    return Cell(text, text, note=note, href=href)


def _order(value: float | None) -> float | None:
    return None if value is None or isnan(value) else value
