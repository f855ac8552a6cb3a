"""Records as plain data."""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import pytest

from qsr.jobs.records import plain


@dataclass(frozen=True)
class Inner:
    """A record with a property."""

    values: tuple[float, ...]
    _hidden: int = 0

    @property
    def mean(self):
        """Stands for the means of an evaluation."""
        return sum(self.values) / len(self.values)


@dataclass(frozen=True)
class Outer:
    """A record of records."""

    name: str
    path: Path
    inner: tuple[Inner, ...]
    by_name: dict[str, Inner]


def test_nested():
    """Fields and public properties of every record inside are there, and nothing else."""
    inner = Inner((1.0, 2.0))
    assert plain(Outer("a", Path("b/c"), (inner, inner), {"x": inner})) == {
        "name": "a",
        "path": "b/c",
        "inner": [{"values": [1.0, 2.0], "mean": 1.5}] * 2,
        "by_name": {"x": {"values": [1.0, 2.0], "mean": 1.5}},
    }


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_not_finite(value):
    """A number that is not finite is text in valid JSON, and float() reads it."""
    text = json.dumps(plain(Inner((value,))), allow_nan=False)
    read = json.loads(text, parse_constant=pytest.fail)
    assert str(float(read["values"][0])) == str(float(read["mean"])) == str(value)


@pytest.mark.parametrize("value", [0, 1.5, True, None, "inf", "text"])
def test_as_it_is(value):
    """What JSON can hold stays as it is."""
    assert plain([value]) == [value]
    assert type(plain(value)) is type(value)
