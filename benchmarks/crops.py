"""Candidate and validation images for a benchmark: crops of photographs, written once and kept.

A crop is made the way the pairs of DIV2K are: HR of about the size of the photograph, LR by bicubic
downscaling of the very HR that is stored. Candidates, validation images and confirmation images
come from disjoint photographs: of every ten, in the order of their names, six give candidates,
three validation images and one confirmation images.

The first crop of a photograph is the whole of it, upright; the next seven are the whole of it in
its other orientations: mirrored along either side, and turned by a right angle. Then come windows
of 95% of its width and height at random places, in the same eight orientations. Crops are taken
from one photograph after the other, so that the first few of them are of different photographs.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from qsr.atomic import replacing, sweep
from qsr.data.pairs import content_hash
from qsr.errors import StudyError, UsageError
from qsr.images import downscale_bicubic, image_size, list_images, read_rgb, write_rgb

SCALE = 3
SMALLEST_PHOTO = (2040, 1140)
"""Width and height in pixels of the smallest photograph that is taken."""

ORIENTATIONS = 8
WINDOW = 0.95
"""Width and height of a window over the photograph's, before they are cut to the scale."""

_JPEG_QUALITY = 95
_MOST_JPEG_BYTES = 1.0
_MOST_PNG_BYTES = 3.1
"""Bytes per pixel that a file takes at most; photographs take half of it."""

ROLES = ("candidates", "validation", "confirmation")

_ROLE_OF_TEN = (0, 0, 0, 1, 1, 0, 0, 0, 1, 2)
"""Which of ``ROLES`` a photograph has, by the last digit of its number."""


