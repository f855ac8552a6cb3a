"""The pictures that lose most are kept, in whatever order they come."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qsr.analysis.pictures import picture_error
from qsr.analysis.worst import WORST_COUNT, Worst, loss_db

LOSSES = st.lists(st.sampled_from([-1.0, 0.0, 0.25, 0.5, 3.0]), max_size=12)


@given(losses=LOSSES, count=st.integers(0, 5), data=st.data())
def test_any_order(losses, count, data):
    """What is kept is what sorting would put first, and equal losses keep the earlier place."""
    expected = sorted(range(len(losses)), key=lambda place: (-losses[place], place))[:count]
    worst = Worst(count)
    for place in data.draw(st.permutations(range(len(losses)))):
        taken = worst.takes(place, losses[place])
        worst.offer(place, losses[place], place)
        assert (place in worst.items) == taken
        assert len(worst.items) <= count
    assert worst.items == tuple(expected)


def test_items_are_never_compared():
    """Things that have no order, such as arrays, can be kept."""
    worst = Worst(2)
    for place in range(4):
        worst.offer(place, 0.5, np.full(3, place))
    assert [item[0] for item in worst.items] == [0, 1]


def test_count():
    """By default a handful is kept."""
    worst = Worst()
    for place in range(50):
        worst.offer(place, float(place), place)
    assert worst.items == tuple(range(49, 49 - WORST_COUNT, -1))


def test_loss():
    """Pictures are ranked by drop, and without an original by how far the two are apart."""
    picture = np.full((20, 20, 3), 90, np.uint8)
    near, far = picture + np.uint8(1), picture + np.uint8(9)
    assert loss_db(picture_error("drop", picture, far, near)) == pytest.approx(20 * math.log10(8))
    alone = [picture_error("alone", picture, tested, None) for tested in (picture, near, far)]
    assert sorted(alone, key=loss_db) == alone
    assert loss_db(alone[0]) == -100
    assert loss_db(replace(alone[0], drop_db=-0.5)) == -0.5
