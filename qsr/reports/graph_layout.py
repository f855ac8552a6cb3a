"""Where the boxes of a network stand: rank below rank, with few crossings and straight lines.

The steps are those of Sugiyama, Tagawa, Toda, "Methods for visual understanding of hierarchical
system structures" (1981): ranks by the longest path, invisible boxes where a line passes a rank,
an order within each rank by the mean place of neighbours, then places.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

_SWEEPS = 12
"""Passes down and up, for the order and again for the places; few networks change after four."""


@dataclass(frozen=True)
class Sizes:
    """Sizes in pixels.

    Attributes:
        width: of a box.
        height: of a box.
        beside: least distance of two boxes in a rank.
        below: distance of two ranks.
        lane: width that a line takes where it passes a rank.
    """

    width: float = 208.0
    height: float = 42.0
    beside: float = 20.0
    below: float = 20.0
    lane: float = 10.0


@dataclass(frozen=True)
class Layout:
    """Where everything stands.

    Attributes:
        width: of all, in pixels.
        height: of all.
        places: (left, top) of each box.
        edges: (source, target, path), the path as the ``d`` of an SVG path.
    """

    width: float
    height: float
    places: tuple[tuple[float, float], ...]
    edges: tuple[tuple[int, int, str], ...]


@dataclass(frozen=True)
class _Ranked:
    """Boxes in ranks, with lines between neighbouring ranks only.

    Attributes:
        rows: vertices of each rank; the first ones are the boxes, by their number, then come lanes.
        above: of each vertex, those that lead to it.
        below: of each vertex, those that it leads to.
        chains: of each line, the vertices that it runs through.
        boxes: number of boxes.
    """

    rows: list[list[int]]
    above: list[list[int]]
    below: list[list[int]]
    chains: list[list[int]]
    boxes: int


def layered(parents: Sequence[Sequence[int]], sizes: Sizes) -> Layout:
    """Lay out a graph without cycles.

    Args:
        parents: of each box, those before it that lead to it.
        sizes: of boxes and distances.
    """
    ranked = _ranked(parents)
    _order(ranked)
    middles = _placed(ranked, sizes)
    pitch = sizes.height + sizes.below
    rank_of = {vertex: rank for rank, row in enumerate(ranked.rows) for vertex in row}
    left = min((middles[vertex] - _half(vertex, ranked, sizes) for vertex in rank_of), default=0.0)
    right = max((middles[vertex] + _half(vertex, ranked, sizes) for vertex in rank_of), default=0.0)
    tops = {vertex: rank * pitch for vertex, rank in rank_of.items()}
    edges = []
    for chain in ranked.chains:
        points = [(middles[vertex] - left, tops[vertex]) for vertex in chain]
        edges.append((chain[0], chain[-1], _path(points, sizes)))
    return Layout(
        width=right - left,
        height=max(0.0, len(ranked.rows) * pitch - sizes.below),
        places=tuple(
            (middles[box] - sizes.width / 2 - left, tops[box]) for box in range(ranked.boxes)
        ),
        edges=tuple(edges),
    )


def _ranked(parents: Sequence[Sequence[int]]) -> _Ranked:
    ranks: list[int] = []
    for own in parents:
        ranks.append(1 + max((ranks[parent] for parent in own), default=-1))
    rows: list[list[int]] = [[] for _ in range(max(ranks, default=-1) + 1)]
    for box, rank in enumerate(ranks):
        rows[rank].append(box)
    chains, count = [], len(parents)
    for box, own in enumerate(parents):
        for parent in dict.fromkeys(own):
            lanes = list(range(count, count + ranks[box] - ranks[parent] - 1))
            count += len(lanes)
            for rank, lane in enumerate(lanes, start=ranks[parent] + 1):
                rows[rank].append(lane)
            chains.append([parent, *lanes, box])
    above: list[list[int]] = [[] for _ in range(count)]
    below: list[list[int]] = [[] for _ in range(count)]
    for chain in chains:
        for upper, lower in pairwise(chain):
            above[lower].append(upper)
            below[upper].append(lower)
    return _Ranked(rows, above, below, chains, len(parents))


def _order(ranked: _Ranked) -> None:
    """Order each rank so that few lines cross."""
    best, fewest = [list(row) for row in ranked.rows], _crossings(ranked)
    for sweep in range(_SWEEPS):
        rows = ranked.rows if sweep % 2 == 0 else ranked.rows[::-1]
        neighbours = ranked.above if sweep % 2 == 0 else ranked.below
        for fixed, row in pairwise(rows):
            place = {vertex: float(spot) for spot, vertex in enumerate(fixed)}
            means = {
                vertex: _mean([place[one] for one in neighbours[vertex]], float(spot))
                for spot, vertex in enumerate(row)
            }
            row.sort(key=means.__getitem__)
        crossings = _crossings(ranked)
        if crossings < fewest:
            best, fewest = [list(row) for row in ranked.rows], crossings
    ranked.rows[:] = best


def _crossings(ranked: _Ranked) -> int:
    count = 0
    for upper, lower in pairwise(ranked.rows):
        place = {vertex: spot for spot, vertex in enumerate(lower)}
        ends = [
            place[one]
            for vertex in upper
            for one in sorted(ranked.below[vertex], key=place.__getitem__)
        ]
        count += sum(
            ends[first] > ends[second]
            for first in range(len(ends))
            for second in range(first + 1, len(ends))
        )
    return count


def _placed(ranked: _Ranked, sizes: Sizes) -> dict[int, float]:
    """Return the middle of each vertex, near those of its neighbours."""
    middles: dict[int, float] = {}
    for row in ranked.rows:
        middles |= dict(zip(row, _apart(row, [0.0] * len(row), ranked, sizes), strict=True))
    for sweep in range(_SWEEPS):
        neighbours = ranked.above if sweep % 2 == 0 else ranked.below
        for row in ranked.rows if sweep % 2 == 0 else ranked.rows[::-1]:
            wanted = [
                _mean([middles[one] for one in neighbours[vertex]], middles[vertex])
                for vertex in row
            ]
            middles |= dict(zip(row, _apart(row, wanted, ranked, sizes), strict=True))
    return middles


def _apart(
    row: Sequence[int], wanted: Sequence[float], ranked: _Ranked, sizes: Sizes
) -> list[float]:
    """Return places closest to those wanted, in least squares, that keep order and distances.

    With the distances taken off, that is isotonic regression, solved by pooling neighbours that
    are in the wrong order (Ayer et al. 1955).
    """
    offsets = [0.0]
    for left, right in pairwise(row):
        gap = _half(left, ranked, sizes) + _half(right, ranked, sizes) + sizes.beside
        offsets.append(offsets[-1] + gap)
    pools: list[tuple[float, int]] = []  # mean and number of values
    for value, offset in zip(wanted, offsets, strict=True):
        mean, count = value - offset, 1
        while pools and pools[-1][0] > mean:
            other, more = pools.pop()
            mean, count = (mean * count + other * more) / (count + more), count + more
        pools.append((mean, count))
    flat = [mean for mean, count in pools for _ in range(count)]
    return [value + offset for value, offset in zip(flat, offsets, strict=True)]


def _half(vertex: int, ranked: _Ranked, sizes: Sizes) -> float:
    return (sizes.width if vertex < ranked.boxes else sizes.lane) / 2


def _path(points: Sequence[tuple[float, float]], sizes: Sizes) -> str:
    """Return a curve from the bottom of the first box to the top of the last, through lanes."""
    steps = [f"M{points[0][0]:.1f} {points[0][1] + sizes.height:.1f}"]
    for (x, y), (next_x, next_y) in pairwise(points):
        start, end = y + sizes.height, next_y
        half = (start + end) / 2
        steps.append(
            f"C{x:.1f} {half:.1f} {next_x:.1f} {half:.1f} {next_x:.1f} {end:.1f}"
            if x != next_x
            else f"V{end:.1f}"
        )
        if (next_x, next_y) != points[-1]:
            steps.append(f"V{next_y + sizes.height:.1f}")
    return " ".join(steps)


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise
