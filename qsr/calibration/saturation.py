"""What share of images' activations lies outside given ranges: an integer model would cut it off.

One run per image answers for any number of sets of ranges, so that "what if this image were dropped
or that one added" costs no more than "what is".
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from os import PathLike
from threading import local

import numpy as np
from numpy.typing import NDArray

from qsr.calibration.collect import ImageSource, check_float, load_image
from qsr.calibration.executor import completed
from qsr.calibration.ranges import Ranges
from qsr.errors import ImageError, ModelError, UsageError
from qsr.tflite.files import read_model
from qsr.tflite.graph import Graph
from qsr.tflite.runtime import Runner, inspect_model, reading_runner, to_input


@dataclass(frozen=True)
class Saturation:
    """How many activations lie outside each set of ranges, per image and tensor.

    Attributes:
        images: names, in the order given.
        tensors: names, as the ranges have them.
        values: ``(images, tensors)`` ``int64``: how many activations there are.
        below: ``(images, sets, tensors)`` ``int64``: how many lie below the minimum.
        above: the same above the maximum.
        excess: ``(images, sets, tensors)`` ``float64``: sum of the squared distances from the range
            of those that lie outside, in real units squared.
    """

    images: tuple[str, ...]
    tensors: tuple[str, ...]
    values: NDArray[np.int64]
    below: NDArray[np.int64]
    above: NDArray[np.int64]
    excess: NDArray[np.float64]


def measure_saturation(
    model: bytes | str | PathLike[str],
    images: Mapping[str, ImageSource] | Iterable[tuple[str, ImageSource]],
    ranges: Sequence[Ranges],
    *,
    executor: Executor | None = None,
    on_image: Callable[[int], None] | None = None,
    source: str | None = None,
) -> Saturation:
    """Count the activations of images that lie outside given ranges.

    Every pixel counts once: overlaps of the pieces that a large picture is run in, and what fills
    up a fixed input size, are left out of every tensor whose height and width are a multiple of the
    piece's.

    Args:
        model: a float ``.tflite`` model, as a path or its content.
        images: LR images by name, ``(h, w, 3)`` ``uint8`` RGB of any sizes, or functions that
            return one, called where the image is measured; streamed.
        ranges: at least one set, all of the same tensors; an end may be infinite.
        executor: where to measure, in processes or in threads; None measures here.
        on_image: called with the number of images measured so far after each.
        source: what errors call the model; its path, or "model", if None.

    Returns:
        The counts, images in the order given.

    Raises:
        ImageError: an image cannot be loaded, or the model does not take it.
        ModelError: the model is no float super-resolution model, has not all of the tensors, or
            gives values that are not finite.
        UsageError: no image, two of one name, no ranges, or ranges of different tensors.
    """
    content, path = read_model(model)
    source = source if source is not None else path
    check_float(content, source=source)
    limits = _limits(Graph(content, source=source), ranges, source)
    counts: dict[str, _Counts | None] = {}

    def tasks() -> Iterable[tuple[str, tuple[str, ImageSource]]]:
        for name, image in images.items() if isinstance(images, Mapping) else images:
            if name in counts:
                raise UsageError(f"two images named {name}; names must be unique")
            counts[name] = None
            yield name, (name, image)

    for done, (name, counted) in enumerate(completed(_measure, limits, tasks(), executor), start=1):
        counts[name] = counted
        if on_image is not None:
            on_image(done)
    if not counts:
        raise UsageError("no images to measure saturation on")
    found = [counted for counted in counts.values() if counted is not None]
    return Saturation(
        images=tuple(counts),
        tensors=ranges[0].tensors,
        values=np.stack([counted.values for counted in found]),
        below=np.stack([counted.below for counted in found]),
        above=np.stack([counted.above for counted in found]),
        excess=np.stack([counted.excess for counted in found]),
    )


@dataclass(frozen=True)
class _Limits:
    """The model, and what its tensors are held against: ``(sets, tensors)`` ``float32``."""

    model: bytes
    source: str
    indices: tuple[int, ...]
    low: NDArray[np.float32]
    high: NDArray[np.float32]


class _Counts:
    """The counts of one image, summed up piece by piece."""

    def __init__(self, limits: _Limits) -> None:
        self.values = np.zeros(len(limits.indices), np.int64)
        self.below = np.zeros(limits.low.shape, np.int64)
        self.above = np.zeros(limits.low.shape, np.int64)
        self.excess = np.zeros(limits.low.shape, np.float64)
        self.finite = np.ones(len(limits.indices), np.bool_)
        self._limits = limits

    def __getstate__(self) -> dict[str, object]:
        """Leave the model behind when the counts are sent home."""
        return {name: value for name, value in vars(self).items() if name != "_limits"}

    def add(self, column: int, values: NDArray[np.float32]) -> None:
        """Count a piece of one tensor."""
        low, high = self._limits.low[:, column], self._limits.high[:, column]
        inside = values >= low.max()
        inside &= values <= high.min()
        suspects = np.sort(values[~inside], axis=None).astype(np.float64)  # NaN comes last
        self.finite[column] &= bool(
            np.isfinite(suspects[:1]).all() & np.isfinite(suspects[-1:]).all()
        )
        below = np.searchsorted(suspects, low, "left")
        not_above = np.searchsorted(suspects, high, "right")
        self.values[column] += values.size
        self.below[:, column] += below
        self.above[:, column] += suspects.size - not_above
        for place, (count, start) in enumerate(zip(below, not_above, strict=True)):
            under, over = suspects[:count] - low[place], suspects[start:] - high[place]
            self.excess[place, column] += under @ under + over @ over


def _limits(graph: Graph, ranges: Sequence[Ranges], source: str) -> _Limits:
    if not ranges:
        raise UsageError("no ranges to hold activations against")
    if any(one.tensors != ranges[0].tensors for one in ranges):
        raise UsageError("the sets of ranges are of different tensors")
    numbers = {tensor.name: tensor.index for tensor in graph.activations}
    missing = [name for name in ranges[0].tensors if name not in numbers]
    if missing:
        raise ModelError(
            f"{source}: no tensor named {missing[0]}; measure the ranges on this very model"
        )
    return _Limits(
        graph.model,
        source,
        tuple(numbers[name] for name in ranges[0].tensors),
        np.stack([one.minimum for one in ranges]).astype(np.float32),
        np.stack([one.maximum for one in ranges]).astype(np.float32),
    )


def _measure(limits: _Limits, named: tuple[str, ImageSource]) -> _Counts:
    """Count one image; runs in a worker."""
    name, image_source = named
    image = load_image(name, image_source)
    graph = Graph(limits.model)
    counts = _Counts(limits)
    columns = {index: column for column, index in enumerate(limits.indices)}
    input_column = columns.pop(graph.input_index, None)
    if input_column is not None:
        white = inspect_model(limits.model, source=limits.source).value_max
        counts.add(input_column, to_input(image, "float32", white))
    if columns:
        runner = _runner(limits.model, tuple(columns), limits.source)
        try:
            for window in runner.windows(image):
                for index, column in columns.items():
                    # No view of a tensor may be held when the next piece is run.
                    counts.add(column, runner.kept(index, window))
        except ModelError as error:
            raise ImageError(f"{name}: {error}") from error
    if not counts.finite.all():
        tensor = graph.tensors[limits.indices[int(np.argmin(counts.finite))]].name
        raise ModelError(f"{limits.source}: {tensor} is not finite on the image {name}")
    return counts


class _Prepared(local):
    """The runner that a thread used last; no two threads can share one."""

    key: tuple[bytes, tuple[int, ...], str] | None = None
    runner: Runner


_prepared = _Prepared()


def _runner(model: bytes, indices: tuple[int, ...], source: str) -> Runner:
    """Return a runner whose tensors can be read; one per thread."""
    if _prepared.key != (model, indices, source):
        _prepared.runner = reading_runner(model, indices, source=source)
        _prepared.key = (model, indices, source)
    return _prepared.runner
