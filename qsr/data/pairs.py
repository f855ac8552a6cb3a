"""Folders of photographs, or of HR and LR files in the customary layouts, as LR/HR pairs.

A folder of photographs has its LR images made, by bicubic downscaling; the layouts of HR and LR
folders are those of :mod:`qsr.data.layouts`. An LR file is named as its HR file, or has ``x<s>``
added (``0001.png`` and ``0001x3.png``). Images that are already small cannot be told from
photographs: give a folder of LR files alone only where a photograph would do.
"""

import os
from collections import Counter
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import file_digest
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qsr.data.layouts import Split, image_folders
from qsr.errors import ImageError
from qsr.images import downscale_bicubic, image_size, list_images, read_rgb

_SHOWN = 3
_WORKERS = 4
_SCALES = range(1, 9)


@dataclass(frozen=True)
class Pair:
    """An HR image and its LR image, ``scale`` times smaller; read from disk on every load.

    Attributes:
        name: Unique among the pairs of a folder.
        hr_path: The HR file.
        lr_path: The LR file; None: LR is made from HR by bicubic downscaling.
        scale: HR pixels per LR pixel, along each side.
    """

    name: str
    hr_path: Path
    lr_path: Path | None
    scale: int

    def load(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Read both images.

        Rows at the bottom and columns at the right of HR that have no LR pixel are cut off.

        Returns:
            LR, uint8, shape (h, w, 3), and HR, uint8, shape (h * scale, w * scale, 3).

        Raises:
            ImageError: A file cannot be read, or the sizes do not fit together.
        """
        lr, hr = _read(self)
        return (downscale_bicubic(hr, self.scale) if lr is None else lr), hr

    def load_lr(self) -> NDArray[np.uint8]:
        """Read the LR image alone; an LR file's HR file is not opened.

        Returns:
            uint8, shape (h, w, 3).

        Raises:
            ImageError: As ``load``.
        """
        return self.load()[0] if self.lr_path is None else read_rgb(self.lr_path)


def find_pairs(folder: Path, scale: int, split: Split | None = None) -> tuple[Pair, ...]:
    """List the pairs of a folder in one of the layouts above, sorted by file name.

    Nothing is decoded (see ``check_pairs``). Pairs are named after their HR files, without the
    endings; with them, if two photographs differ in nothing else.

    Args:
        folder: The folder.
        scale: HR pixels per LR pixel, along each side.
        split: Which to take of a folder that contains both, as DIV2K does; None: such a folder is
            refused. A folder without splits is taken whole, for either.

    Returns:
        At least one pair.

    Raises:
        ImageError: The folder is missing or has no images, several sets that may be meant, sets of
            other splits alone, an HR folder without LR, or files without their counterpart.
    """
    hr_folder, lr_folder = image_folders(folder, scale, split)
    if lr_folder is not None:
        return _match(hr_folder, lr_folder, scale)
    photographs = list_images(hr_folder)
    stems = [path.stem for path in photographs]
    unique = len(set(stems)) == len(stems)
    return tuple(
        Pair(path.stem if unique else path.name, path, None, scale) for path in photographs
    )


def find_all_pairs(
    paths: Sequence[Path], scale: int, split: Split | None = None
) -> tuple[Pair, ...]:
    """List the pairs of several folders and single photographs, one path after the other.

    Args:
        paths: Folders in one of the layouts above, and photographs.
        scale: HR pixels per LR pixel, along each side.
        split: As for ``find_pairs``.

    Returns:
        At least one pair. Names that more than one path gives have their folder's name in front.

    Raises:
        ImageError: As ``find_pairs``, or an image is given twice.
    """
    pairs = [pair for path in paths for pair in _pairs_at(path, scale, split)]
    counts = Counter(pair.name for pair in pairs)
    pairs = [
        replace(pair, name=f"{pair.hr_path.parent.name}/{pair.name}")
        if counts[pair.name] > 1
        else pair
        for pair in pairs
    ]
    repeated = [name for name, count in Counter(pair.name for pair in pairs).items() if count > 1]
    if repeated:
        raise ImageError(f"{repeated[0]}: given more than once; name each image and folder once.")
    return tuple(pairs)


def lr_images(pairs: Iterable[Pair]) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Read the LR image of one pair after the other.

    Yields:
        The name of a pair and its LR image, uint8, shape (h, w, 3).

    Raises:
        ImageError: As ``Pair.load_lr``.
    """
    for pair in pairs:
        yield pair.name, pair.load_lr()


def check_pairs(
    pairs: Sequence[Pair],
    *,
    min_lr: int,
    skip_bad: bool,
    decoded: bool = True,
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[tuple[Pair, ...], tuple[str, ...]]:
    """Look at every image of the pairs, so that a bad one is found before hours of work.

    Args:
        pairs: The pairs.
        min_lr: The shortest side an LR image may have, in pixels.
        skip_bad: Whether to leave bad pairs out, rather than to stop.
        decoded: Whether to decode every image; else headers alone are read, which is a hundred
            times faster, and finds neither torn files nor other damage further in.
        on_progress: Called with (done, total) after each pair.

    Returns:
        The good pairs, in order, and one line on each bad one.

    Raises:
        ImageError: An image is bad and ``skip_bad`` is false, or every pair is bad.
    """
    kept: list[Pair] = []
    problems: list[str] = []
    pool = ThreadPoolExecutor(min(_WORKERS, os.cpu_count() or 1))  # Pillow releases the GIL
    try:
        checks = [pool.submit(_problem, pair, min_lr, decoded=decoded) for pair in pairs]
        for done, (pair, check) in enumerate(zip(pairs, checks, strict=True), start=1):
            problem = check.result()
            if problem is None:
                kept.append(pair)
            else:
                problems.append(problem)
            if on_progress is not None:
                on_progress(done, len(pairs))
    finally:
        pool.shutdown(cancel_futures=True)
    if problems and not kept:
        raise ImageError(f"none of the {len(pairs)} images can be used; the first: {problems[0]}")
    if problems and not skip_bad:
        more = f" And {len(problems) - 1} more." if len(problems) > 1 else ""
        raise ImageError(f"{problems[0]}{more} (--skip-bad-images goes on without such images)")
    return tuple(kept), tuple(problems)


def content_hash(path: Path) -> str:
    """Identify a file by its bytes.

    Args:
        path: The file.

    Returns:
        SHA-256, 64 hexadecimal digits.

    Raises:
        ImageError: The file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror}).") from error


def _pairs_at(path: Path, scale: int, split: Split | None) -> tuple[Pair, ...]:
    """List the pairs of a folder, or make one of a single photograph."""
    if path.is_file():
        return (Pair(path.stem, path, None, scale),)
    return find_pairs(path, scale, split)


def _read(pair: Pair) -> tuple[NDArray[np.uint8] | None, NDArray[np.uint8]]:
    """Read the LR file, if there is one, and HR cut to ``scale`` times the size of LR."""
    hr = read_rgb(pair.hr_path)
    lr = None if pair.lr_path is None else read_rgb(pair.lr_path)
    height, width = _lr_size(pair, hr.shape[:2], None if lr is None else lr.shape[:2])
    return lr, hr[: height * pair.scale, : width * pair.scale]


def _lr_size(pair: Pair, hr: tuple[int, ...], lr: tuple[int, ...] | None) -> tuple[int, ...]:
    """Return height and width of LR for the height and width of HR, and of an LR file."""
    if lr is None:
        if min(hr) < pair.scale:
            raise ImageError(f"{pair.hr_path}: {_size(hr)} pixels are too few for x{pair.scale}.")
        return hr[0] // pair.scale, hr[1] // pair.scale
    surplus = (hr[0] - lr[0] * pair.scale, hr[1] - lr[1] * pair.scale)
    if not all(0 <= pixels < pair.scale for pixels in surplus):
        raise ImageError(
            f"{pair.lr_path}: {_size(lr)} pixels are not 1/{pair.scale} of the {_size(hr)} of "
            f"{pair.hr_path}; {_remedy(pair.scale, hr, lr)}."
        )
    return lr


def _remedy(scale: int, hr: tuple[int, ...], lr: tuple[int, ...]) -> str:
    """Say what to do about an LR image of another size than its HR image asks for."""
    if all(large < small for large, small in zip(hr, lr, strict=True)):
        return "LR is the larger: the folders of HR and LR seem to be swapped"
    for other in _SCALES:
        if all(0 <= large - small * other < other for large, small in zip(hr, lr, strict=True)):
            return f"it fits x{other}: give the LR images of x{scale}"
    return "make the LR image again, or remove both"


def _problem(pair: Pair, min_lr: int, *, decoded: bool) -> str | None:
    """Say in one line what is wrong with a pair, if anything."""
    try:
        if decoded:
            _, hr = _read(pair)
            size: tuple[int, ...] = (hr.shape[0] // pair.scale, hr.shape[1] // pair.scale)
        else:
            size = _size_by_headers(pair)
    except ImageError as error:
        return str(error)
    if min(size) < min_lr:
        path = pair.lr_path or pair.hr_path
        return f"{path}: LR is {_size(size)} pixels; each side needs at least {min_lr}."
    return None


def _size_by_headers(pair: Pair) -> tuple[int, ...]:
    """Return height and width of LR; a file whose EXIF data turns it may be either way round."""
    hr = _height_width(pair.hr_path)
    if pair.lr_path is None:
        return _lr_size(pair, hr, None)
    lr = _height_width(pair.lr_path)
    with suppress(ImageError):
        return _lr_size(pair, hr[::-1], lr)
    return _lr_size(pair, hr, lr)


def _height_width(path: Path) -> tuple[int, int]:
    width, height = image_size(path)
    return height, width


def _match(hr_folder: Path, lr_folder: Path, scale: int) -> tuple[Pair, ...]:
    """Pair the files of two folders by name."""
    hr_paths = _by_stem(hr_folder)
    lr_paths = _by_stem(lr_folder)
    ending = "" if hr_paths.keys() & lr_paths.keys() else f"x{scale}"
    if ending:
        _check_names(hr_paths, lr_paths, lr_folder, scale)
    without_lr = [path for stem, path in hr_paths.items() if stem + ending not in lr_paths]
    wanted = {stem + ending for stem in hr_paths}
    without_hr = [path for stem, path in lr_paths.items() if stem not in wanted]
    for unmatched, other in ((without_lr, lr_folder), (without_hr, hr_folder)):
        if unmatched:
            names = _first_few([path.name for path in unmatched])
            raise ImageError(
                f"{unmatched[0].parent}: {len(unmatched)} without counterpart in {other}: {names}."
            )
    return tuple(
        Pair(stem, path, lr_paths[stem + ending], scale) for stem, path in hr_paths.items()
    )


def _check_names(
    hr_stems: Collection[str], lr_stems: Container[str], lr_folder: Path, scale: int
) -> None:
    """Refuse LR files whose names are of another scale alone."""
    found = [other for other in _SCALES if any(f"{stem}x{other}" in lr_stems for stem in hr_stems)]
    if found and scale not in found:
        raise ImageError(
            f"{lr_folder}: its files are for x{found[0]} by their names; give those for x{scale}."
        )


def _by_stem(folder: Path) -> dict[str, Path]:
    """List the images of a folder by name without ending, which must be unique."""
    paths: dict[str, Path] = {}
    for path in list_images(folder):
        if path.stem in paths:
            raise ImageError(
                f"{folder}: both {paths[path.stem].name} and {path.name}; rename or remove one."
            )
        paths[path.stem] = path
    return paths


def _first_few(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _size(size: Sequence[int]) -> str:
    """Return (height, width) as people write it."""
    return f"{size[1]} x {size[0]}"
