"""Whether a network is equalized before integer models are made of it: only if that pays."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from qsr.calibration import Scheme
from qsr.calibration.provenance import model_hash
from qsr.errors import ImageError
from qsr.jobs.closeness import MOST_COMPARED, closer_db
from qsr.jobs.run_folder import RunFolder, notes_in_run, write_in_run
from qsr.quantization.equalize import equalize
from qsr.quantization.weight_balance import balance_weights
from qsr.tflite.files import write_model
from qsr.tflite.runtime import Image

LEAST_GAIN_DB = 1.0
"""A smaller gain is not worth another float model, and may be chance."""

MOST_IMAGES = 128
"""So many of the candidates tell what channels hold, spread over all of them: an extreme that none
of them shows lets its channel share its grid badly."""

LARGEST_SIDE = 192
"""So many LR pixels of a picture along a side, from its middle: enough for what channels hold."""


class Candidate(Protocol):
    """An image that its LR picture can be had of: a pair of files, or a decoded one."""

    def load_lr(self) -> Image:
        """Return the LR picture: ``(h, w, 3)`` ``uint8`` RGB; ImageError if it is unusable."""
        ...


@dataclass(frozen=True)
class Equalization:
    """A float model as integer models are made of it.

    Attributes:
        original: content of the ``.tflite`` file as it was.
        model: content of the ``.tflite`` file: equalized, or as it was.
        gain_db: by how much closer the equalized model's integer model comes to the float model's
            output, as PSNR; None if the network has no layers to equalize.
        kept: whether ``model`` is the equalized one.
    """

    original: bytes
    model: bytes
    gain_db: float | None
    kept: bool


def equalized_if_better(
    model: bytes,
    candidates: Sequence[Candidate],
    scheme: Scheme,
    *,
    least_side: int,
    source: str = "model",
) -> Equalization:
    """Equalize a float model, if its integer model then comes closer to the float model's output.

    With a weight scale per channel it is the activations that are equalized
    (:mod:`qsr.quantization.equalize`), with one per kernel the weights
    (:mod:`qsr.quantization.weight_balance`). Both integer models get the ranges of the same
    candidates together, and are measured on them; no validation image takes part. The same
    candidates always give the same model.

    Args:
        model: content of a float ``.tflite`` file.
        candidates: images that may become representative; unusable ones are passed over.
        scheme: how to quantize.
        least_side: smallest side of a usable image, in LR pixels.
        source: named in errors.

    Raises:
        ModelError: the model cannot be run or quantized.
    """
    pictures = middles(candidates, least_side)
    if not pictures:
        return Equalization(model, model, None, kept=False)
    if scheme.per_channel:
        equalized = equalize(model, pictures, source=source)
    else:
        equalized = balance_weights(model, source=source)
    if equalized == model:
        return Equalization(model, model, None, kept=False)
    gain = closer_db(model, equalized, pictures, scheme, source=source)
    kept = gain >= LEAST_GAIN_DB
    return Equalization(model, equalized if kept else model, gain, kept)


def keep_equalization(folder: RunFolder, original: bytes, found: Equalization) -> None:
    """Write down in a run folder what became of a model, for :func:`equalized_before`.

    Raises:
        ModelError: the model cannot be written.
        StudyError: the rest cannot be written.
    """
    entry = {
        "original": model_hash(original),
        "model": model_hash(found.model),
        "gain_db": found.gain_db,
        "kept": found.kept,
    }
    write_in_run(folder.equalization, json.dumps(entry, indent=2))
    write_model(folder.float_model, found.model)


def another_was_equalized(folder: RunFolder, original: bytes) -> bool:
    """Whether the folder remembers equalizing, or leaving as it was, another float model."""
    known = notes_in_run(folder.equalization).get("original")
    return known is not None and known != model_hash(original)


def equalized_before(folder: RunFolder, original: bytes) -> Equalization | None:
    """Return what an earlier run in the folder made of a float model, equalized or left as it was.

    None if nothing is known of it.
    """
    entry = notes_in_run(folder.equalization)
    if entry.get("original") != model_hash(original):
        return None
    kept = bool(entry.get("kept", True))  # earlier versions wrote down no others
    model = folder.float_model_of(entry.get("model")) if kept else original
    gain_db = entry.get("gain_db")
    if model is None or not (isinstance(gain_db, float) or (gain_db is None and not kept)):
        return None
    return Equalization(original, model, gain_db, kept=kept)


def equalization_notes(found: Equalization | None) -> tuple[str, ...]:
    """Say what equalization gave, if there was anything to equalize."""
    if found is None or found.gain_db is None:
        return ()
    if not found.kept:
        note = (
            "the network's channels were not equalized: the integer model of up to "
            f"{MOST_COMPARED} candidates would come {found.gain_db:+.2f} dB closer to it, and "
            f"{LEAST_GAIN_DB:.0f} is asked for"
        )
        return (note,)
    note = (
        "the network's channels were equalized, which leaves its function alone: the integer model "
        f"of up to {MOST_COMPARED} candidates comes {found.gain_db:.2f} dB closer to it"
    )
    return (note,)


def middles(candidates: Sequence[Candidate], least_side: int) -> tuple[Image, ...]:
    """Load the middles of LR pictures spread over the candidates, without unusable ones.

    Args:
        candidates: images, of which so many as are measured on are taken.
        least_side: smaller pictures, in LR pixels, are passed over.

    Returns:
        ``(h, w, 3)`` ``uint8`` each.
    """
    count, largest = min(MOST_IMAGES, len(candidates)), max(LARGEST_SIDE, least_side)
    places = np.linspace(0, len(candidates) - 1, count).round().astype(int)
    pictures = []
    for place in places.tolist():
        try:
            lr = candidates[place].load_lr()
        except ImageError:
            continue
        if min(lr.shape[:2]) >= least_side:
            top, left = (max(0, side - largest) // 2 for side in lr.shape[:2])
            pictures.append(np.ascontiguousarray(lr[top : top + largest, left : left + largest]))
    return tuple(pictures)
