"""How close a super-resolved image is to the original: PSNR, SSIM and the challenge score.

Images are arrays of shape (H, W, 3), red first, in units of 0 to 255: uint8, or floats, which are
taken as they are, neither rounded nor clipped. "y" compares the luminance alone.
"""

import math
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

Channels = Literal["rgb", "y"]
"""What is compared: the three channels together, or the luminance."""

PEAK = 255.0
"""The largest value of an image, and the peak of the PSNR, also in luminance."""

RGB_SHAVE = 1
"""Pixels left out along every border for PSNR in RGB, as in the Mobile AI challenges."""

MOST_DB = 100.0
"""What a picture that equals its original counts as: infinity would drown all others in a mean."""

LUMA = np.array([65.481, 128.553, 24.966]) / 255
"""What red, green and blue weigh in luminance (ITU-R BT.601, studio range)."""

_SSIM_WINDOW = 11


def rgb_to_y(image: NDArray[Any]) -> NDArray[np.float64]:
    """Luminance as MATLAB's ``rgb2ycbcr`` defines it (ITU-R BT.601, studio range), not rounded.

    Y = 16 + (65.481 R + 128.553 G + 24.966 B) / 255. MATLAB itself rounds Y of a uint8 image; as
    in most published super-resolution scores, that rounding is left out (it costs up to 0.02 dB).

    Args:
        image: Shape (..., 3), 0 to 255.

    Returns:
        Shape (...), 16 to 235.
    """
    return 16 + _weighted(image)


def mse(a: NDArray[Any], b: NDArray[Any], *, shave: int = 0, channels: Channels = "rgb") -> float:
    """Mean squared difference of two images, exact for uint8 in RGB.

    Args:
        a: Shape (H, W, 3), 0 to 255.
        b: The same shape.
        shave: Pixels left out along every border.
        channels: What is compared.

    Returns:
        In squared units of 0 to 255.

    Raises:
        ValueError: The shapes differ or are not (H, W, 3), ``shave`` leaves nothing, or
            ``channels`` is unknown.
    """
    a, b = _comparable(a, b, shave, channels)
    if channels == "rgb" and a.dtype == b.dtype == np.uint8:
        distance = np.maximum(a, b) - np.minimum(a, b)
        squares = np.multiply(distance, distance, dtype=np.uint16)
        return int(squares.sum(dtype=np.uint64)) / a.size
    difference: NDArray[np.float64] = np.subtract(a, b, dtype=np.float64)
    if channels == "y":
        difference = _weighted(difference)
    return float(np.square(difference).sum()) / difference.size


def psnr_db(
    a: NDArray[Any], b: NDArray[Any], *, shave: int = 0, channels: Channels = "rgb"
) -> float:
    """Peak signal-to-noise ratio, 10 log10(255^2 / mse), in dB.

    Args:
        a: Shape (H, W, 3), 0 to 255.
        b: The same shape.
        shave: Pixels left out along every border.
        channels: What is compared. Over the three channels, the squared differences are averaged
            before the logarithm.

    Returns:
        dB; infinity for identical images.

    Raises:
        ValueError: As ``mse``.
    """
    error = mse(a, b, shave=shave, channels=channels)
    return math.inf if error == 0 else 10 * math.log10(PEAK**2 / error)


def counted_db(psnr_db: float) -> float:
    """Return a PSNR as it enters a mean: at most :data:`MOST_DB`.

    Args:
        psnr_db: dB; infinity for a picture that equals its original.

    Returns:
        dB, finite.
    """
    return min(psnr_db, MOST_DB)


def ssim(a: NDArray[Any], b: NDArray[Any], *, shave: int = 0, channels: Channels = "y") -> float:
    """Mean structural similarity with the settings of its authors.

    Wang, Bovik, Sheikh, Simoncelli, "Image Quality Assessment: From Error Visibility to Structural
    Similarity", IEEE Trans. Image Processing 13(4), 2004: Gaussian window of 11 x 11 pixels and
    sigma 1.5, K1 = 0.01, K2 = 0.03, range 255, averaged where the window fits into the image.

    Args:
        a: Shape (H, W, 3), 0 to 255.
        b: The same shape.
        shave: Pixels left out along every border.
        channels: What is compared; "rgb" is the mean over the three channels.

    Returns:
        -1 to 1; 1 for identical images.

    Raises:
        ValueError: As ``mse``, or fewer than 11 pixels are left along a side.
    """
    from skimage.metrics import structural_similarity

    a, b = _comparable(a, b, shave, channels)
    if min(a.shape[:2]) < _SSIM_WINDOW:
        raise ValueError(f"SSIM needs {_SSIM_WINDOW} pixels along each side, not {a.shape[:2]}")
    if channels == "y":
        a, b = rgb_to_y(a), rgb_to_y(b)
    return float(
        structural_similarity(
            a.astype(np.float64, copy=False),
            b.astype(np.float64, copy=False),
            data_range=PEAK,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            channel_axis=2 if channels == "rgb" else None,
        )
    )


def challenge_score(psnr_db: float, latency_ms: float) -> float:
    """Score of the Mobile AI & AIM 2022 super-resolution challenge: fidelity against speed.

    2^(2 (PSNR - 30)) / (1e-5 t), with PSNR in dB over RGB and t in ms (XCAT, arXiv:2208.14655,
    eq. 1): half a decibel counts as much as half the time.

    Args:
        psnr_db: dB.
        latency_ms: Time per image in ms, above 0.

    Returns:
        The score; higher is better.

    Raises:
        ValueError: ``latency_ms`` is not above 0.
    """
    if latency_ms <= 0:
        raise ValueError(f"a latency of {latency_ms} ms is not above 0")
    return math.exp2(2 * (psnr_db - 30)) / (latency_ms * 1e-5)


def _weighted(image: NDArray[Any]) -> NDArray[np.float64]:
    """Sum the channels by their share of Y, without BLAS: its threads stall a busy machine."""
    weighted: NDArray[np.float64] = np.einsum("...c,c->...", image, LUMA)
    return weighted


def _comparable(
    a: NDArray[Any], b: NDArray[Any], shave: int, channels: Channels
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Check two images and cut ``shave`` pixels off every border of both; views."""
    if a.shape != b.shape:
        raise ValueError(f"images of different shapes: {a.shape} and {b.shape}")
    if a.ndim != 3 or a.shape[2] != 3:  # noqa: PLR2004
        raise ValueError(f"not images of shape (H, W, 3): {a.shape}")
    if channels not in get_args(Channels):
        raise ValueError(f"channels {channels!r} is not one of {get_args(Channels)}")
    height, width = a.shape[:2]
    if not 0 <= 2 * shave < min(height, width):
        raise ValueError(f"shaving {shave} pixels off {width} x {height} leaves nothing")
    inner = (slice(shave, height - shave), slice(shave, width - shave))
    return a[inner], b[inner]
