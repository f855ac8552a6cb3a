"""Whether channels of a network are split before integer models are made of it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qsr.calibration import Scheme, collect
from qsr.calibration.provenance import model_hash
from qsr.errors import StudyError, UsageError
from qsr.jobs.closeness import MOST_COMPARED, closer_db
from qsr.jobs.progress import Progress, silent
from qsr.jobs.run_folder import RunFolder, notes_in_run, write_in_run
from qsr.quantization.channel_splitting import split_channels, splittable
from qsr.quantization.split_choice import choose_copies
from qsr.tflite.files import write_model
from qsr.tflite.graph import Graph
from qsr.tflite.runtime import Image

STAGE = "split channels"

_LEAST_GAIN_DB = 0.1
"""A smaller gain is not worth larger layers, and may be chance."""

_MOST_PICTURES = 8
"""So many of the candidates tell which channels to split."""

_LARGEST_SIDE = 128
"""So many LR pixels of such a picture along a side, from its middle."""


@dataclass(frozen=True)
class Splitting:
    """A float model as integer models are made of it.

    Attributes:
        original: content of the ``.tflite`` file as it was.
        model: content of the ``.tflite`` file: with channels split, or as it was.
        added: how many channels it has more.
        gain_db: by how much closer its integer model comes to the float model's output, as PSNR;
            None if no channel is worth it.
    """

    original: bytes
    model: bytes
    added: int
    gain_db: float | None

    @property
    def kept(self) -> bool:
        """Whether channels are split in ``model``."""
        return self.added > 0


def check_split(limit: int, scheme: Scheme) -> None:
    """Raise UsageError if so many channels cannot be added in a scheme."""
    if limit < 0:
        raise UsageError(f"{limit} channels cannot be added; give --split-channels 0 or more")
    if limit and scheme.activation_bits != 8:  # noqa: PLR2004
        raise UsageError(
            f"channels are split (--split-channels) for activations of 8 bits, not of "
            f"{scheme.activation_bits}, which are fine enough"
        )


def split_if_better(
    model: bytes,
    pictures: Sequence[Image],
    scheme: Scheme,
    limit: int,
    *,
    source: str = "model",
    on_progress: Progress = silent,
) -> Splitting:
    """Split the channels whose rounding costs most, if integer models are then better.

    Integer models get the ranges of the pictures together, and are measured on them: how close they
    come to the float model's pictures. The same pictures always give the same model.

    Args:
        model: content of a float ``.tflite`` file.
        pictures: LR ``(h, w, 3)`` ``uint8`` of candidates.
        scheme: how to quantize.
        limit: channels to add at most.
        source: named in errors.
        on_progress: called while channels are measured.

    Raises:
        ModelError: the model cannot be run or quantized.
    """
    if not pictures or not splittable(Graph(model, source=source)):
        return Splitting(model, model, 0, None)
    named = {str(number): lr for number, lr in enumerate(pictures)}
    ranges = collect(model, named, source=source).merged()
    few = [_middle(lr) for lr in pictures[:: -(-len(pictures) // _MOST_PICTURES)]]
    copies = choose_copies(
        model,
        ranges,
        few,
        scheme,
        limit,
        source=source,
        on_channel=lambda done, total: on_progress(STAGE, done, total),
    )
    if not copies:
        return Splitting(model, model, 0, None)
    split = split_channels(Graph(model, source=source), ranges, copies)
    gain = closer_db(model, split, pictures, scheme, source=source)
    if gain < _LEAST_GAIN_DB:
        return Splitting(model, model, 0, gain)
    added = sum(sum(counts) - len(counts) for counts in copies.values())
    return Splitting(model, split, int(added), gain)


def _middle(lr: Image) -> Image:
    """Return the middle of a picture."""
    top, left = (max(0, side - _LARGEST_SIDE) // 2 for side in lr.shape[:2])
    return np.ascontiguousarray(lr[top : top + _LARGEST_SIDE, left : left + _LARGEST_SIDE])


def keep_splitting(folder: RunFolder, limit: int, found: Splitting) -> None:
    """Write down in a run folder what became of a model, for :func:`split_before`.

    Raises:
        ModelError: a model cannot be written.
        StudyError: the rest cannot be written.
    """
    entry = {
        "original": model_hash(found.original),
        "model": model_hash(found.model),
        "limit": limit,
        "added": found.added,
        "gain_db": found.gain_db,
    }
    write_in_run(folder.splitting, json.dumps(entry, indent=2))
    if found.kept:
        write_model(folder.unsplit_model, found.original)
    write_model(folder.float_model, found.model)


def split_before(folder: RunFolder, original: bytes, limit: int) -> Splitting | None:
    """Return what an earlier run in the folder made of a float model; None if nothing is known."""
    entry = notes_in_run(folder.splitting)
    if (entry.get("original"), entry.get("limit")) != (model_hash(original), limit):
        return None
    model = folder.float_model_of(entry.get("model"))
    added, gain_db = entry.get("added"), entry.get("gain_db")
    if (
        model is None
        or not isinstance(added, int)
        or added < 0
        or not isinstance(gain_db, float | None)
    ):
        return None
    return Splitting(original, model, added, gain_db)


def check_limit(folder: RunFolder, limit: int) -> None:
    """Raise StudyError if a study in the folder was made with another number of channels."""
    entry = notes_in_run(folder.splitting)
    if not folder.journal.exists() or entry.get("limit") in {None, limit}:
        return
    if entry.get("added") and folder.float_model_of(entry.get("model")) is not None:
        raise StudyError(
            f"{folder.path}: was made with --split-channels {entry['limit']}, not {limit}; give "
            "that number, or another --out"
        )


def splitting_notes(found: Splitting | None) -> tuple[str, ...]:
    """Say what splitting channels gave, if it was asked for."""
    if found is None:
        return ()
    if found.gain_db is None:
        return ("no channel was split: none is worth it, or none can be",)
    compared = f"the integer model of up to {MOST_COMPARED} candidates"
    if not found.kept:
        gain = f"{found.gain_db:+.2f} dB closer to the float model"
        asked = f"{_LEAST_GAIN_DB:g} is asked for"
        return (f"no channel was split: {compared} would come {gain}, and {asked}",)
    note = (
        f"channels added, copies of those that rounding hurts most: {found.added}; {compared} "
        f"comes {found.gain_db:.2f} dB closer to the float model"
    )
    return (note,)
