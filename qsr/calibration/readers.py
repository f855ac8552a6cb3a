"""The two ways to read a float model's ranges on an image."""

from collections.abc import Callable
from dataclasses import dataclass
from threading import local

import numpy as np
from numpy.typing import NDArray

from qsr.calibration.extremes import extremes
from qsr.calibration.ranges import Reader
from qsr.errors import ImageError, ModelError
from qsr.tflite.graph import Graph
from qsr.tflite.quantizer import record_ranges
from qsr.tflite.runtime import Runner, inspect_model, reading_runner, to_input

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Reading:
    """What is read.

    Attributes:
        model: content of a float ``.tflite`` file.
        source: what errors call it.
        reader: how it is read.
        tensors: numbers of the tensors that are read, the input's among them or not.
    """

    model: bytes
    source: str
    reader: Reader
    tensors: tuple[int, ...]


def read_ranges(reading: Reading, name: str, image: Image) -> NDArray[np.float32]:
    """Read the range of each tensor on an image.

    What it takes is prepared once per thread, for the reading that came last.

    Args:
        reading: what is read, and how.
        name: what errors call the image.
        image: ``(h, w, 3)`` ``uint8`` RGB.

    Returns:
        ``(tensors, 2)`` ``float32``: minimum and maximum.

    Raises:
        ImageError: the model, which takes its test picture, does not take this one.
        ModelError: the model cannot be run, or gives values that are not finite.
    """
    if _prepared.reading != reading:
        _prepared.read = _PREPARE[reading.reader](reading)
        _prepared.reading = reading
    spans = _prepared.read(name, image)
    finite = np.isfinite(spans).all(axis=1)
    if not finite.all():
        tensor = Graph(reading.model).tensors[reading.tensors[int(np.argmin(finite))]].name
        raise ModelError(f"{reading.source}: {tensor} is not finite on the image {name}")
    return spans


def _exact(reading: Reading) -> "_Read":
    """Prepare to read tensors that are kept intact; pieces give the whole picture's ranges."""
    facts = inspect_model(reading.model, source=reading.source)
    input_index = Graph(reading.model).input_index
    joined = _joined(Graph(reading.model), reading.tensors)
    inner = [index for index in reading.tensors if index != input_index and index not in joined]
    columns = {index: column for column, index in enumerate(reading.tensors)}
    runner = reading_runner(reading.model, inner, source=reading.source) if inner else None

    def read(name: str, image: Image) -> NDArray[np.float32]:
        spans = np.empty((len(reading.tensors), 2), np.float32)
        ends = np.array([[image.min(), image.max()]])
        spans[:] = to_input(ends, "float32", facts.value_max).reshape(2)  # for the input
        if runner is not None:
            try:
                spans[[columns[index] for index in inner]] = _inner(runner, inner, image)
            except ModelError as error:
                raise ImageError(f"{name}: {error}") from error
        for index, parts in joined.items():
            of_parts = spans[[columns[part] for part in parts]]
            spans[columns[index]] = of_parts[:, 0].min(), of_parts[:, 1].max()
        return spans

    return read


def _joined(graph: Graph, tensors: tuple[int, ...]) -> dict[int, tuple[int, ...]]:
    """Return the tensors whose values are those of others together, so that they need no reading.

    They are what channels are split from, and what they are joined to.

    Args:
        graph: a float model.
        tensors: numbers of those that are wanted; only these may stand for others.

    Returns:
        Tensor to its parts, none of which is in the mapping itself.
    """
    joined: dict[int, tuple[int, ...]] = {}
    for operator in graph.operators:
        if operator.kind == "CONCATENATION" and not operator.options.fusedActivationFunction:
            whole, parts = operator.outputs[0], operator.inputs
        elif operator.kind in {"SPLIT", "SPLIT_V"} and _real(graph, operator.inputs):
            whole, parts = _real(graph, operator.inputs)[0], operator.outputs
        else:
            continue
        if whole in joined or graph.tensors[parts[0]].shape[:-1] != graph.tensors[whole].shape[:-1]:
            continue
        if whole in tensors and whole != graph.input_index and set(parts) <= set(tensors):
            joined[whole] = tuple(parts)

    def read(index: int) -> tuple[int, ...]:
        return sum((read(part) for part in joined[index]), ()) if index in joined else (index,)

    return {whole: read(whole) for whole in joined}


def _real(graph: Graph, indices: tuple[int, ...]) -> list[int]:
    """Return the inputs that are activations: neither sizes nor axes, nor stored numbers."""
    return [index for index in indices if not graph.tensors[index].constant]


def _inner(runner: Runner, indices: list[int], image: Image) -> NDArray[np.float32]:
    """Run a model on a picture; return the range of each tensor over all pieces."""
    pieces = [
        # No view of a tensor may be held when the next piece is run, so none gets a name.
        [extremes(runner.kept(index, window)) for index in indices]
        for window in runner.windows(image)
    ]
    spans = np.array(pieces, np.float32)
    # The methods min and max, unlike the functions, let a NaN through.
    return np.stack([spans[..., 0].min(axis=0), spans[..., 1].max(axis=0)], axis=-1)


def _converter(reading: Reading) -> "_Read":
    """Prepare to read what TFLite's calibrator records, fed as a fixed input size needs it."""
    runner = Runner(reading.model, keep_tensors=True, source=reading.source)
    nothing = (np.nan, np.nan)  # TFLite's calibrator leaves out a tensor that is NaN throughout

    def read(_name: str, image: Image) -> NDArray[np.float32]:
        pieces = runner.pieces(image)
        recorded = record_ranges(
            reading.model,
            [to_input(piece, "float32", runner.facts.value_max) for piece in pieces],
        )
        spans = [recorded.get(index, nothing) for index in reading.tensors]
        return np.array(spans, np.float32).reshape(-1, 2)

    return read


_Read = Callable[[str, Image], NDArray[np.float32]]

_PREPARE: dict[Reader, Callable[[Reading], _Read]] = {"exact": _exact, "converter": _converter}


class _Prepared(local):
    """What a thread used last; no two threads can share an interpreter."""

    reading: Reading | None = None
    read: _Read


_prepared = _Prepared()
