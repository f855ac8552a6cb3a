"""The images that have a part in the quantization of a table's rows, each looked at once."""

from dataclasses import dataclass
from pathlib import Path

from qsr.calibration.provenance import image_hash
from qsr.data.pairs import Pair, find_pairs
from qsr.errors import ImageError
from qsr.jobs.images import LEAST_LR_TO_SCORE, usable
from qsr.jobs.progress import Progress


@dataclass(frozen=True)
class QuantizationImages:
    """Usable images that quantization is made with.

    Attributes:
        candidates: those that may become representative.
        hashes: of the LR pixels of all of them, and of those that choose.
    """

    candidates: tuple[Pair, ...]
    hashes: frozenset[str]


def quantization_images(
    candidates: Path, choosing: Path, scale: int, *, skip_bad_images: bool, on_progress: Progress
) -> QuantizationImages:
    """Look at the candidates and at the images that choose.

    Headers are read of all; then each LR image is decoded, once, to tell whether it is scored on.

    Raises:
        ImageError: a folder or an image is unusable.
    """
    checked = [
        _hashed(folder, scale, stage=f"check {what}", skip_bad=skip_bad_images, tell=on_progress)
        for folder, what in ((candidates, "candidates"), (choosing, "images that choose"))
    ]
    return QuantizationImages(
        candidates=tuple(pair for pair, _ in checked[0]),
        hashes=frozenset(digest for images in checked for _, digest in images),
    )


def _hashed(
    folder: Path, scale: int, *, stage: str, skip_bad: bool, tell: Progress
) -> list[tuple[Pair, str]]:
    """Return the usable images of a folder, with the hashes of their LR pixels."""
    pairs, _ = usable(
        find_pairs(folder, scale),
        least_lr=LEAST_LR_TO_SCORE,
        skip_bad=skip_bad,
        stage=stage,
        decoded=False,
        on_progress=tell,
    )
    found = []
    for done, pair in enumerate(pairs, start=1):
        try:
            found.append((pair, image_hash(pair.load_lr())))
        except ImageError as error:
            if not skip_bad:
                raise ImageError(
                    f"{error} (--skip-bad-images goes on without such images)"
                ) from error
        tell(stage, done, len(pairs))
    return found
