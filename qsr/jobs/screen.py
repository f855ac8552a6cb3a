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
from qsr.data.decoded import DecodedPairs, HeldPairs
from qsr.errors import ModelError
from qsr.screening import TileErrors, TileScreen, draw_screen, load_screen, tile_side
from qsr.tflite.runtime import ModelFacts

_PILOTS = (0.5,)
"""Which candidates show where models differ, by how wide their ranges are, from narrowest (0) to
widest (1): the usual one, which others are compared with, and one that saturates more."""

_PARTS = 8
"""Pieces that measuring a pilot is cut into, so that all workers share it."""


def screen_for(
    model: bytes,
    table: RangeTable,
    scheme: Scheme,
    *,
    pairs: DecodedPairs | HeldPairs,
    hashes: Sequence[str],
    facts: ModelFacts,
    executor: Executor | None,
    path: Path,
    on_progress: Callable[[int, int], None],
) -> TileScreen | None:
    """Return the tiles that candidates are screened on; what an earlier run drew if it is the same.

    None if screening would not be cheaper than measuring the images whole, or if the model cannot
    be run in tiles.

    Two models, each from one candidate alone, are measured on every tile: that shows where models
    differ.

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
    ranges = [table.merged([name]) for name in _pilots(table)]
    key = sha256(
        json.dumps([table.model_hash, *hashes, repr(scheme)]).encode()
        + b"".join(each.minimum.tobytes() + each.maximum.tobytes() for each in ranges)
    ).hexdigest()
    kept = path.with_name(f"{path.stem}-{key[:16]}{path.suffix}")
    if kept.exists():
        with suppress(OSError, ValueError, KeyError, EOFError, BadZipFile):  # damaged: drawn anew
            return load_screen(kept, pairs, facts)
    tasks = [
        ((number, part), (quantize(model, each, scheme), part))
        for number, each in enumerate(ranges)
        for part in range(_PARTS)
    ]
    measured: dict[tuple[int, int], list[NDArray[np.float64]]] = {}
    for place, found in completed(_tile_errors, errors, tasks, executor):
        measured[place] = found
        on_progress(len(measured), len(tasks))
    reference, *pilots = (
        [image for part in range(_PARTS) for image in measured[number, part]]
        for number in range(len(ranges))
    )
    if not reference:
        return None
    screen = draw_screen(errors, reference, [pilot for pilot in pilots if pilot])
    screen.save(kept)
    return screen


def _tile_errors(errors: TileErrors, asked: tuple[bytes, int]) -> list[NDArray[np.float64]]:
    """Measure a pilot on a part of the images; nothing if TFLite cannot run it. In a worker."""
    model, part = asked
    count = len(errors.pairs)
    pairs = errors.pairs[count * part // _PARTS : count * (part + 1) // _PARTS]
    try:
        return replace(errors, pairs=pairs)(model)
    except ModelError:
        return []


def _pilots(table: RangeTable) -> list[str]:
    """Return the candidates whose models are compared, the usual one first."""
    widths = table.maximum - table.minimum
    relative = (widths / np.maximum(widths.max(axis=0), np.finfo(np.float32).tiny)).sum(axis=1)
    order = np.argsort(relative, kind="stable")
    places = [round(place * (len(order) - 1)) for place in _PILOTS]
    return [table.images[order[place]] for place in dict.fromkeys(places)]
