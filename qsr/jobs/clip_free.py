"""Candidates augmented for a network without its clip, found once and kept in the run folder."""

import json
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from qsr.calibration.collect import ImageSource, load_image
from qsr.calibration.executor import completed
from qsr.calibration.provenance import image_hash, model_hash
from qsr.errors import ImageError
from qsr.jobs.progress import Progress, silent
from qsr.jobs.run_folder import RunFolder, write_in_run
from qsr.quantization.clip_free import Intensity, full_range_intensity

_SAVE_EVERY = 20
"""Images between two savings."""


@dataclass(frozen=True)
class Augmented:
    """Candidates with other intensities.

    Attributes:
        intensities: name to what is done to its picture.
        hashes: of the pictures as they were, in the same order.
        problems: what is wrong with those that cannot be augmented, by name.
    """

    intensities: Mapping[str, Intensity]
    hashes: tuple[str, ...]
    problems: Mapping[str, ImageError]

    def sources(
        self, images: Iterable[tuple[str, ImageSource]]
    ) -> Iterator[tuple[str, ImageSource]]:
        """Return the augmented pictures, those that cannot be augmented left out.

        Args:
            images: the pictures as they were, by name.
        """
        for name, image in images:
            if name in self.intensities:
                yield name, _WithIntensity(image, self.intensities[name])


@dataclass(frozen=True)
class _WithIntensity:
    """Loads a picture and augments it, wherever it is called."""

    image: ImageSource
    intensity: Intensity

    def __call__(self) -> NDArray[Any]:
        image = self.image() if callable(self.image) else self.image
        return self.intensity.of(image)


@dataclass(frozen=True)
class _Asked:
    """What a worker has to know: the model, and what was found before, by the pictures' hashes."""

    model: bytes
    source: str
    known: Mapping[str, Intensity]


@dataclass(frozen=True)
class _Found:
    """What was found for one picture: its intensity, or why there is none."""

    digest: str
    intensity: Intensity | None
    problem: ImageError | None


def augment(
    model: bytes,
    images: Iterable[tuple[str, ImageSource]],
    folder: RunFolder,
    *,
    source: str = "model",
    executor: Executor | None = None,
    on_progress: Progress = silent,
    total: int = 0,
) -> Augmented:
    """Find the intensities with which each candidate's output spans exactly black to white.

    What an earlier run in the folder found for the same model and picture is taken again.

    Args:
        model: content of a float ``.tflite`` file that does not clip its output.
        images: LR pictures by name, or what loads them.
        folder: keeps what is found.
        source: what errors call the model.
        executor: where to run the model; None runs it here.
        on_progress: called after each picture.
        total: number of pictures, for ``on_progress``.

    Raises:
        ModelError: the model cannot be run.
        StudyError: what is found cannot be kept.
    """
    known = _kept(model, folder)
    asked = _Asked(model, source, dict(known))
    order, found = [], {}

    def tasks() -> Iterator[tuple[str, tuple[str, ImageSource]]]:
        for name, image in images:
            order.append(name)
            yield name, (name, image)

    try:
        for done, (name, one) in enumerate(completed(_search, asked, tasks(), executor), start=1):
            found[name] = one
            if one.intensity is not None:
                known[one.digest] = one.intensity
            if done % _SAVE_EVERY == 0:
                _keep(model, folder, known)
            on_progress("augment candidates", done, total)
    finally:
        _keep(model, folder, known)
    usable = {name: found[name] for name in order if found[name].intensity is not None}
    return Augmented(
        {name: one.intensity for name, one in usable.items() if one.intensity is not None},
        tuple(one.digest for one in usable.values()),
        {name: one.problem for name, one in found.items() if one.problem is not None},
    )


def augmentation_notes(augmented: Augmented | None) -> tuple[str, ...]:
    """Say what was done to the candidates, if anything was."""
    if augmented is None:
        return ()
    gains = [intensity.gain for intensity in augmented.intensities.values()]
    note = (
        "clip-free: the network's clip was left out, and the candidates' intensities were scaled, "
        f"{min(gains):.2f} to {max(gains):.2f} times, and shifted, so that its output spans black "
        "to white"
    )
    return (note,)


def _search(asked: _Asked, task: tuple[str, ImageSource]) -> _Found:
    """Find the intensities of one picture; runs in a worker."""
    name, image = task
    try:
        lr = load_image(name, image)
        digest = image_hash(lr)
        intensity = asked.known.get(digest)
        if intensity is None:
            intensity = full_range_intensity(asked.model, lr, name=name, source=asked.source)
    except ImageError as error:
        return _Found("", None, error.with_traceback(None))  # which holds the picture
    return _Found(digest, intensity, None)


def _kept(model: bytes, folder: RunFolder) -> dict[str, Intensity]:
    """Return what an earlier run found for this model; nothing if there was none."""
    try:
        entry = json.loads(folder.intensities.read_text(encoding="utf-8"))
        if entry["model"] != model_hash(model):
            return {}
        return {
            str(digest): Intensity(float(gain), float(offset))
            for digest, (gain, offset) in entry["images"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _keep(model: bytes, folder: RunFolder, known: Mapping[str, Intensity]) -> None:
    """Write down what is found so far."""
    images = {digest: (one.gain, one.offset) for digest, one in known.items()}
    entry = {"model": model_hash(model), "images": images}
    write_in_run(folder.intensities, json.dumps(entry, indent=2))
