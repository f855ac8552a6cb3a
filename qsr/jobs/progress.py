"""How jobs tell what they are doing."""

from typing import Protocol


class Progress(Protocol):
    """Called again and again while a job works."""

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        """Take note that ``done`` of ``total`` parts of a stage are done; ``note`` may say more."""
        ...


def silent(stage: str, done: int, total: int, note: str = "") -> None:
    """Say nothing: the default."""
