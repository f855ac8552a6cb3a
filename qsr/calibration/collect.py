"""Measures a float model's ranges, one image at a time."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from threading import local
from time import monotonic

import numpy as np
from numpy.typing import NDArray

from qsr.calibration.executor import completed
from qsr.calibration.provenance import image_hash, model_hash, versions
from qsr.calibration.ranges import RangeTable, Reader, empty_table, load_table
from qsr.errors import ImageError, ModelError, StudyError, UsageError
from qsr.tflite.files import read_model
from qsr.tflite.graph import Graph
from qsr.tflite.quantizer import record_ranges
from qsr.tflite.runtime import Runner, inspect_model, to_input

Image = NDArray[np.uint8]

READERS: tuple[Reader, ...] = ("exact", "converter")

_SAVE_EVERY_SECONDS = 5.0


@dataclass(frozen=True)
class _Measured:
    """The model that is measured, and how."""

    model: bytes
    source: str
    reader: Reader


@dataclass(frozen=True)
class _Row:
    """What was measured on one image."""

    name: str
    digest: str
    minimum: NDArray[np.float32]
    maximum: NDArray[np.float32]


def collect(
    model: bytes | str | PathLike[str],
    images: Mapping[str, Image] | Iterable[tuple[str, Image]],
    *,
    reader: Reader = "exact",
    executor: Executor | None = None,
    store: str | PathLike[str] | None = None,
    on_image: Callable[[int], None] | None = None,
    source: str | None = None,
) -> RangeTable:
    """Measure the range of every tensor on every image.

    Two readers. ``exact`` reads every tensor of the float model intact. ``converter`` records what
    TFLite's calibrator would: it reads some tensors after an in-place operator has overwritten
    them, and so reports a wrong range for an input of an addition; and it passes over single NaNs.
    Use it to reproduce ``TFLiteConverter``.

    Args:
        model: a float ``.tflite`` model, as a path or its content.
        images: LR images by name, ``(h, w, 3)`` ``uint8`` RGB of any sizes; streamed.
        reader: ``exact`` or ``converter``.
        executor: where to measure, in processes or in threads; None measures here.
        store: file to keep the table in. Rows that it already holds for the same model, reader and
            pixels are not measured again, and it is saved every few seconds.
        on_image: called with the number of images measured so far after each.
        source: what errors call the model; its path, or "model", if None.

    Returns:
        One row per image, in the order of ``images``.

    Raises:
        ImageError: an image is not ``(h, w, 3)`` ``uint8``.
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
    table_file = None if store is None else Path(store)
    known = _known(content, reader, table_file)
    rows: dict[str, _Row | None] = {}

    def unmeasured() -> Iterator[tuple[str, tuple[str, str, Image]]]:
        for name, image in images.items() if isinstance(images, Mapping) else images:
            if name in rows:
                raise UsageError(f"two images named {name}; names must be unique")
            _check_image(name, image)
            digest = image_hash(image)
            rows[name] = _row_of(known, name, digest)
            if rows[name] is None:
                yield name, (name, digest, image)

    saved_at = monotonic()
    measured = completed(_measure, _Measured(content, source, reader), unmeasured(), executor)
    try:
        for done, (name, row) in enumerate(measured, start=1):
            rows[name] = row
            if on_image is not None:
                on_image(done)
            if monotonic() - saved_at > _SAVE_EVERY_SECONDS:
                _save(table_file, known, rows)
                saved_at = monotonic()
    finally:
        _save(table_file, known, rows)
    if not rows:
        raise UsageError("no images to measure ranges on")
    return _with_rows(known, rows.values())


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


def _check_image(name: str, image: Image) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:  # noqa: PLR2004
        raise ImageError(
            f"{name}: images are (h, w, 3) uint8 RGB, not {image.dtype} of {image.shape}"
        )


def _known(model: bytes, reader: Reader, store: Path | None) -> RangeTable:
    """Return what the store holds already, or an empty table."""
    names = [tensor.name for tensor in Graph(model).activations]
    if store is None or not store.exists():
        return empty_table(model_hash(model), reader, names, versions())
    table = load_table(store)
    if table.model_hash != model_hash(model):
        raise StudyError(f"{store}: holds the ranges of another model; give another folder")
    if table.reader != reader or table.versions != versions():
        return empty_table(model_hash(model), reader, names, versions())
    return table


