"""Image files to and from uint8 RGB arrays, and the bicubic resampling of super-resolution data.

An image is always a uint8 array of shape (H, W, 3), red first, values 0 to 255 as displayed
(gamma-encoded; embedded colour profiles are not applied).

Resampling reproduces MATLAB's ``imresize(image, ..., "bicubic")``, with which the LR images of
DIV2K and of the usual benchmark sets were made: Keys' cubic convolution with a = -1/2 (Keys,
"Cubic Convolution Interpolation for Digital Image Processing", IEEE Trans. ASSP 29(6), 1981),
widened by the factor when an image shrinks, rows first, then columns, each pass rounded to uint8
(half away from zero), symmetric padding. For an integer factor all weights are fractions with one
small denominator, so the sums are done in integers and are exact. MATLAB versions that replicated
the edge pixel instead of mirroring the image differ from this in the outermost pixels only.
"""

import math
import threading
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from qsr.atomic import replacing
from qsr.errors import ImageError

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
"""The file name endings, in lower case, that mark an image."""

MAX_FACTOR = 16
"""The largest resampling factor: up to here the sums of weighted pixels fit in 32 bits."""

_warnings_lock = threading.Lock()


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """Read an image file as RGB.

    Greyscale is replicated to the three channels; a palette is looked up; transparency of any kind
    is dropped, not composited, because the pixels beneath are what the file stores; CMYK and YCbCr
    are converted by Pillow. 16-bit greyscale v becomes v / 257, rounded; 16-bit colour is decoded
    by Pillow itself, which keeps the upper 8 bits. The EXIF orientation is applied, so a phone's
    photograph stands upright. Of several frames or pages the first is read.

    Args:
        path: The file.

    Returns:
        uint8, shape (H, W, 3).

    Raises:
        ImageError: The file is missing, damaged, truncated, not an image, of more than 178
            megapixels, or holds values that have no defined 8-bit equivalent.
    """
    try:
        return _decode(path)
    except FileNotFoundError as error:
        raise ImageError(f"{path}: no such file.") from error
    except UnidentifiedImageError as error:
        raise ImageError(f"{path}: not an image; replace or remove the file.") from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"{path}: over 178 megapixels; shrink or remove the image.") from error
    except Exception as error:  # Pillow's decoders raise nearly every built-in exception
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ImageError(
            f"{path}: cannot be read ({' '.join(reason.split())}); replace or remove the file."
        ) from error


def image_size(path: Path) -> tuple[int, int]:
    """Read the size of an image from its header, without decoding it.

    Args:
        path: The file.

    Returns:
        Width and height in pixels, before the EXIF orientation is applied.

    Raises:
        ImageError: The file is missing or no image.
    """
    try:
        with _open(path) as picture:
            return picture.size
    except Exception as error:  # Pillow's readers raise nearly every built-in exception
        raise ImageError(f"{path}: not an image; replace or remove the file.") from error


def write_rgb(path: Path, image: NDArray[np.uint8]) -> None:
    """Write an image as PNG, completely or not at all.

    Args:
        path: The file, ending in ``.png``; an existing one is replaced.
        image: uint8, shape (H, W, 3).

    Raises:
        ImageError: The name does not end in ``.png``, or the file cannot be written.
        ValueError: ``image`` is not uint8 of shape (H, W, 3).
    """
    _require_rgb(image)
    if path.suffix.lower() != ".png":
        raise ImageError(f"{path}: images are written as PNG; choose a name that ends in .png.")
    try:
        with replacing(path) as unfinished:
            Image.fromarray(image).save(unfinished, format="PNG")
    except OSError as error:
        raise ImageError(
            f"{path}: cannot be written ({error.strerror or error}); check the folder, "
            "its permissions and the free disk space."
        ) from error


