"""Where the boxes of a graph stand."""

import re
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import isotonic_regression

from qsr.reports.graph_layout import Sizes, _apart, _Ranked, layered

SIZES = Sizes()


@st.composite
def graphs(draw):
    """Boxes, each with some of those before it as parents."""
    count = draw(st.integers(1, 14))
    return [
        draw(st.lists(st.integers(0, box - 1), max_size=3, unique=True)) if box else []
        for box in range(count)
    ]


@settings(max_examples=60, deadline=None)
@given(graphs())
def test_boxes_apart_and_downwards(parents):
    """No two boxes overlap, all are within the drawing, and every line leads down, box to box."""
    layout = layered(parents, SIZES)
    for first, (x, y) in enumerate(layout.places):
        assert -1e-6 <= x <= layout.width - SIZES.width + 1e-6
        assert 0 <= y <= layout.height - SIZES.height + 1e-6
        for other_x, other_y in layout.places[first + 1 :]:
            assert y != other_y or abs(x - other_x) >= SIZES.width + SIZES.beside - 1e-6
    assert [(source, target) for source, target, _ in layout.edges] == [
        (parent, box) for box, own in enumerate(parents) for parent in own
    ]
    for source, target, path in layout.edges:
        numbers = [float(number) for number in re.findall(r"-?\d+\.\d+", path)]
        (from_x, from_y), (to_x, to_y) = layout.places[source], layout.places[target]
        assert abs(numbers[0] - from_x - SIZES.width / 2) < 0.06
        assert abs(numbers[1] - from_y - SIZES.height) < 0.06
        assert abs(numbers[-1] - to_y) < 0.06
        assert from_y < to_y
        assert path.endswith(f"V{to_y:.1f}") or abs(numbers[-2] - to_x - SIZES.width / 2) < 0.06


@settings(max_examples=60, deadline=None)
@given(graphs())
def test_lines_pass_beside_boxes(parents):
    """Where a line passes a rank, it runs straight down beside the boxes, never through one."""
    layout = layered(parents, SIZES)
    for _, _, path in layout.edges:
        x = y = 0.0
        for kind, values in re.findall(r"([MCV])([^MCV]*)", path):
            numbers = [float(number) for number in values.split()]
            if kind == "V" and numbers[0] - y > SIZES.below + 0.1:
                for left, top in layout.places:
                    inside = y - 0.1 <= top < numbers[0]
                    assert not (inside and left < x < left + SIZES.width)
            x, y = (x, numbers[0]) if kind == "V" else (numbers[-2], numbers[-1])


def test_chain_is_straight():
    """Boxes in a chain stand below each other, one rank each."""
    layout = layered([[], [0], [1], [2]], SIZES)
    assert len({x for x, _ in layout.places}) == 1
    steps = {below[1] - above[1] for above, below in pairwise(layout.places)}
    assert steps == {SIZES.height + SIZES.below}
    assert layout.width == SIZES.width


def test_branches_without_crossings():
    """Two chains that part and meet again do not cross, in whatever order they are executed."""
    layout = layered([[], [0], [0], [2], [1], [3, 4]], SIZES)
    xs = [x for x, _ in layout.places]
    assert (xs[1] < xs[2]) == (xs[4] < xs[3])


def test_nothing():
    """No box is no drawing."""
    layout = layered([], SIZES)
    assert (layout.places, layout.edges, layout.width, layout.height) == ((), (), 0.0, 0.0)


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=12))
def test_places_closest_to_those_wanted(wanted):
    """Places within a rank are the closest to those wanted, in least squares, as scipy finds."""
    row = list(range(len(wanted)))
    ranked = _Ranked([row], [], [], [], len(row))
    offsets = np.arange(len(wanted)) * (SIZES.width + SIZES.beside)
    expected = isotonic_regression(np.array(wanted) - offsets).x + offsets
    np.testing.assert_allclose(_apart(row, wanted, ranked, SIZES), expected, atol=1e-6)
