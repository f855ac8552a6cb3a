"""Where sets of images lie on disk: which folder holds HR, which LR, and of which split.

Recognised, for a scale s, where ``<set>`` is empty or ends with an underscore:

- a folder named ``<set>HR`` (``HR``, ``DIV2K_train_HR``, ``Flickr2K_HR``) with its LR folder next
  to it: ``<set>LRx<s>``, ``<set>LR_x<s>``, ``<set>LR/X<s>``, ``<set>LR_bicubic/X<s>``,
  ``<set>LR_bicubic_X<s>`` or ``<set>LR``, the first of these that there is; ``X<s>`` may be written
  ``x<s>``;
- the same with each archive unpacked into a folder of its own:
  ``DIV2K_train_HR/DIV2K_train_HR``, ``DIV2K_train_LR_bicubic_X3/DIV2K_train_LR_bicubic/X3``;
- the folder that contains such folders, of one set or of the splits of one: ``train`` or
  ``valid`` (``val``, ``validation``), a word of the set's name.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from qsr.errors import ImageError
from qsr.images import SUFFIXES

Split = Literal["train", "valid"]

_SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "valid": "valid",
    "val": "valid",
    "validation": "valid",
    "test": "test",
    "testing": "test",
}
_SCALES = range(2, 9)
_SHOWN = 3


@dataclass(frozen=True)
class _HrFolder:
    """The HR images of one set.

    Attributes:
        images: folder that holds the files.
        root: folder in which the set's LR folders lie.
        name: what its name is but for the ending ``HR``: ``DIV2K_train_``, or empty.
    """

    images: Path
    root: Path
    name: str

    @property
    def split(self) -> str | None:
        """``train``, ``valid`` or ``test``, if the name says so."""
        words = re.split(r"[^a-z]+", self.name.lower())
        return next((_SPLIT_WORDS[word] for word in words if word in _SPLIT_WORDS), None)


def image_folders(folder: Path, scale: int, split: Split | None = None) -> tuple[Path, Path | None]:
    """Find the HR and the LR images that are meant by ``folder``.

    Args:
        folder: what a user points at.
        scale: HR pixels per LR pixel, along each side.
        split: which split to take if ``folder`` contains several. A set whose name tells no split
            is taken for either, if there is no other. An HR folder that is given itself is
            taken whatever its split.

    Returns:
        The folder of HR images or of photographs, and that of LR images; None if LR is to be made.

    Raises:
        ImageError: ``folder`` contains several sets that may be meant, sets of other splits alone,
            an HR folder without LR, or images only in folders inside it.
    """
    hr = _meant(folder, split)
    if hr is None:
        return _photographs(folder), None
    lr = _lr_folder(hr, scale)
    if lr is None and _inside(folder):
        others = " and ".join(f"x{other}" for other in _SCALES if _lr_folder(hr, other))
        only = f", only for {others}" if others else ""
        raise ImageError(
            f"{folder}: {hr.images.name} has no LR images for x{scale} next to it{only}; "
            f"give {hr.images} itself to have them made by bicubic downscaling."
        )
    return hr.images, lr


def hr_folder(folder: Path, split: Split | None = None) -> Path:
    """Find the HR images that are meant by ``folder``, whatever the scale of LR.

    Args:
        folder: as for :func:`image_folders`.
        split: the same.

    Returns:
        The folder of HR images or of photographs.

    Raises:
        ImageError: ``folder`` contains several sets that may be meant, sets of other splits alone,
            or images only in folders inside it.
    """
    hr = _meant(folder, split)
    return _photographs(folder) if hr is None else hr.images


def has_split(folder: Path, split: Split) -> bool:
    """Whether ``folder`` contains an HR folder whose name is of that split."""
    return any(found.split == split for found in _inside(folder))


def _meant(folder: Path, split: Split | None) -> _HrFolder | None:
    """Return the HR folder that is meant by ``folder``; None if it holds photographs."""
    inside = _inside(folder)
    return _chosen(folder, inside, split) if inside else _named_hr(folder)


def _chosen(folder: Path, inside: list[_HrFolder], split: Split | None) -> _HrFolder:
    """Return the one of several HR folders that is meant by a split."""
    qualified = _qualified(inside, split)
    if not qualified:
        names = ", ".join(found.images.name for found in inside)
        raise ImageError(
            f"{folder}: no {split} split, only {names}; give the folder of the one to take, such "
            f"as {inside[0].images}."
        )
    if len(qualified) > 1:
        names = ", ".join(found.images.name for found in qualified)
        raise ImageError(
            f"{folder}: several sets of images ({names}); give the folder of one, such as "
            f"{qualified[0].images}."
        )
    return qualified[0]


def _lr_folder(hr: _HrFolder, scale: int) -> Path | None:
    """Return the LR folder of that scale, or None if there is none."""
    name = f"{hr.name}LR"
    bicubic = f"{name}_bicubic"
    for x in (f"x{scale}", f"X{scale}"):
        for place in (
            *(f"{name}{x}", f"{name}_{x}", f"{name}/{x}", f"{bicubic}/{x}"),
            *(f"{bicubic}_{x}/{bicubic}/{x}", f"{bicubic}_{x}/{x}", f"{bicubic}_{x}"),
        ):
            if (hr.root / place).is_dir():
                return _innermost(hr.root / place)
    plain = hr.root / name
    return plain if plain.is_dir() and not any(plain.glob("[Xx][0-9]*")) else None


def _photographs(folder: Path) -> Path:
    """Return the folder that holds the photographs: ``folder``, or the one that unpacking made."""
    inner = _innermost(folder)
    if not _holds_images(inner):
        found = [path for path in _subfolders(inner) if _holds_images(path) or _inside(path)]
        if found and "LR" not in inner.absolute().name:
            names = ", ".join(path.name for path in found[:_SHOWN])
            more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
            raise ImageError(
                f"{folder}: no images in this folder, but in folders inside it ({names}{more}); "
                "give one of these."
            )
    return inner


def _inside(folder: Path) -> list[_HrFolder]:
    """List the HR folders that a folder contains, by name; none if it is one itself."""
    folder = _innermost(folder)
    found = [_named_hr(path) for path in _subfolders(folder)]
    return [hr for hr in found if hr is not None]


def _qualified(found: list[_HrFolder], split: Split | None) -> list[_HrFolder]:
    """Return those that may be meant by a split."""
    if split is None:
        return found
    named = [hr for hr in found if hr.split == split]
    unnamed = [hr for hr in found if hr.split is None]
    if split == "train":
        return named + unnamed
    return named or (unnamed if unnamed == found else [])


def _named_hr(folder: Path) -> _HrFolder | None:
    """Read a folder's own name, and find its images, if it is that of an HR folder."""
    outer = folder.absolute()  # "." has no name
    if outer.name != "HR" and not outer.name.endswith("_HR"):
        return None
    while outer.parent.name == outer.name:
        outer = outer.parent
    return _HrFolder(_innermost(folder), outer.parent, outer.name.removesuffix("HR"))


def _innermost(folder: Path) -> Path:
    """Go into folders of the same name as long as there are no images, as archives unpack."""
    name = folder.absolute().name
    while (folder / name).is_dir() and not _holds_images(folder):
        folder /= name
    return folder


def _subfolders(folder: Path) -> list[Path]:
    """List the folders in a folder that are not hidden, by name."""
    try:
        return sorted(
            path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")
        )
    except OSError:
        return []  # told when its images are listed


def _holds_images(folder: Path) -> bool:
    """Whether image files lie directly in a folder."""
    try:
        return any(
            path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
            for path in folder.iterdir()
        )
    except OSError:
        return False