def list_images(folder: Path) -> tuple[Path, ...]:
    """List the image files directly in a folder, sorted by name; hidden files are passed over.

    Args:
        folder: The folder.

    Returns:
        The paths of all files that end in one of ``SUFFIXES``, in any case.

    Raises:
        ImageError: The folder is missing, is a file, cannot be listed, or holds no image.
    """
    try:
        found = [
            path
            for path in folder.iterdir()
            if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
            if not path.is_dir()  # a link to nothing is an unreadable image, and is to be named
        ]
    except FileNotFoundError as error:
        raise ImageError(f"{folder}: no such folder.") from error
    except NotADirectoryError as error:
        raise ImageError(f"{folder}: a file; give the folder that holds the images.") from error
    except OSError as error:
        raise ImageError(f"{folder}: cannot be listed ({error.strerror}).") from error
    if not found:
        endings = ", ".join(suffix[1:] for suffix in SUFFIXES)
        raise ImageError(f"{folder}: no images in this folder (looked for {endings}).")
    return tuple(sorted(found, key=lambda path: path.name))


def crop_to_multiple(image: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """Cut rows from the bottom and columns from the right until both are multiples of ``factor``.

    Args:
        image: uint8, shape (H, W, 3).
        factor: Pixels, at least 1.

    Returns:
        A view, shape (H - H % factor, W - W % factor, 3).

    Raises:
        ValueError: A side is shorter than ``factor``, or an argument is out of range.
    """
    _require_rgb(image)
    _require_factor(factor)
    height, width = image.shape[:2]
    if min(height, width) < factor:
        raise ValueError(f"an image of {width} x {height} has no multiple of {factor} pixels in it")
    return image[: height - height % factor, : width - width % factor]


def downscale_bicubic(image: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """Shrink an image by an integer factor, antialiased, as MATLAB's ``imresize`` does.

    Args:
        image: uint8, shape (H, W, 3); both sides multiples of ``factor``.
        factor: 1 to ``MAX_FACTOR``.

    Returns:
        uint8, shape (H / factor, W / factor, 3), contiguous.

    Raises:
        ValueError: A side is not a multiple of ``factor`` (see ``crop_to_multiple``), or an
            argument is out of range.
    """
    _require_rgb(image)
    _require_factor(factor)
    height, width = image.shape[:2]
    if height % factor or width % factor or not image.size:
        raise ValueError(f"{width} x {height} pixels do not divide by {factor}")
    return _transpose(_shrink_rows(_transpose(_shrink_rows(image, factor)), factor))


def upscale_bicubic(image: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """Enlarge an image by an integer factor, as MATLAB's ``imresize`` does.

    Args:
        image: uint8, shape (H, W, 3).
        factor: 1 to ``MAX_FACTOR``.

    Returns:
        uint8, shape (H * factor, W * factor, 3), contiguous.

    Raises:
        ValueError: An argument is out of range.
    """
    _require_rgb(image)
    _require_factor(factor)
    return _transpose(_enlarge_rows(_transpose(_enlarge_rows(image, factor)), factor))


def _decode(path: Path) -> NDArray[np.uint8]:
    """Do the work of ``read_rgb``, with whatever Pillow raises."""
    with _open(path) as picture:
        ImageOps.exif_transpose(picture, in_place=True)
        if picture.mode == "I" or picture.mode.startswith("I;16"):
            return _rgb_from_16_bit(np.asarray(picture))
        if picture.mode == "F":
            raise ValueError("floating-point pixels have no defined range")
        picture.info.pop("transparency", None)
        return np.array(picture.convert("RGB"))


def _open(path: Path) -> Image.Image:
    """Read the header of a file, without Pillow's warning about images over 89 megapixels.

    The lock is there because ``catch_warnings`` changes the state of the whole process.
    """
    with _warnings_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return Image.open(path)


def _rgb_from_16_bit(grey: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Scale greyscale 0 to 65535, shape (H, W), to uint8 RGB, shape (H, W, 3)."""
    if grey.min() < 0 or grey.max() > np.iinfo(np.uint16).max:
        raise ValueError("integer pixels outside 0..65535")
    rounded = (grey.astype(np.int32) + 128) // 257
    return np.repeat(rounded.astype(np.uint8)[:, :, np.newaxis], 3, axis=2)


def _require_rgb(image: NDArray[np.uint8]) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:  # noqa: PLR2004
        raise ValueError(f"not a uint8 (H, W, 3) image: {image.dtype} {image.shape}")


def _require_factor(factor: int) -> None:
    if not 1 <= factor <= MAX_FACTOR:
        raise ValueError(f"factor {factor} is not within 1..{MAX_FACTOR}")


def _transpose(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Swap rows and columns into contiguous memory, so that either pass runs along rows."""
    return np.ascontiguousarray(image.swapaxes(0, 1))


def _shrink_rows(image: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """Apply the widened kernel to columns of pixels: (H, W, 3) to (H / factor, W, 3).

    Output row i is centred at input row factor * i + (factor - 1) / 2.
    """
    reach = 2 * factor
    padded = np.pad(image, ((reach, reach), (0, 0), (0, 0)), mode="symmetric")
    weights = _weights(centre=factor - 1, step=2, unit=2 * factor)
    rows = image.shape[0] // factor
    return _weighted_sum(
        [padded[reach + tap :][: rows * factor : factor] for tap in weights], [*weights.values()]
    )


def _enlarge_rows(image: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """Apply the kernel to columns of pixels: (H, W, 3) to (H * factor, W, 3).

    Output row factor * i + phase is centred at input row i + (phase + 1/2) / factor - 1/2.
    """
    reach = 2
    padded = np.pad(image, ((reach, reach), (0, 0), (0, 0)), mode="symmetric")
    rows = image.shape[0]
    enlarged = np.empty((rows * factor, *image.shape[1:]), np.uint8)
    for phase in range(factor):
        weights = _weights(centre=2 * phase + 1 - factor, step=2 * factor, unit=2 * factor)
        enlarged[phase::factor] = _weighted_sum(
            [padded[reach + tap :][:rows] for tap in weights], [*weights.values()]
        )
    return enlarged


def _weights(*, centre: int, step: int, unit: int) -> dict[int, int]:
    """Evaluate the kernel at (step * tap - centre) / unit for every tap where it is not zero.

    Returns:
        Integer weight by tap, with no common divisor; their sum is the common denominator.
    """
    taps = range((centre - 2 * unit) // step, (centre + 2 * unit) // step + 1)
    exact = {tap: _cubic(step * tap - centre, unit) for tap in taps}
    divisor = math.gcd(*exact.values())
    return {tap: weight // divisor for tap, weight in exact.items() if weight}


def _cubic(numerator: int, unit: int) -> int:
    """Keys' cubic at x = numerator / unit, times 2 * unit**3, which makes it an integer.

    1.5 |x|^3 - 2.5 |x|^2 + 1 up to |x| = 1, -0.5 |x|^3 + 2.5 |x|^2 - 4 |x| + 2 up to |x| = 2.
    """
    n = abs(numerator)
    if n <= unit:
        return 3 * n**3 - 5 * n**2 * unit + 2 * unit**3
    if n < 2 * unit:
        return -(n**3) + 5 * n**2 * unit - 8 * n * unit**2 + 4 * unit**3
    return 0


def _weighted_sum(parts: list[NDArray[np.uint8]], weights: list[int]) -> NDArray[np.uint8]:
    """Average equally shaped arrays with integer weights: rounded half up, clipped to uint8."""
    total = sum(weights)
    accumulated = np.full(parts[0].shape, total // 2, np.int32)
    for part, weight in zip(parts, weights, strict=True):
        accumulated += part * np.int32(weight)
    accumulated //= total
    return np.clip(accumulated, 0, 255).astype(np.uint8)
