"""scikit-image's colour photographs, cut into small candidate and validation images.

They come with every scikit-image installation, so the built-in example needs no download.
"""

from importlib.resources import files
from pathlib import Path

from qsr.errors import ImageError
from qsr.images import read_rgb, write_rgb

PHOTOGRAPHS = (
    "astronaut.png",
    "chelsea.png",
    "coffee.png",
    "hubble_deep_field.jpg",
    "motorcycle_left.png",
    "rocket.jpg",
)
"""All colour photographs but the retina: flat as it is, it has some 47 dB where the others have 30,
so that its last bit would decide the mean."""

CROP_SIZE = 192
"""Side of a crop in pixels: a multiple of 2, 3 and 4."""

_MOST_PER_SIDE = 3


def write_bundled(folder: Path) -> tuple[Path, Path]:
    """Cut the photographs into crops of 192 x 192 pixels that share no pixel.

    Each photograph gives at most nine crops, evenly spread; like the squares of a chessboard, they
    go by turns into ``candidates`` and ``validation``. Crops that are already there are kept.

    Args:
        folder: created if missing.

    Returns:
        The folder of candidates and the folder of validation images, with PNG files named after
        photograph, row and column.

    Raises:
        ImageError: scikit-image lacks a photograph, or a crop cannot be written.
    """
    sides = folder / "candidates", folder / "validation"
    try:
        for side in sides:
            side.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ImageError(f"{folder}: cannot be made: {error.strerror}") from error
    for photograph in PHOTOGRAPHS:
        image = read_rgb(Path(str(files("skimage.data") / photograph)))
        for row, top in enumerate(_starts(image.shape[0])):
            for column, left in enumerate(_starts(image.shape[1])):
                name = f"{Path(photograph).stem}_{row}{column}.png"
                path = sides[(row + column) % 2] / name
                if not path.exists():
                    write_rgb(path, image[top : top + CROP_SIZE, left : left + CROP_SIZE])
    return sides


def _starts(length: int) -> list[int]:
    """Spread as many crops as fit, at most three, evenly over ``length`` pixels."""
    count = min(length // CROP_SIZE, _MOST_PER_SIDE)
    gap = (length - count * CROP_SIZE) // (count + 1)
    return [gap + index * (CROP_SIZE + gap) for index in range(count)]
