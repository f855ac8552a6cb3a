"""What refinement has made and measured by now, so that a run that was stopped goes on there."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from math import isnan
from pathlib import Path
from typing import Any

from qsr.calibration.provenance import image_hash, model_hash, versions
from qsr.jobs.run_folder import write_in_run
from qsr.tflite.runtime import Image

Score = Callable[[bytes], Sequence[float]]
"""PSNR of an integer model on each image, in dB."""


_FORMAT = 1
"""Raised when a step makes something else of the same model, so that nothing older is used."""


@dataclass(frozen=True)
class KeptResults:
    """Integer models and their scores, in a folder.

    Attributes:
        folder: where they are; it is made when there is something to keep.
        identity: a hash of all that they are made from and measured on.
    """

    folder: Path
    identity: str

    def made_once(self, step: str, base: bytes, make: Callable[[], bytes]) -> bytes:
        """Return what a step makes of an integer model: as an earlier run made it, or made now.

        Args:
            step: its name.
            base: content of the ``.tflite`` file that it is done to.
            make: does it.

        Raises:
            StudyError: the result cannot be written.
        """
        path = self._path(step, base, ".tflite")
        record = path.with_suffix(".sha256")
        with suppress(OSError):
            earlier = path.read_bytes()
            if record.read_text(encoding="ascii") == model_hash(earlier):
                return earlier
        made = make()
        self._write(path, made)
        self._write(record, model_hash(made).encode())
        return made

    def scored_once(self, images: str, score: Score) -> Score:
        """Return a score that measures each model once, in this run or an earlier one.

        Args:
            images: what they do: ``choosing`` or ``confirming``.
            score: measures a model on them.
        """

        def scored(model: bytes) -> Sequence[float]:
            path = self._path(images, model, ".json")
            with suppress(OSError, ValueError, TypeError, KeyError):  # not there, or damaged
                earlier = json.loads(path.read_bytes())
                scores = [float(one) for one in earlier["psnr_db"]]
                if len(scores) == earlier["images"]:
                    return scores
            scores = [float(one) for one in score(model)]
            if any(map(isnan, scores)):
                return scores  # it may run another time
            entry = {"images": len(scores), "psnr_db": scores}
            self._write(path, json.dumps(entry).encode())
            return scores

        return scored

    def _path(self, what: str, model: bytes, suffix: str) -> Path:
        """Return the file of a result: its name says what it is of."""
        of = sha256(" ".join((self.identity, what, model_hash(model))).encode()).hexdigest()
        return self.folder / f"{what.replace(' ', '-')}-{of[:16]}{suffix}"

    def _write(self, path: Path, content: bytes) -> None:
        write_in_run(path, content, remedy="make room, or move away what is in its place,")


def inputs_hash(
    float_model: bytes, pictures: Sequence[Image], measured_on: Mapping[str, Any]
) -> str:
    """Return a hash of what refinement starts from, and of the packages that do it.

    Args:
        float_model: content of the ``.tflite`` file.
        pictures: LR ``(h, w, 3)`` ``uint8`` that layers are measured on.
        measured_on: what models are scored on and how, as JSON.
    """
    parts = [
        _FORMAT,
        versions(),
        model_hash(float_model),
        [*map(image_hash, pictures)],
        measured_on,
    ]
    return sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
