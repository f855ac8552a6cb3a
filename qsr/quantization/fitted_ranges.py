"""Activation ranges that make the squared error of 8 bits small: of rounding, and of cutting off.

A range that spans every value seen rounds all of them coarsely for the sake of a few. One that cuts
off the rare extremes has less error on the whole (Banner et al., 2019, "Post Training 4-bit
Quantization of Convolutional Networks for Rapid-Deployment", section 3, for Gaussian and Laplacian
values; here the values are counted).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qsr.calibration.ranges import Ranges
from qsr.errors import UsageError
from qsr.quantization.shared_grids import (
    KEEPS_GRID,
    STEPS,
    SharedGrid,
    picture_addends,
    shared_grids,
)
from qsr.tflite.graph import Graph
from qsr.tflite.io_grid import Range
from qsr.tflite.runtime import Image, reading_runner

_BINS = 2048
"""Values are counted in so many bins: eight for each step."""

_SHARES = np.linspace(0.2, 1.0, 161)
"""How much of each end of the widest range is kept; those that are tried."""


@dataclass(frozen=True)
class CountedValues:
    """How often the values of each grid occur.

    Attributes:
        ranges: of the activations, as wide as they may become.
        grids: those whose range is not known beforehand.
        counts: ``(bins,)`` of each grid, over its range.
        aligned: of each grid, the range of the picture's step if it is added to one of that grid.
    """

    ranges: Ranges
    grids: tuple[SharedGrid, ...]
    counts: tuple[NDArray[np.int64], ...]
    aligned: tuple[Range | None, ...]

    def fitted(self, cut_weight: float) -> Ranges:
        """Return the ranges of least squared error, for activations of 8 bits.

        For each grid the sum over all values of ``step**2 / 12`` is made small, plus ``cut_weight``
        times the squares of what is cut off. What is added to a tensor of the picture's grid, with
        a sum of that grid, gets the picture's step where cutting it to that grid costs less: the
        sum is then exact, and nothing is rounded twice.

        Args:
            cut_weight: 1 for the least squared error on what was counted; more if values cut off
                disturb more than their squares say, or if other images may hold larger ones.

        Returns:
            The same ranges, with others for all grids that are not known beforehand.

        Raises:
            UsageError: a weight that is not positive.
        """
        if not cut_weight > 0:
            raise UsageError(f"a weight of {cut_weight} for what is cut off; give a positive one")
        known: dict[str, Range] = {}
        for grid, count, aligned in zip(self.grids, self.counts, self.aligned, strict=True):
            best = _best_range(grid, count, cut_weight, aligned)
            known.update(dict.fromkeys(grid.tensors, best))
        return self.ranges.with_known(known)


def count_values(
    model: bytes, ranges: Ranges, images: Sequence[Image], *, source: str = "model"
) -> CountedValues:
    """Count the values of a float model's activations.

    Args:
        model: content of a float ``.tflite`` file.
        ranges: of its activations, as wide as they may become.
        images: LR pictures ``(h, w, 3)`` ``uint8``.
        source: named in errors.

    Raises:
        ModelError: the model cannot be run.
        UsageError: no image.
    """
    if not images:
        raise UsageError("no images to count values on")
    graph = Graph(model, source=source)
    free = tuple(grid for grid in shared_grids(graph, ranges) if not grid.fixed)
    made = [_makers(graph, grid) for grid in free]
    counts = [np.zeros(_BINS, np.int64) for _ in free]
    tensors = [index for makers in made for index in makers]
    if tensors:
        runner = reading_runner(model, tensors, source=source)
        for image in images:
            for window in runner.windows(image):
                for place, (grid, makers) in enumerate(zip(free, made, strict=True)):
                    for index in makers:
                        counts[place] += _counted(runner.kept(index, window), grid)
    addends = picture_addends(graph)
    aligned = tuple(
        next((addends[name] for name in grid.tensors if name in addends), None) for grid in free
    )
    return CountedValues(ranges, free, tuple(counts), aligned)


def _makers(graph: Graph, grid: SharedGrid) -> list[int]:
    """Return the tensors of a grid that hold values of their own, not moved from others of it."""
    return [
        tensor.index
        for tensor in graph.activations
        if tensor.name in grid.tensors
        and tensor.index in graph.producer
        and graph.producer[tensor.index].kind not in KEEPS_GRID
    ]


def _counted(values: NDArray[np.float32], grid: SharedGrid) -> NDArray[np.int64]:
    """Count values by bin of the widest range; what lies beyond is in the bins at its ends."""
    width = max((grid.maximum - grid.minimum) / _BINS, float(np.finfo(np.float32).tiny))
    bins = ((values.reshape(-1) - grid.minimum) / width).astype(np.int64)
    return np.bincount(bins.clip(0, _BINS - 1), minlength=_BINS)


def _best_range(
    grid: SharedGrid, count: NDArray[np.int64], cut_weight: float, aligned: Range | None
) -> Range:
    """Return the range of least error, of those tried."""
    width = (grid.maximum - grid.minimum) / _BINS
    values = grid.minimum + width * (np.arange(_BINS) + 0.5)
    lows, highs = _SHARES * grid.minimum, _SHARES * grid.maximum
    total = int(count.sum())

    def cut(lows: NDArray[np.float64], highs: NDArray[np.float64]) -> NDArray[np.float64]:
        below = (np.maximum(lows[:, None] - values, 0) ** 2 * count).sum(axis=1)
        above = (np.maximum(values - highs[:, None], 0) ** 2 * count).sum(axis=1)
        error: NDArray[np.float64] = cut_weight * (below[:, None] + above)
        return error

    spans = highs[None, :] - lows[:, None]
    errors = total * (spans / STEPS) ** 2 / 12 + cut(lows, highs)
    low, high = np.unravel_index(errors.argmin(), errors.shape)
    if aligned is not None:
        ends = cut(*(np.array([end]) for end in aligned))
        if ends[0, 0] <= errors[low, high]:
            return aligned
    return float(lows[low]), float(highs[high])
