"""Photographs through a model, to look at."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from qsr.data.pairs import Pair
from qsr.errors import UsageError
from qsr.images import list_images, read_rgb, write_rgb
from qsr.jobs.images import check_there, usable
from qsr.jobs.models import load_any
from qsr.jobs.progress import Progress, silent
from qsr.tflite.runtime import Runner


@dataclass(frozen=True)
class UpscaledPhoto:
    """One enlarged photograph.

    Attributes:
        source: the photograph.
        result: the PNG file that was written.
        width: of the result, in pixels.
        height: of the result, in pixels.
    """

    source: str
    result: str
    width: int
    height: int


@dataclass(frozen=True)
class UpscaleReport:
    """What was enlarged.

    Attributes:
        photos: every photograph, in the order given.
        skipped: one line on each photograph that was left out as unusable.
    """

    photos: tuple[UpscaledPhoto, ...]
    skipped: tuple[str, ...]


def upscale_photos(
    model: str,
    photos: Sequence[Path],
    out: Path,
    *,
    threads: int = 1,
    skip_bad_images: bool = False,
    on_progress: Progress = silent,
) -> UpscaleReport:
    """Enlarge photographs with a float or an integer model.

    Large photographs are run in overlapping tiles, so memory stays bounded and no seam shows.

    Args:
        model: a name from the zoo, or a ``.tflite``, ``.keras``, ``.h5`` or SavedModel path.
        photos: images and folders of images.
        out: folder for the results, ``<name>_x<scale>.png``; created if missing.
        threads: threads of the interpreter.
        skip_bad_images: leave unusable photographs out instead of stopping.
        on_progress: called after each photograph.

    Returns:
        What was written, photograph by photograph.

    Raises:
        ImageError: a photograph cannot be read, or a result cannot be written.
        ModelError: the model is unusable.
        UsageError: no photograph, two whose results would have one name, or a result that would
            replace a photograph.
    """
    check_there(photos)
    paths = [path for photo in photos for path in _images_at(photo)]
    if not paths:
        raise UsageError("give at least one photograph or folder of photographs")
    names = _names(paths)
    runner = Runner(load_any(model), threads=threads, source=model)
    scale = runner.facts.scale
    pairs, skipped = usable(
        [Pair(name, path, None, scale=1) for name, path in zip(names, paths, strict=True)],
        least_lr=1,
        skip_bad=skip_bad_images,
        stage="check photographs",
        on_progress=on_progress,
    )
    targets = {pair.hr_path: out / f"{pair.name}_x{scale}.png" for pair in pairs}
    sources = {path.resolve() for path in paths}
    for target in targets.values():
        if target.resolve() in sources:
            raise UsageError(f"{target}: would replace a photograph; give another folder with -o")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{out}: cannot be made: {error.strerror}") from error
    results = []
    for done, (path, target) in enumerate(targets.items(), start=1):
        result = runner.upscale(read_rgb(path))
        write_rgb(target, result)
        results.append(UpscaledPhoto(str(path), str(target), result.shape[1], result.shape[0]))
        on_progress("upscale", done, len(targets))
    return UpscaleReport(tuple(results), skipped)


def _names(paths: Sequence[Path]) -> list[str]:
    """Return what to call the results: the photographs' names, with endings if need be.

    Raises:
        UsageError: two photographs have one name, ending and all.
    """
    stems, names = [path.stem for path in paths], [path.name for path in paths]
    if len(set(stems)) == len(stems):
        return stems
    if len(set(names)) == len(names):
        return names
    repeated = next(name for name, count in Counter(names).items() if count > 1)
    raise UsageError(f"two photographs named {repeated}; give each its own command and folder (-o)")


def _images_at(path: Path) -> Sequence[Path]:
    return list_images(path) if path.is_dir() else [path]
