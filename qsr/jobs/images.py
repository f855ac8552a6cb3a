"""Images that a user points at, checked before anything slow is done."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from qsr.data.layouts import Split, hr_folder
from qsr.data.pairs import Pair, check_pairs, find_all_pairs, find_pairs
from qsr.errors import ImageError
from qsr.images import list_images
from qsr.jobs.progress import Progress

LEAST_LR_TO_SCORE = 3
"""LR pixels along a side that PSNR needs: one pixel is shaved off each border of HR."""


def check_there(paths: Iterable[Path | None]) -> None:
    """Check that folders and images exist; a model takes seconds to load, this does not.

    Args:
        paths: what the user gave; None is passed over.

    Raises:
        ImageError: one is missing.
    """
    for path in paths:
        if path is not None and not path.exists():
            raise ImageError(f"{path}: no such file or folder; check the spelling")


def check_sets(
    folders: Iterable[Path], *, split: Split | None = None, scale: int | None = None
) -> None:
    """Check that there are images in folders, by their names alone.

    Args:
        folders: what the user gave.
        split: which to take of a folder that contains several, as :func:`find_pairs` does.
        scale: HR size over LR size; None while it is unknown, and LR images are not looked for.

    Raises:
        ImageError: a folder is missing, or is none that :func:`find_pairs` takes.
    """
    folders = tuple(folders)
    check_there(folders)
    for folder in folders:
        if scale is None:
            list_images(hr_folder(folder, split))
        else:
            find_pairs(folder, scale, split)


def usable(
    pairs: Sequence[Pair],
    *,
    least_lr: int,
    skip_bad: bool,
    stage: str,
    decoded: bool = True,
    on_progress: Progress,
) -> tuple[tuple[Pair, ...], tuple[str, ...]]:
    """Look at every image once, as :func:`qsr.data.pairs.check_pairs`, and tell how far it is.

    Args:
        pairs: what to look at.
        least_lr: the shortest side an LR image may have, in pixels.
        skip_bad: leave unusable images out instead of stopping.
        stage: what ``on_progress`` calls it.
        decoded: whether to decode them, or to read their headers alone.
        on_progress: called after each pair.

    Returns:
        The usable pairs, and one line on each of the others.

    Raises:
        ImageError: an image is unusable, or every one of them.
    """
    return check_pairs(
        pairs,
        min_lr=least_lr,
        skip_bad=skip_bad,
        decoded=decoded,
        on_progress=lambda done, total: on_progress(stage, done, total),
    )


def usable_for_training(
    folders: Sequence[Path],
    scale: int,
    least_lr: int,
    split: Split,
    *,
    skip_bad: bool,
    on_progress: Progress,
) -> tuple[Pair, ...]:
    """Find the images of folders by their headers alone, and tell how many are left out.

    Args:
        folders: of photographs or of LR/HR images.
        scale: HR size over LR size.
        least_lr: the shortest side an LR image may have, in pixels.
        split: which to take of a folder that contains several.
        skip_bad: leave unusable images out instead of stopping.
        on_progress: called after each pair, and at the end if any is left out.

    Returns:
        The usable pairs, not decoded yet.

    Raises:
        ImageError: an image is unusable, or every one of them.
    """
    stage = "check images"
    kept, skipped = usable(
        find_all_pairs(folders, scale, split),
        least_lr=least_lr,
        skip_bad=skip_bad,
        stage=stage,
        decoded=False,
        on_progress=on_progress,
    )
    if skipped:
        on_progress(stage, len(kept), len(kept), f"{len(skipped)} left out")
    return kept
