"""Numbers in words."""

from math import inf, nan

import pytest

from qsr.reports.levels import LEVELS, legend, level_of
from qsr.reports.wording import amount, decibels, percent, printable, shortened, sqnr_cell

DASH = "\N{EN DASH}"


@pytest.mark.parametrize(
    ("value", "said"),
    [(31.416, "31.42"), (-0.001, "-0.00"), (inf, "no error"), (-inf, "no signal"), (None, DASH)],
)
def test_decibels(value, said):
    """Infinite values in dB are words, and what is not known is a dash."""
    assert decibels(value) == said


def test_not_a_number_is_not_known():
    """NaN is shown as what is not known, and sorts as that."""
    assert [decibels(nan), amount(nan), percent(nan)] == [DASH] * 3
    assert sqnr_cell(nan).order is None
    assert sqnr_cell(nan).level is None


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.0, "0"), (1.23456e-5, "1.235e-05"), (123.456, "123.5"), (inf, "infinite")],
)
def test_amount(value, said):
    """Numbers of any size have four significant digits."""
    assert amount(value) == said


@pytest.mark.parametrize(
    ("share", "said"), [(0.0, "0"), (0.00001234, "0.0012"), (0.0213, "2.1"), (1.0, "100.0")]
)
def test_percent(share, said):
    """Small shares keep two significant digits, so that none is shown as nothing."""
    assert percent(share) == said


def test_levels():
    """Every SQNR has a level, and the legend names all of them in order."""
    assert level_of(inf) is LEVELS[0]
    assert level_of(-inf) is LEVELS[-1]
    assert [level_of(one.least_db) for one in LEVELS] == list(LEVELS)
    assert [level for level, _ in legend()] == list(LEVELS)
    assert [said for _, said in legend()][1] == "40 to 45 dB"


def test_printable():
    """Control characters and halves of surrogate pairs are replaced; all else stays."""
    assert printable("a\x00b\ud800c\nü漢") == "a\ufffdb\ufffdc\nü漢"


def test_shortened():
    """A long name keeps its end, which tells layers apart."""
    assert shortened("net/block_12/conv", 9) == "\N{HORIZONTAL ELLIPSIS}_12/conv"
    assert shortened("short", 9) == "short"
