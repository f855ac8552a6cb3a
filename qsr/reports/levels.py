"""How large an error is, in five steps of colour that are the same on every page."""

from dataclasses import dataclass
from itertools import pairwise
from math import inf


@dataclass(frozen=True)
class Level:
    """A range of SQNR.

    Attributes:
        name: of its colours in ``page.css``.
        least_db: lower end, which belongs to it.
        colour: of its background on white.
    """

    name: str
    least_db: float
    colour: str


LEVELS = (
    Level("level-0", 45.0, "#e4eef5"),
    Level("level-1", 40.0, "#fdf1cf"),
    Level("level-2", 35.0, "#fbd695"),
    Level("level-3", 30.0, "#f4ab5c"),
    Level("level-4", 25.0, "#dd7043"),
    Level("level-5", -inf, "#a92f2a"),
)
"""From the smallest error to the largest. A uniform value over all of an 8-bit grid has 48 dB."""


def level_of(sqnr_db: float) -> Level:
    """Return the level of an SQNR in dB; may be infinite."""
    return next(level for level in LEVELS if sqnr_db >= level.least_db)


def legend() -> tuple[tuple[Level, str], ...]:
    """Return every level and what it means."""
    first, last = LEVELS[0], LEVELS[-1]
    between = [
        (level, f"{level.least_db:.0f} to {above.least_db:.0f} dB")
        for above, level in pairwise(LEVELS[:-1])
    ]
    return (
        (first, f"{first.least_db:.0f} dB or more"),
        *between,
        (last, f"below {LEVELS[-2].least_db:.0f} dB"),
    )
