"""PSNR of a table's models on its sets; what was measured once is kept."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from qsr.atomic import replacing
from qsr.calibration.executor import completed
from qsr.calibration.provenance import image_hash, model_hash, versions
from qsr.data.decoded import DecodedPairs, decode
from qsr.data.pairs import find_pairs
from qsr.errors import StudyError
from qsr.evaluation import folded_runner, score_pairs
from qsr.images import upscale_bicubic
from qsr.jobs.images import LEAST_LR_TO_SCORE, usable
from qsr.jobs.progress import Progress
from qsr.jobs.table_report import ModelPsnr
from qsr.tflite.runtime import ModelFacts

Image = NDArray[np.uint8]

_METRIC = "mean psnr in rgb and y"

KNOWN_SETS = ("Set5", "Set14", "B100", "Urban100", "Manga109", "DIV2K")
"""The benchmark sets of Table 2, in its order."""

_OTHER_NAMES = {"bsd100": "B100", "bsds100": "B100"}


@dataclass(frozen=True)
class ImageSet:
    """Images to score on, decoded.

    Attributes:
        name: of the set.
        folder: where they lie.
        pairs: the images.
        hashes: of the pixels of each LR image.
        digest: of the pixels of all of them, LR and HR.
        skipped: one line on each image that was left out as unusable.
    """

    name: str
    folder: Path
    pairs: DecodedPairs
    hashes: tuple[str, ...]
    digest: str
    skipped: tuple[str, ...]


@dataclass(frozen=True)
class Contender:
    """A model to score; bicubic interpolation without one.

    Attributes:
        model: content of a ``.tflite`` file, or None.
        facts: what it takes and gives; None for bicubic.
    """

    model: bytes | None = None
    facts: ModelFacts | None = None


def set_name(folder: Path) -> str:
    """Return the benchmark set that a folder is named after, else the folder's own name."""
    path = folder.resolve()
    name = path.parent.name if path.name == "HR" else path.name
    known = {known.lower(): known for known in KNOWN_SETS} | _OTHER_NAMES
    if name.lower().startswith("div2k"):
        return "DIV2K"
    return known.get(name.lower(), name)


@contextmanager
def decoded_sets(
    folders: Sequence[Path], scale: int, *, skip_bad_images: bool, on_progress: Progress
) -> Iterator[tuple[ImageSet, ...]]:
    """Decode sets for as long as they are needed; of one with splits, as DIV2K, the valid one.

    Raises:
        ImageError: a folder or an image is unusable.
    """
    with TemporaryDirectory(prefix="qsr-") as scratch:
        sets: list[ImageSet] = []
        for number, folder in enumerate(folders):
            pairs, skipped = usable(
                find_pairs(folder, scale, "valid"),
                least_lr=LEAST_LR_TO_SCORE,
                skip_bad=skip_bad_images,
                stage=f"check {folder.name}",
                on_progress=on_progress,
            )
            decoded = decode(pairs, Path(scratch) / str(number))
            hashes = tuple(image_hash(lr) for lr, _ in decoded)
            originals = [image_hash(hr) for _, hr in decoded]
            digest = sha256("".join([*hashes, *originals]).encode()).hexdigest()
            name = set_name(folder)
            if name in {one.name for one in sets}:
                name = str(folder)
            sets.append(ImageSet(name, folder, decoded, hashes, digest, skipped))
        yield tuple(sets)


def scores_of(
    contenders: Mapping[str, Contender],
    sets: Sequence[ImageSet],
    *,
    store: Path,
    executor: Executor | None,
    on_progress: Callable[[int, int], None],
) -> dict[tuple[str, str], ModelPsnr]:
    """Score models on sets; what ``store`` holds is not measured again.

    Args:
        contenders: by name.
        sets: all of one scale.
        store: folder of what was measured before, one file each.
        executor: where to measure, in processes; None measures here.
        on_progress: called with (done, total) after each model on each set.

    Returns:
        Names of contender and set to mean PSNR.

    Raises:
        ModelError: a model cannot be run.
        StudyError: ``store`` cannot be written.
    """
    found: dict[tuple[str, str], ModelPsnr] = {}
    wanted: list[tuple[tuple[str, str], tuple[Contender, int]]] = []
    for name, contender in contenders.items():
        for number, one in enumerate(sets):
            known = _read(_stored(store, contender, one))
            if known is None:
                wanted.append(((name, one.name), (contender, number)))
            else:
                found[name, one.name] = known
    total = len(found) + len(wanted)
    by_name = {one.name: one for one in sets}
    pairs = tuple(one.pairs for one in sets)
    for key, psnr in completed(_psnr, pairs, wanted, executor):
        _write(_stored(store, contenders[key[0]], by_name[key[1]]), psnr)
        found[key] = psnr
        on_progress(len(found), total)
    return found


def _psnr(sets: tuple[DecodedPairs, ...], task: tuple[Contender, int]) -> ModelPsnr:
    """Score a model on one of the sets; runs in a worker."""
    contender, number = task
    pairs = sets[number]
    upscale: Callable[[Image], Image] = partial(upscale_bicubic, factor=pairs.scale)
    if contender.model is not None:
        upscale = folded_runner(contender.model, contender.facts).upscale
    found = score_pairs(
        upscale, pairs, ("psnr_rgb_db", "psnr_y_db"), scale=pairs.scale, names=pairs.names
    )
    return ModelPsnr(
        rgb_db=float(np.mean(found["psnr_rgb_db"])), y_db=float(np.mean(found["psnr_y_db"]))
    )


def _stored(store: Path, contender: Contender, images: ImageSet) -> Path:
    """Name the file of a score after everything that can change it."""
    model = "bicubic" if contender.model is None else model_hash(contender.model)
    described = json.dumps([_METRIC, model, images.digest, versions()])
    return store / f"{sha256(described.encode()).hexdigest()[:32]}.json"


def _read(path: Path) -> ModelPsnr | None:
    """Return a stored score; None if there is none, or a damaged one."""
    try:
        return ModelPsnr(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _write(path: Path, psnr: ModelPsnr) -> None:
    text = json.dumps({"rgb_db": psnr.rgb_db, "y_db": psnr.y_db})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as unfinished:
            unfinished.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StudyError(f"{path}: cannot be written ({error.strerror})") from error