def _row_of(table: RangeTable, name: str, digest: str) -> _Row | None:
    """Return the row of an image that the table has, if its pixels are the same."""
    if name not in table.images:
        return None
    index = table.images.index(name)
    if table.image_hashes[index] != digest:
        return None
    return _Row(name, digest, table.minimum[index], table.maximum[index])


def _save(store: Path | None, known: RangeTable, rows: Mapping[str, _Row | None]) -> None:
    """Keep what is measured so far, and what was known of images that are still to come."""
    measured = _with_rows(known, rows.values())
    if store is None or not measured.images:
        return
    unseen = [name for name in known.images if name not in rows]
    (measured.joined(known.subset(unseen)) if unseen else measured).save(store)


def _with_rows(table: RangeTable, candidates: Iterable[_Row | None]) -> RangeTable:
    """Return the rows that there are as a table like ``table``."""
    rows = [row for row in candidates if row is not None]
    shape = (len(rows), len(table.tensors))
    return replace(
        table,
        images=tuple(row.name for row in rows),
        image_hashes=tuple(row.digest for row in rows),
        minimum=np.array([row.minimum for row in rows], np.float32).reshape(shape),
        maximum=np.array([row.maximum for row in rows], np.float32).reshape(shape),
    )


def _measure(measured: _Measured, identified: tuple[str, str, Image]) -> _Row:
    """Measure one image, which comes with its name and hash; runs in a worker."""
    name, digest, image = identified
    model, source = measured.model, measured.source
    read = _read_exact if measured.reader == "exact" else _read_converter
    minimum, maximum = read(model, source, image)
    finite = np.isfinite(minimum) & np.isfinite(maximum)
    if not finite.all():
        tensor = Graph(model).activations[int(np.argmin(finite))].name
        raise ModelError(f"{source}: {tensor} is not finite on the image {name}")
    return _Row(name, digest, minimum, maximum)


def _read_exact(
    model: bytes, source: str, image: Image
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Read every activation while all of them are kept; pieces give the whole picture's ranges."""
    runner, indices = _keeping_runner(model, source)
    minimum = np.full(len(indices), np.inf, np.float32)
    maximum = np.full(len(indices), -np.inf, np.float32)
    for window in runner.windows(image):
        # np.minimum and np.maximum, unlike min and max, let a NaN through. No view of a tensor may
        # be held when the next piece is run, so none gets a name.
        minimum = np.minimum(minimum, [runner.kept(index, window).min() for index in indices])
        maximum = np.maximum(maximum, [runner.kept(index, window).max() for index in indices])
    return minimum, maximum


def _read_converter(
    model: bytes, source: str, image: Image
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Read what TFLite's calibrator records, fed as a fixed input size needs it."""
    runner, indices = _keeping_runner(model, source)
    value_max = runner.facts.value_max
    inputs = [to_input(piece, "float32", value_max) for piece in runner.pieces(image)]
    recorded = record_ranges(model, inputs)
    nothing = (np.nan, np.nan)  # TFLite's calibrator leaves out a tensor that is NaN throughout
    minimum, maximum = zip(*(recorded.get(index, nothing) for index in indices), strict=True)
    return np.array(minimum, np.float32), np.array(maximum, np.float32)


class _Kept(local):
    """The runner that a thread used last; no two threads can share one."""

    key: tuple[bytes, str] | None = None
    runner: tuple[Runner, tuple[int, ...]] | None = None


_kept = _Kept()


def _keeping_runner(model: bytes, source: str) -> tuple[Runner, tuple[int, ...]]:
    """Return a runner that keeps all tensors, and the activations' numbers; one per thread."""
    if _kept.runner is None or _kept.key != (model, source):
        indices = tuple(tensor.index for tensor in Graph(model).activations)
        _kept.runner = Runner(model, keep_tensors=True, source=source), indices
        _kept.key = (model, source)
    return _kept.runner
