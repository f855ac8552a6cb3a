"""Sizes of pictures, as a user writes them."""

import re

from qsr.errors import UsageError

_SIZE = re.compile(r"(\d+)[xX](\d+)")


def height_and_width(size: str, option: str = "--size") -> tuple[int, int]:
    """Return the height and the width of a picture, in pixels.

    Args:
        size: width, then height, such as ``640x360``.
        option: that it was given with.

    Raises:
        UsageError: it is none.
    """
    found = _SIZE.fullmatch(size.strip())
    if found is None:
        raise UsageError(
            f"{option} must be width and height in pixels, such as 640x360, not {size}"
        )
    width, height = (int(number) for number in found.groups())
    return height, width
