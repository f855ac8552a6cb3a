"""Taking validation images out of the training images."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qsr.data.pairs import Pair
from qsr.errors import ImageError
from qsr.training.images import hold_out


def pairs(count):
    """Name this many pairs, of files that need not be there."""
    return [Pair(str(index), Path(f"{index}.png"), None, 3) for index in range(count)]


@given(count=st.integers(2, 400), most=st.integers(1, 20))
def test_disjoint(count, most):
    """No image is in both parts, none is lost, and both keep their order."""
    kept, held = hold_out(pairs(count), most=most)
    assert set(kept).isdisjoint(held)
    assert sorted([*kept, *held], key=lambda pair: int(pair.name)) == pairs(count)
    for part in (kept, held):
        assert part == sorted(part, key=lambda pair: int(pair.name))


@given(count=st.integers(2, 400), most=st.integers(1, 20))
def test_size(count, most):
    """One image in ten is held out, but at least one and at most so many."""
    _, held = hold_out(pairs(count), most=most)
    assert len(held) == max(1, min(most, count // 10))


@given(count=st.integers(20, 400))
def test_spread(count):
    """The held out images are spread evenly: from each stretch of equal length there is one."""
    _, held = hold_out(pairs(count))
    stretch = count / len(held)
    assert [int((int(pair.name) + 0.5) // stretch) for pair in held] == list(range(len(held)))


@pytest.mark.parametrize("count", [0, 1])
def test_too_few(count):
    """Fewer than two images are an error that says how many there are."""
    with pytest.raises(ImageError, match=f"at least two images.*there is {count}"):
        hold_out(pairs(count))
