"""Sizes that all networks have in common."""

from collections.abc import Mapping
from typing import Any

from qsr.errors import UsageError

RGB_CHANNELS = 3


def output_channels(scale: int) -> int:
    """Return how many channels depth-to-space turns into one RGB block of ``scale * scale``."""
    return RGB_CHANNELS * scale**2


def check_sizes(config: Any, smallest: Mapping[str, int]) -> None:
    """Reject sizes that no network has.

    Args:
        config: config of a network.
        smallest: the smallest valid value of each field that is a size.

    Raises:
        UsageError: a field is smaller.
    """
    for name, least in smallest.items():
        value = getattr(config, name)
        if value < least:
            raise UsageError(f"model.{name} must be at least {least}, not {value}")
