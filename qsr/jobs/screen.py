"""The screen of a search: drawn once, and kept in its run folder."""

import json
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from qsr.calibration import RangeTable, Scheme, quantize
from qsr.calibration.executor import completed
from qsr.data.decoded import Pairs, part_of
from qsr.errors import ModelError
from qsr.screening import TileErrors, TileScreen, draw_screen, load_screen, tile_side
from qsr.tflite.runtime import ModelFacts

_PARTS = 8
"""Pieces that measuring the reference is cut into, so that all workers share it."""


def screen_for(
    model: bytes,
    table: RangeTable,
    scheme: Scheme,
    *,
    pairs: Pairs,
    hashes: Sequence[str],
    facts: ModelFacts,
    executor: Executor | None,
    path: Path,
    on_progress: Callable[[int, int], None],
) -> TileScreen | None:
    """Return the tiles that candidates are screened on; what an earlier run drew if it is the same.

    None if screening would not be cheaper than measuring the images whole, or if the model cannot
    be run in tiles.

    The model of one candidate alone, of median width of its ranges, is measured on every tile.

    Args:
        model: content of the float model.
        table: ranges of the candidates.
        scheme: how models are quantized.
        pairs: the images that choose.
        hashes: of those images.
        facts: of the integer models.
        executor: where to measure.
        path: where the tiles are kept.
        on_progress: called with (done, total).
    """
    errors = TileErrors(pairs, facts, tile_side(facts))
    if errors.affordable == 0:
        return None
    ranges = table.merged([_usual(table)])
    key = sha256(
        json.dumps([table.model_hash, *hashes, repr(scheme)]).encode()
        + ranges.minimum.tobytes()
        + ranges.maximum.tobytes()
    ).hexdigest()
    kept = path.with_name(f"{path.stem}-{key[:16]}{path.suffix}")
    if kept.exists():
        with suppress(OSError, ValueError, KeyError, EOFError, BadZipFile):  # damaged: drawn anew
            return load_screen(kept, pairs, facts)
    integer = quantize(model, ranges, scheme)
    parts = [(part, (integer, part)) for part in range(_PARTS)]
    measured: dict[int, list[NDArray[np.float64]]] = {}
    for part, found in completed(_tile_errors, errors, parts, executor):
        measured[part] = found
        on_progress(len(measured), _PARTS)
    reference = [image for part in range(_PARTS) for image in measured[part]]
    if len(reference) < len(pairs):  # it cannot be run
        return None
    screen = draw_screen(errors, reference)
    screen.save(kept)
    return screen


def _tile_errors(errors: TileErrors, asked: tuple[bytes, int]) -> list[NDArray[np.float64]]:
    """Measure a model on a part of the images; nothing if TFLite cannot run it. In a worker."""
    model, part = asked
    try:
        return replace(errors, pairs=part_of(errors.pairs, part, _PARTS))(model)
    except ModelError:
        return []


def _usual(table: RangeTable) -> str:
    """Return the candidate of median width of its ranges, each over the widest of its tensor."""
    widths = table.maximum - table.minimum
    widest = np.maximum(widths.max(axis=0), np.finfo(np.float32).tiny)
    relative = (widths / widest).sum(axis=1)  # a sum, for there may be no tensor
    order = np.argsort(relative, kind="stable")
    return table.images[int(order[(len(order) - 1) // 2])]
