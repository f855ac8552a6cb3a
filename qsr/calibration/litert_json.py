"""Calibration results of LiteRT's own quantizer (package ``litert-quantizer``), read and written.

Its file is JSON: ``{"model_qsvs": {tensor: {"min", "max", ...}}, "metadata": {...}}``; the tensors
may also stand there on their own. A bound is one number in a list as deep as the tensor has
dimensions. The form is that of ``Calibrator.save_calibration_result`` and
``calibration_utils.load_calibration_results`` in release 0.11; before, the package was called
AI Edge Quantizer.

Ranges of several images are merged by qsr, and averaged by LiteRT: with each image a bound becomes
0.95 of what it was and 0.05 of the image's. So its file is narrower than qsr's of the same images,
unless there is one alone.
"""

import json
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

import qsr
from qsr.atomic import replacing
from qsr.calibration.ranges import Ranges
from qsr.errors import StudyError
from qsr.tflite.files import read_model
from qsr.tflite.graph import Graph

_REARRANGES = {
    "DEPTH_TO_SPACE",
    "EXPAND_DIMS",
    "RESHAPE",
    "SPACE_TO_DEPTH",
    "SQUEEZE",
    "TRANSPOSE",
}
"""The result holds the values of the first operand, each once: their ranges are equal."""


def read_litert_json(
    path: str | PathLike[str],
    model: bytes | str | PathLike[str] | None = None,
    *,
    source: str | None = None,
) -> Ranges:
    """Read ranges from a calibration result of LiteRT's quantizer, or of qsr.

    A bound with several numbers, one per channel, becomes that of the whole tensor: the smallest
    minimum, the largest maximum. Whatever else the file says of a tensor is passed over.

    Args:
        path: the JSON file.
        model: the float ``.tflite`` model that the ranges are for, as a path or its content. With
            it, names are checked, and what holds no real numbers of a picture (shapes, weights) is
            left out. LiteRT quantizes no DEPTH_TO_SPACE, and has no range for its result if the
            next operator is left in float too: it is that of the operand, the same values.
        source: what errors call the model; its path, or "model", if None.

    Returns:
        The ranges in the order of the file, or of the model's activations if it is given. Those of
        other activations are missing; ``quantize`` says which it lacks.

    Raises:
        ModelError: the model cannot be read.
        StudyError: the file is missing, no such JSON, lacks a bound, holds one that is not finite
            or a minimum above its maximum; or its tensors are not those of the model.
    """
    path = Path(path)
    found = {name: _range(path, name, entry) for name, entry in _entries(path).items()}
    if model is None:
        return _as_ranges(found)
    content, model_path = read_model(model)
    source = source if source is not None else model_path
    return _as_ranges(_fitted(found, Graph(content, source=source), path, source))


def write_litert_json(
    ranges: Ranges, path: str | PathLike[str], *, images: Sequence[str] = ()
) -> None:
    """Write ranges as a calibration result that LiteRT's quantizer takes, atomically.

    Args:
        ranges: what to write. To have LiteRT pin input and output as ``quantize`` does, put the
            ranges of the picture in first; see :func:`qsr.calibration.quantize.picture_ranges`.
        path: the JSON file; replaced if there.
        images: names of the images that the ranges come from; kept as metadata.

    Raises:
        StudyError: a range is not finite or upside down, or the file cannot be written.
    """
    path = Path(path)
    entries = {}
    for name, minimum, maximum in zip(ranges.tensors, ranges.minimum, ranges.maximum, strict=True):
        _check(path, name, float(minimum), float(maximum))
        entries[name] = {"min": [float(minimum)], "max": [float(maximum)]}
    metadata = {
        "num_samples_calibrated": len(images),
        "images": list(images),
        "written_by": f"qsr {qsr.__version__}",
    }
    text = json.dumps({"model_qsvs": entries, "metadata": metadata}, indent=1, allow_nan=False)
    try:
        with replacing(path) as unfinished:
            unfinished.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise StudyError(f"{path}: cannot be written: {error.strerror}") from error


def _entries(path: Path) -> Mapping[str, Any]:
    """Return what the file says of each tensor."""
    try:
        text = path.read_bytes()
    except FileNotFoundError as error:
        raise StudyError(f"{path}: no such file; give a calibration result as JSON") from error
    except OSError as error:
        raise StudyError(f"{path}: cannot be read: {error.strerror}") from error
    unfit = (
        f"{path}: no calibration result; give JSON that LiteRT's quantizer, or qsr quantize "
        "--save-ranges, has written"
    )
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise StudyError(unfit) from error
    if isinstance(content, dict):
        content = content.get("model_qsvs", content)
    if not isinstance(content, dict) or not all(isinstance(one, dict) for one in content.values()):
        raise StudyError(unfit)
    if not content:
        raise StudyError(f"{path}: holds the range of no tensor; calibrate the model first")
    if not any({"min", "max"} & entry.keys() for entry in content.values()):
        raise StudyError(unfit)
    return content


def _range(path: Path, name: str, entry: Mapping[str, Any]) -> tuple[float, float]:
    """Return the (minimum, maximum) of one tensor, as float32 has them."""
    lacking = [side for side in ("min", "max") if side not in entry]
    if lacking:
        raise StudyError(
            f"{path}: {name} has no {' and no '.join(lacking)}; calibrate the model with images "
            "that reach it"
        )
    minimum, maximum = (_numbers(path, name, entry[side]) for side in ("min", "max"))
    span = float(minimum.min()), float(maximum.max())
    _check(path, name, *span)
    return span


def _numbers(path: Path, name: str, value: Any) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return a bound as it stands in the file: a number, or numbers in lists."""
    unfit = f"{path}: a bound of {name} is no number; the file is damaged, or no calibration result"
    try:
        numbers = np.asarray(value)
    except ValueError as error:  # lists of unequal lengths
        raise StudyError(unfit) from error
    if numbers.dtype.kind not in "iuf" or not numbers.size:
        raise StudyError(unfit)
    with np.errstate(over="ignore"):  # infinite then, and refused as that
        return numbers.astype(np.float32)


def _check(path: Path, name: str, minimum: float, maximum: float) -> None:
    if not -float("inf") < minimum <= maximum < float("inf"):
        raise StudyError(f"{path}: the range of {name}, {minimum} to {maximum}, is no range")


def _fitted(
    found: Mapping[str, tuple[float, float]], graph: Graph, path: Path, source: str
) -> dict[str, tuple[float, float]]:
    """Return the ranges of the model's activations, from those of a file."""
    unknown = sorted(found.keys() - {tensor.name for tensor in graph.tensors})
    if unknown:
        raise StudyError(
            f"{path}: calibration result of another model: {source} has no tensor {unknown[0]}"
            + (f", nor {len(unknown) - 1} others of the file" if unknown[1:] else "")
        )
    names = [tensor.name for tensor in graph.activations]
    spans = {name: found[name] for name in names if name in found}
    pairs = [
        (graph.tensors[operator.inputs[0]].name, graph.tensors[operator.outputs[0]].name)
        for operator in graph.operators
        if operator.kind in _REARRANGES
    ]
    for known, same in [*pairs, *((after, before) for before, after in reversed(pairs))]:
        if known in spans:
            spans.setdefault(same, spans[known])
    return {name: spans[name] for name in names if name in spans}


def _as_ranges(spans: Mapping[str, tuple[float, float]]) -> Ranges:
    return Ranges(
        tuple(spans),
        np.array([minimum for minimum, _ in spans.values()], np.float32),
        np.array([maximum for _, maximum in spans.values()], np.float32),
    )
