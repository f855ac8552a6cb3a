"""Which models and images ``fp32``, ``int8`` and ``uint8`` stand for in ``qsr compare``."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from qsr import calibration
from qsr.calibration.scheme import scheme_named
from qsr.data.bundled import write_bundled
from qsr.data.pairs import find_pairs, lr_images
from qsr.errors import StudyError
from qsr.jobs.models import load_any, load_float
from qsr.jobs.progress import Progress
from qsr.jobs.run_folder import RunFolder, newest_run
from qsr.tflite.files import read_model
from qsr.tflite.runtime import inspect_model

BUILT_IN = "xcat"
WORDS = ("fp32", "int8", "uint8")
"""What stands for the models of a run folder; the last two are its integer model."""


@dataclass(frozen=True)
class NamedModel:
    """A model and what a person should call it.

    Attributes:
        content: of the ``.tflite`` file.
        source: where it comes from.
        name: what a command takes for it.
        refined: whether a search made it and refined it.
    """

    content: bytes
    source: str
    name: str
    refined: bool = False


def found_models(
    names: Sequence[str],
    run: Path | None,
    images: Path | None,
    scratch: Path,
    on_progress: Progress,
) -> tuple[list[NamedModel], Path]:
    """Find models, and the images to compare them on.

    Args:
        names: of each, a path, a zoo name, or one of :data:`WORDS`.
        run: run folder that words stand for models of. If None, the newest below ``runs/``; if
            there is none, the built-in network, quantized on the spot.
        images: what the user gave; if None, the validation images of the run, or the bundled
            photographs.
        scratch: folder to write the bundled photographs into.
        on_progress: called while working.

    Returns:
        The models, and the folder of images.

    Raises:
        ModelError: a model is unusable.
        StudyError: ``run`` is no finished run, or its validation images are gone.
    """
    words = set(names) & set(WORDS)
    folder = _run_folder(run) if words or run is not None else None
    find = _built_in(scratch, on_progress) if words and folder is None else _of_run(folder)
    photographs = images or _validation_of(folder) or write_bundled(scratch)[1]
    return [find(name) for name in names], photographs


def _run_folder(run: Path | None) -> RunFolder | None:
    """Return the run that is asked for, checked, or the newest, or None."""
    if run is None:
        return newest_run()
    folder = RunFolder(run)
    folder.read_summary()
    return folder


def _of_run(folder: RunFolder | None) -> Callable[[str], NamedModel]:
    """Return what finds a model by its path or, if it is a word, in a run folder."""

    def find(model: str) -> NamedModel:
        if folder is None or model not in WORDS:
            return NamedModel(load_any(model), model, model)
        # The summary may have been written below another current folder: its file name counts.
        summary = folder.read_summary()
        integer = folder.path / Path(summary["integer_model"]).name
        content, source = read_model(folder.float_model if model == "fp32" else integer)
        refined = model != "fp32" and bool(summary.get("chosen", {}).get("refined"))
        return NamedModel(content, source, source, refined)

    return find


def _built_in(scratch: Path, on_progress: Progress) -> Callable[[str], NamedModel]:
    """Return what finds a model by its path or, if it is a word, makes it of the built-in one."""
    candidates, _ = write_bundled(scratch)
    content = load_float(BUILT_IN)

    def find(model: str) -> NamedModel:
        if model not in WORDS:
            return NamedModel(load_any(model), model, model)
        if model == "fp32":
            return NamedModel(content, f"built-in {BUILT_IN}", BUILT_IN)
        pairs = find_pairs(candidates, inspect_model(content, source=BUILT_IN).scale)

        def measured(done: int) -> None:
            on_progress("measure ranges", done, len(pairs))

        table = calibration.collect(content, lr_images(pairs), on_image=measured)
        integer = calibration.quantize(content, table.merged(), scheme_named(model))
        source = f"built-in {BUILT_IN} in {model}, from {len(pairs)} bundled images"
        return NamedModel(integer, source, source)

    return find


def _validation_of(folder: RunFolder | None) -> Path | None:
    """Return the validation folder of a run.

    Raises:
        StudyError: it is gone.
    """
    if folder is None:
        return None
    path = Path(folder.read_summary()["validation"])
    own = folder.photographs / path.name  # the bundled ones move along with the run folder
    if found := next((place for place in (path, own) if place.is_dir()), None):
        return found
    raise StudyError(f"{path}: the validation images of {folder.path} are gone; give --images")
