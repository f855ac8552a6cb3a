"""Reads the tables of targets."""

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from qsr.errors import UsageError

_ROOM = files("qsr.targets")


@dataclass(frozen=True)
class OperatorList:
    """Operators that a public source names.

    Attributes:
        operators: TFLite's names, such as ``CONV_2D``.
        source: its address.
        exhaustive: whether the source says that what it does not name does not run there. False for
            lists of what is refused.
    """

    operators: tuple[str, ...]
    source: str
    exhaustive: bool = False


@dataclass(frozen=True, kw_only=True)
class Target:
    """What is publicly known of hardware that runs integer models.

    Attributes:
        name: what the command line calls it.
        title: what it is.
        per_channel: whether it runs weights with a scale per output channel well; else one scale
            has to serve a whole kernel.
        per_channel_source: address of what says so.
        fixed_size: whether the input's size must be known when the model is compiled.
        fixed_size_source: address of what says so; None if nothing is known.
        runs: operators that it runs; nothing is known of operators if empty.
        refuses: operators that it does not run.
    """

    name: str
    title: str
    per_channel: bool
    per_channel_source: str
    fixed_size: bool
    fixed_size_source: str | None
    runs: tuple[OperatorList, ...]
    refuses: tuple[OperatorList, ...]

    def refusal(self, operator: str) -> str | None:
        """Return the address of what says that an operator does not run; None if nothing does."""
        for listed in self.refuses:
            if operator in listed.operators:
                return listed.source
        if self.names(operator):
            return None
        return next((listed.source for listed in self.runs if listed.exhaustive), None)

    def names(self, operator: str) -> bool:
        """Whether a source names an operator among those that run."""
        return any(operator in listed.operators for listed in self.runs)


@cache
def target_names() -> tuple[str, ...]:
    """Return the names of all targets."""
    return tuple(
        sorted(
            file.name.removesuffix(".toml")
            for file in _ROOM.iterdir()
            if file.name.endswith(".toml")
        )
    )


@cache
def target_named(name: str) -> Target:
    """Return a target.

    Raises:
        UsageError: no such target; the valid names are given.
    """
    if name not in target_names():
        raise UsageError(f"no target named {name!r}; give one of: {', '.join(target_names())}")
    stored = tomllib.loads((_ROOM / f"{name}.toml").read_text(encoding="utf-8"))
    taken = stored.get("input", {})
    return Target(
        name=name,
        title=stored["title"],
        per_channel=stored["weights"]["per_channel"],
        per_channel_source=stored["weights"]["source"],
        fixed_size=taken.get("fixed_size", False),
        fixed_size_source=taken.get("source"),
        runs=_lists(stored.get("runs", ())),
        refuses=_lists(stored.get("refuses", ())),
    )


def _lists(entries: Iterable[dict[str, object]]) -> tuple[OperatorList, ...]:
    return tuple(
        OperatorList(**{**entry, "operators": tuple(entry["operators"])})  # type: ignore[arg-type]
        for entry in entries
    )