@dataclass(frozen=True)
class Crop:
    """A part of a photograph.

    Attributes:
        photo: file name of the photograph.
        left: its first column in the photograph.
        top: its first row.
        width: in pixels of the photograph, a multiple of the scale.
        height: the same.
        orientation: 0 to 7; 1 is added for a picture mirrored left to right, 2 for one mirrored top
            to bottom, 4 for one whose rows and columns are then swapped.
    """

    photo: str
    left: int
    top: int
    width: int
    height: int
    orientation: int

    def cut(self, photo: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the crop of the photograph, ``(height, width, 3)`` or turned; contiguous."""
        picture = photo[self.top : self.top + self.height, self.left : self.left + self.width]
        if self.orientation & 1:
            picture = picture[:, ::-1]
        if self.orientation & 2:
            picture = picture[::-1]
        if self.orientation & 4:
            picture = picture.swapaxes(0, 1)
        return np.ascontiguousarray(picture)


@dataclass(frozen=True)
class CropFolder:
    """Where the crops of one kind lie: ``HR`` and ``LRx3``, files of the same name.

    Attributes:
        path: the folder.
        hr_suffix: ``.png``, or ``.jpg`` (quality 95, colour in full resolution) to save disk where
            only LR is needed.
    """

    path: Path
    hr_suffix: str

    def hr(self, index: int) -> Path:
        """Return the path of the HR file of a crop."""
        return self.path / "HR" / f"{index:04d}{self.hr_suffix}"

    def lr(self, index: int) -> Path:
        """Return the path of the LR file of a crop."""
        return self.path / f"LRx{SCALE}" / f"{index:04d}.png"


@dataclass(frozen=True)
class CropSet:
    """The images of a benchmark, in its work folder.

    Attributes:
        work: the folder.
        candidates: number of candidate images.
        validation: number of validation images.
        confirmation: number of confirmation images.
    """

    work: Path
    candidates: int
    validation: int
    confirmation: int

    @property
    def candidate_folder(self) -> CropFolder:
        """Candidates, of which a search needs LR alone."""
        return CropFolder(self.work / "candidates", ".jpg")

    @property
    def validation_folder(self) -> CropFolder:
        """Validation images."""
        return CropFolder(self.work / "validation", ".png")

    @property
    def confirmation_folder(self) -> CropFolder:
        """Images that confirm what was chosen on the validation images."""
        return CropFolder(self.work / "confirmation", ".png")

    @property
    def roles(self) -> dict[str, tuple[CropFolder, int]]:
        """The folder and the number of each kind of images, in the order of ``ROLES``."""
        folders = (self.candidate_folder, self.validation_folder, self.confirmation_folder)
        numbers = (self.candidates, self.validation, self.confirmation)
        return dict(zip(ROLES, zip(folders, numbers, strict=True), strict=True))

    def files(self) -> Iterator[Path]:
        """Name every file."""
        for folder, crops in self.roles.values():
            for index in range(crops):
                yield folder.hr(index)
                yield folder.lr(index)


def plan_crops(photos: Mapping[str, tuple[int, int]], crops: int, *, seed: int) -> tuple[Crop, ...]:
    """Choose distinct crops of photographs: see the text of this module.

    Args:
        photos: file name to width and height in pixels, at least one.
        crops: how many to choose.
        seed: of the places of the windows. Fewer crops of a seed are the first of more.
    """
    endless = [
        _crops_of(name, width, height, np.random.default_rng([seed, index]))
        for index, (name, (width, height)) in enumerate(photos.items())
    ]
    return tuple(next(endless[index % len(endless)]) for index in range(crops))


def split_photos(photos: Mapping[str, tuple[int, int]]) -> tuple[dict[str, tuple[int, int]], ...]:
    """Divide photographs into those for candidates, for validation and for confirmation.

    Args:
        photos: file name to width and height in pixels.

    Raises:
        UsageError: there are too few of them.
    """
    parts: tuple[dict[str, tuple[int, int]], ...] = ({}, {}, {})
    for index, (name, size) in enumerate(photos.items()):
        parts[_ROLE_OF_TEN[index % len(_ROLE_OF_TEN)]][name] = size
    if not all(parts):
        width, height = SMALLEST_PHOTO
        raise UsageError(
            f"{len(photos)} photographs of at least {width}x{height} pixels are too few; give a "
            f"folder with {len(_ROLE_OF_TEN)} or more"
        )
    return parts


def prepare_crops(
    photos: Path,
    wanted: CropSet,
    *,
    seed: int,
    threads: int,
    on_progress: Callable[[int, int], None],
) -> None:
    """Write the crops; those that an earlier call has written stay.

    Args:
        photos: folder of photographs.
        wanted: how many of each kind, and where.
        seed: see :func:`plan_crops`.
        threads: crops made at a time.
        on_progress: called with (done, total) after each crop.

    Raises:
        ImageError: a photograph cannot be read, or a crop not be written.
        StudyError: the folder holds other crops.
        UsageError: too few large photographs, or too little room on the disk.
    """
    large = _large_photos(photos)
    crops = {
        role: plan_crops(share, number, seed=seed)
        for (role, (_, number)), share in zip(
            wanted.roles.items(), split_photos(large), strict=True
        )
    }
    manifest = {
        "seed": seed,
        "photos": {name: content_hash(photos / name) for name in large},
        **{role: [asdict(crop) for crop in chosen] for role, chosen in crops.items()},
    }
    wanted.work.mkdir(parents=True, exist_ok=True)
    _check_manifest(wanted.work, manifest)
    jobs = [
        (folder, index, crop)
        for role, (folder, _) in wanted.roles.items()
        for index, crop in enumerate(crops[role])
        if not (folder.lr(index).exists() and folder.hr(index).exists())
    ]
    _check_room(wanted.work, jobs)
    for path in {path.parent for path in wanted.files()}:
        path.mkdir(parents=True, exist_ok=True)
        sweep(path)
    # One photograph after the other, so that each is decoded once.
    jobs.sort(key=lambda job: (job[2].photo, job[1]))
    with ThreadPoolExecutor(threads) as pool:  # Pillow and NumPy release the GIL
        written = pool.map(lambda job: _write(photos, *job), jobs)
        for done, _ in enumerate(written, start=1):
            on_progress(done, len(jobs))


def prepared_crops(work: Path) -> CropSet:
    """Return the crops that lie in a folder.

    Raises:
        StudyError: there are none, or not all.
    """
    manifest = _read_manifest(work)
    if manifest is None:
        raise StudyError(f"{work}: no images of this benchmark there; run prepare first")
    found = CropSet(work, *(len(manifest[role]) for role in ROLES))
    missing = next((path for path in found.files() if not path.exists()), None)
    if missing is not None:
        raise StudyError(f"{missing}: missing; run the same prepare again, which completes them")
    return found


def _crops_of(name: str, width: int, height: int, random: np.random.Generator) -> Iterator[Crop]:
    """Yield distinct crops of one photograph without end."""
    whole = (0, 0, _cut_to_scale(width), _cut_to_scale(height))
    places = {whole}
    for crops in count():
        orientation = crops % ORIENTATIONS
        if crops == 0:
            place = whole
        elif crops >= ORIENTATIONS:
            place = _new_window(width, height, places, random)
            places.add(place)
        yield Crop(name, *place, orientation)


def _new_window(
    width: int, height: int, taken: set[tuple[int, int, int, int]], random: np.random.Generator
) -> tuple[int, int, int, int]:
    """Draw left, top, width and height of a window that was not taken."""
    size = (_cut_to_scale(round(WINDOW * width)), _cut_to_scale(round(WINDOW * height)))
    while True:
        left = int(random.integers(width - size[0] + 1))
        top = int(random.integers(height - size[1] + 1))
        if (left, top, *size) not in taken:
            return left, top, *size


def _cut_to_scale(pixels: int) -> int:
    return pixels - pixels % SCALE


def _large_photos(folder: Path) -> dict[str, tuple[int, int]]:
    """Return the sizes of the photographs that are large enough, sorted by name."""
    sizes = {path.name: image_size(path) for path in list_images(folder)}
    return {
        name: size
        for name, size in sizes.items()
        if all(side >= least for side, least in zip(size, SMALLEST_PHOTO, strict=True))
    }


def _write(photos: Path, folder: CropFolder, index: int, crop: Crop) -> None:
    """Write HR and then, from what was stored, LR."""
    hr, lr = folder.hr(index), folder.lr(index)
    picture = crop.cut(_photo(photos / crop.photo))
    if hr.suffix == ".png":
        write_rgb(hr, picture)
    else:
        with replacing(hr) as unfinished:
            Image.fromarray(picture).save(unfinished, quality=_JPEG_QUALITY, subsampling=0)
        picture = read_rgb(hr)
    write_rgb(lr, downscale_bicubic(picture, SCALE))


@lru_cache(maxsize=2)
def _photo(path: Path) -> NDArray[np.uint8]:
    return read_rgb(path)


def _check_room(work: Path, jobs: list[tuple[CropFolder, int, Crop]]) -> None:
    needed = 0.0
    for folder, _, crop in jobs:
        per_pixel = _MOST_PNG_BYTES if folder.hr_suffix == ".png" else _MOST_JPEG_BYTES
        needed += crop.width * crop.height * (per_pixel + _MOST_PNG_BYTES / SCALE**2)
    free = shutil.disk_usage(work).free
    if free < needed:
        raise UsageError(
            f"{work}: the images may take {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free; "
            "make room, or give another --work"
        )


def _check_manifest(work: Path, manifest: Mapping[str, Any]) -> None:
    """Write down what the folder holds, or refuse one that holds other crops."""
    found = _read_manifest(work)
    if found is None:
        with replacing(_manifest_path(work)) as unfinished:
            unfinished.write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    elif found != manifest:
        differing = [key for key in manifest if found.get(key) != manifest[key]]
        raise StudyError(
            f"{work}: holds the images of another benchmark (other {', '.join(differing)}); give "
            "another --work"
        )


def _read_manifest(work: Path) -> dict[str, Any] | None:
    path = _manifest_path(work)
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise StudyError(f"{path}: not readable: {error}; remove it") from error
    if not isinstance(manifest, dict) or not manifest.keys() >= set(ROLES):
        raise StudyError(f"{path}: not written by this benchmark; give another --work")
    return manifest


def _manifest_path(work: Path) -> Path:
    return work / "crops.json"
