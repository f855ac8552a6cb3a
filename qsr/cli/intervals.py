"""Numbers with their intervals, as tables show them."""

from math import isfinite


def with_interval(value: float, low: float, high: float, digits: int) -> str:
    """Return a number and its interval; the number alone if the interval has no end.

    Args:
        value: the number.
        low: lower end of its interval; 0 to inf, and -inf to inf, are none.
        high: upper end.
        digits: after the decimal point.
    """
    if not isfinite(high):
        return f"{value:.{digits}f}"
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"
