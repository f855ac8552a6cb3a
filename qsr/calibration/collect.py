"""Measures a float model's ranges, one image at a time."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from time import monotonic

import numpy as np
from numpy.typing import NDArray

from qsr.calibration.executor import completed
from qsr.calibration.provenance import image_hash, model_hash, versions
from qsr.calibration.ranges import RangeTable, Reader, empty_table, load_table
from qsr.calibration.readers import Reading, read_ranges
from qsr.errors import ImageError, ModelError, StudyError, UsageError
from qsr.tflite.files import read_model
from qsr.tflite.graph import Graph
from qsr.tflite.runtime import inspect_model

Image = NDArray[np.uint8]

ImageSource = Image | Callable[[], Image]
"""An image, or what loads it: called where the image is measured, so it must be picklable."""

READERS: tuple[Reader, ...] = ("exact", "converter")

_SAVE_EVERY_SECONDS = 5.0


@dataclass(frozen=True)
class _Measuring:
    """What is read of every image, the shortest side that it may have, and its type."""

    reading: Reading
    least_side: int
    dtype: str


@dataclass(frozen=True)
class _Task:
    """An image to measure, unless its pixels have the hash whose ranges are known."""

    name: str
    image: ImageSource
    known_hash: str | None


@dataclass(frozen=True)
class _Row:
    """What was measured on one image: ``spans`` has a (minimum, maximum) per tensor."""

    name: str
    digest: str
    spans: NDArray[np.float32]


def collect(
    model: bytes | str | PathLike[str],
    images: Mapping[str, ImageSource] | Iterable[tuple[str, ImageSource]],
    *,
    reader: Reader = "exact",
    known: Collection[str] = (),
    least_side: int = 1,
    augmented: bool = False,
    executor: Executor | None = None,
    store: str | PathLike[str] | None = None,
    on_image: Callable[[int], None] | None = None,
    on_bad: Callable[[str, ImageError], None] | None = None,
    source: str | None = None,
) -> RangeTable:
    """Measure the range of every tensor on every image.

    Two readers. ``exact`` reads every tensor of the float model intact. ``converter`` records what
    TFLite's calibrator would: it reads some tensors after an in-place operator has overwritten
    them, and so reports a wrong range for an input of an addition; and it passes over single NaNs.
    Use it to reproduce ``TFLiteConverter``.

    Args:
        model: a float ``.tflite`` model, as a path or its content.
        images: LR images by name, ``(h, w, 3)`` ``uint8`` RGB of any sizes, or functions that
            return one; streamed. A function is called where its image is measured, so that workers
            load images too.
        reader: ``exact`` or ``converter``.
        known: names of tensors whose range is known without images, as ``picture_ranges`` tells
            them. They are left out of the table, and ``exact`` runs the model only as far as the
            others need.
        least_side: the shortest side an image may have, in pixels. Below
            ``ModelFacts.smallest_side`` an image is all border.
        augmented: the images are ``float32`` in units of 0..255, as augmenting them left them, and
            not ``uint8``.
        executor: where to measure, in processes or in threads; None measures here.
        store: file to keep the table in. Rows that it already holds for the same model, reader,
            tensors and pixels are not measured again, and it is saved every few seconds.
        on_image: called with the number of images measured so far after each.
        on_bad: called with the name and the error of each image that cannot be used, which is then
            left out; None stops at the first.
        source: what errors call the model; its path, or "model", if None.

    Returns:
        One row per image, in the order of ``images``.

    Raises:
        ImageError: an image cannot be loaded, is not ``(h, w, 3)`` of its type, or is smaller than
            ``least_side`` or than what the model takes; or, with ``on_bad``, every one of them.
        ModelError: the model is quantized already or has float16 weights, is no super-resolution
            model, or gives values that are not finite.
        StudyError: ``store`` is no range table, or is of another model.
        UsageError: two images of one name, no image at all, or an unknown reader.
    """
    if reader not in READERS:
        raise UsageError(f"no range reader named {reader!r}; give one of: {', '.join(READERS)}")
    content, path = read_model(model)
    source = source if source is not None else path
    check_float(content, source=source)
    wanted = {one.name: one.index for one in Graph(content).activations if one.name not in known}
    measuring = _Measuring(
        Reading(content, source, reader, tuple(wanted.values())),
        least_side,
        "float32" if augmented else "uint8",
    )
    table_file = None if store is None else Path(store)
    collected = _Collected(_held(content, reader, tuple(wanted), table_file), table_file)
    pairs = images.items() if isinstance(images, Mapping) else images
    try:
        for name, outcome in completed(_measure, measuring, collected.tasks(pairs), executor):
            if isinstance(outcome, _Row):
                collected.add(outcome)
                if on_image is not None:
                    on_image(collected.measured)
            elif outcome is not None:
                if on_bad is None:
                    raise outcome
                collected.leave_out(name, outcome)
                on_bad(name, outcome)
            collected.save_now_and_then()
    finally:
        collected.save()
    return collected.table()


def check_float(model: bytes, *, source: str = "model") -> None:
    """Check that a model is a float super-resolution model, ready to be quantized.

    Args:
        model: content of a ``.tflite`` file.
        source: named in errors.

    Raises:
        ModelError: it is quantized already, has float16 weights, or is no super-resolution model.
    """
    refuse_not_float32(Graph(model, source=source), source=source)
    inspect_model(model, source=source)


def refuse_not_float32(graph: Graph, *, source: str = "model") -> None:
    """Check that a model's real numbers are all float32: no integers stand for them, no float16.

    TFLite's quantizer would refuse float16 weights, in words of its own.

    Args:
        graph: the model.
        source: named in errors.

    Raises:
        ModelError: it is quantized already, or has float16 weights.
    """
    quantized = [tensor.name for tensor in graph.tensors if tensor.quantized]
    if quantized:
        raise ModelError(
            f"{source}: already quantized ({len(quantized)} tensors, such as {quantized[0]}); give "
            "the float model that it was made from"
        )
    halves = [tensor.name for tensor in graph.tensors if tensor.dtype == "float16"]
    if halves:
        raise ModelError(
            f"{source}: float16 weights ({len(halves)} tensors, such as {halves[0]}), which TFLite "
            "cannot quantize; convert the model to .tflite without float16 and give that"
        )


def load_image(name: str, source: ImageSource, dtype: str = "uint8") -> Image:
    """Load an image if need be, and check that it is one.

    Args:
        name: what errors call it.
        source: the image, or a function that returns it.
        dtype: what it has to be of.

    Returns:
        ``(h, w, 3)`` RGB of that type.

    Raises:
        ImageError: it cannot be loaded, or is of another type or shape.
    """
    image = source() if callable(source) else source
    if image.dtype != dtype or image.ndim != 3 or image.shape[2] != 3:  # noqa: PLR2004
        raise ImageError(
            f"{name}: images are (h, w, 3) {dtype} RGB, not {image.dtype} of {image.shape}"
        )
    return image


def _loaded(task: _Task, measuring: _Measuring) -> Image:
    """Load an image, and check that it is large enough."""
    image = load_image(task.name, task.image, measuring.dtype)
    height, width = image.shape[:2]
    least_side = measuring.least_side
    if min(height, width) < max(least_side, 1):
        raise ImageError(
            f"{task.name}: {width}x{height} pixels; the model needs at least {least_side} along "
            "each side"
        )
    return image


def _held(model: bytes, reader: Reader, tensors: tuple[str, ...], store: Path | None) -> RangeTable:
    """Return what the store holds already of these tensors, or an empty table."""
    if store is None or not store.exists():
        return empty_table(model_hash(model), reader, tensors, versions())
    table = load_table(store)
    if table.model_hash != model_hash(model):
        raise StudyError(f"{store}: holds the ranges of another model; give another folder")
    same = table.reader == reader and table.versions == versions()
    if not same or not set(tensors) <= set(table.tensors):
        return empty_table(model_hash(model), reader, tensors, versions())
    return table.columns(tensors)


def _row_of(table: RangeTable, name: str) -> _Row | None:
    """Return the row that the table has under an image's name."""
    if name not in table.images:
        return None
    index = table.images.index(name)
    spans = np.stack([table.minimum[index], table.maximum[index]], axis=-1)
    return _Row(name, table.image_hashes[index], spans)


