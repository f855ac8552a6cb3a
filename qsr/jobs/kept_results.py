"""What refinement has made and measured by now, so that a run that was stopped goes on there."""

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from qsr.atomic import replacing
from qsr.calibration.provenance import image_hash, model_hash, versions
from qsr.errors import StudyError
from qsr.tflite.runtime import Image

Score = Callable[[bytes], Sequence[float]]
"""PSNR of an integer model on each image, in dB."""


@dataclass(frozen=True)
class KeptResults:
    """Integer models and their scores, in a folder.

    Attributes:
        folder: where they are; it is made when there is something to keep.
        of: a hash of all that they are made from and measured on.
    """

    folder: Path
    of: str

    def model(self, step: str, base: bytes, make: Callable[[], bytes]) -> bytes:
        """Return what a step makes of an integer model: as an earlier run made it, or made now.

        Args:
            step: its name.
            base: content of the ``.tflite`` file that it is done to.
            make: does it.

        Raises:
            StudyError: the result cannot be written.
        """
        path = self._path(step, base, ".tflite")
        with suppress(OSError):
            return path.read_bytes()
        made = make()
        self._write(path, made)
        return made

    def scored(self, images: str, score: Score) -> Score:
        """Return a score that measures each model once, in this run or an earlier one.

        Args:
            images: what they do: ``choosing`` or ``confirming``.
            score: measures a model on them.
        """

        def kept(model: bytes) -> Sequence[float]:
            path = self._path(images, model, ".json")
            with suppress(OSError):
                earlier: list[float] = json.loads(path.read_bytes())
                return earlier
            found = [float(one) for one in score(model)]
            self._write(path, json.dumps(found).encode())
            return found

        return kept

    def _path(self, what: str, model: bytes, suffix: str) -> Path:
        """Return the file of a result: its name says what it is of."""
        of = sha256(" ".join((self.of, what, model_hash(model))).encode()).hexdigest()
        return self.folder / f"{what.replace(' ', '-')}-{of[:16]}{suffix}"

    def _write(self, path: Path, content: bytes) -> None:
        try:
            self.folder.mkdir(exist_ok=True)
            with replacing(path) as unfinished:
                unfinished.write_bytes(content)
        except OSError as error:
            raise StudyError(
                f"{path}: cannot be written ({error.strerror}); make room and run the same "
                "command again"
            ) from error


def hash_of(float_model: bytes, pictures: Sequence[Image], measured_on: Sequence[str]) -> str:
    """Return a hash of what refinement starts from, and of the packages that do it.

    Args:
        float_model: content of the ``.tflite`` file.
        pictures: LR ``(h, w, 3)`` ``uint8`` that layers are measured on.
        measured_on: hashes of the images that models are scored on.
    """
    parts = [model_hash(float_model), *map(image_hash, pictures), "scored on", *measured_on]
    return sha256(json.dumps([parts, versions()], sort_keys=True).encode()).hexdigest()