def _with_rows(table: RangeTable, candidates: Iterable[_Row | None]) -> RangeTable:
    """Return the rows that there are as a table like ``table``."""
    rows = [row for row in candidates if row is not None]
    spans = np.array([row.spans for row in rows], np.float32)
    spans = spans.reshape(len(rows), len(table.tensors), 2)
    return replace(
        table,
        images=tuple(row.name for row in rows),
        image_hashes=tuple(row.digest for row in rows),
        minimum=spans[..., 0],
        maximum=spans[..., 1],
    )


class _Collected:
    """The rows of a table, as they come, and the file that they are kept in.

    Args:
        held: what the file holds already.
        store: the file, or None.
    """

    def __init__(self, held: RangeTable, store: Path | None) -> None:
        self.measured = 0
        self._held = held
        self._store = store
        self._rows: dict[str, _Row | None] = {}
        self._first_bad: ImageError | None = None
        self._saved_at = monotonic()
        self._unsaved = False

    def tasks(self, images: Iterable[tuple[str, ImageSource]]) -> Iterator[tuple[str, _Task]]:
        """Tell which images must be measured, or loaded to know whether they must.

        Raises:
            UsageError: two images of one name.
        """
        for name, image in images:
            if name in self._rows:
                raise UsageError(f"two images named {name}; names must be unique")
            row = self._rows[name] = _row_of(self._held, name)
            known_hash = None if row is None else row.digest
            if callable(image) or known_hash is None or image_hash(image) != known_hash:
                yield name, _Task(name, image, known_hash)

    def add(self, row: _Row) -> None:
        """Take what was measured on an image."""
        self._rows[row.name] = row
        self.measured += 1
        self._unsaved = True

    def leave_out(self, name: str, error: ImageError) -> None:
        """Take note of an image that cannot be used."""
        self._rows[name] = None
        self._first_bad = self._first_bad or error

    def save_now_and_then(self) -> None:
        """Save if the last time is some seconds ago."""
        if monotonic() - self._saved_at > _SAVE_EVERY_SECONDS:
            self.save()

    def save(self) -> None:
        """Keep what is measured so far, and what was known of images that are still to come."""
        if self._store is None or not self._unsaved:
            return
        unseen = [name for name in self._held.images if name not in self._rows]
        table = _with_rows(self._held, self._rows.values())
        (table.joined(self._held.subset(unseen)) if unseen else table).save(self._store)
        self._unsaved = False
        self._saved_at = monotonic()

    def table(self) -> RangeTable:
        """Return the table of all images but those left out.

        Raises:
            ImageError: all of them are left out.
            UsageError: there is none.
        """
        if not self._rows:
            raise UsageError("no images to measure ranges on")
        if self._first_bad is not None and not any(self._rows.values()):
            raise ImageError(
                f"none of {len(self._rows)} images can be used; the first: {self._first_bad}"
            )
        return _with_rows(self._held, self._rows.values())


def _measure(measuring: _Measuring, task: _Task) -> _Row | ImageError | None:
    """Measure one image; runs in a worker.

    Returns:
        Its row; None if its pixels are those whose ranges are known; or why it cannot be used.
    """
    try:
        image = _loaded(task, measuring)
        digest = image_hash(image)
        if digest == task.known_hash:
            return None
        return _Row(task.name, digest, read_ranges(measuring.reading, task.name, image))
    except ImageError as error:
        return error.with_traceback(None)  # which holds the image
