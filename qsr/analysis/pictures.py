"""How far apart two models' pictures of one image are, and where."""

import numpy as np
from numpy.typing import NDArray

from qsr.analysis.banding import banding
from qsr.analysis.records import PictureError
from qsr.analysis.regions import areas_of, region_errors
from qsr.analysis.worst_crop import worst_crop
from qsr.errors import ImageError
from qsr.metrics import RGB_SHAVE, counted_db, psnr_db

Image = NDArray[np.uint8]


def picture_error(
    name: str, of_reference: Image, of_tested: Image, hr: Image | None
) -> PictureError:
    """Compare what two models make of one image.

    Args:
        name: of the image.
        of_reference: ``(scale*h, scale*w, 3)`` ``uint8`` RGB.
        of_tested: the same.
        hr: the original, or None.

    Raises:
        ImageError: the picture is too small to be scored.
        ValueError: the pictures differ in shape, or are not ``(H, W, 3)``.
    """
    height, width = of_reference.shape[:2]
    if min(height, width) <= 2 * RGB_SHAVE:
        raise ImageError(f"{name}: {width}x{height} pixels when enlarged, too small to be scored")
    between = psnr_db(of_reference, of_tested)
    reference_psnr = tested_psnr = drop = None
    if hr is not None:
        reference_psnr = psnr_db(of_reference, hr, shave=RGB_SHAVE)
        tested_psnr = psnr_db(of_tested, hr, shave=RGB_SHAVE)
        drop = counted_db(reference_psnr) - counted_db(tested_psnr)
    distance = np.maximum(of_reference, of_tested) - np.minimum(of_reference, of_tested)
    squares = np.square(distance, dtype=np.uint16).sum(axis=2, dtype=np.uint32)
    areas = areas_of(of_reference)
    return PictureError(
        name=name,
        between_db=between,
        reference_psnr_db=reference_psnr,
        tested_psnr_db=tested_psnr,
        drop_db=drop,
        colour_shift=_colour_shift(of_reference, of_tested),
        largest_difference=int(distance.max()),
        regions=region_errors(areas, squares),
        banding=banding(of_reference, of_tested, areas.flat),
        worst_crop=worst_crop(squares),
    )


def _colour_shift(of_reference: Image, of_tested: Image) -> tuple[float, float, float]:
    """Return the mean of tested less reference for each channel."""
    sums = [image.sum(axis=(0, 1), dtype=np.int64) for image in (of_reference, of_tested)]
    height, width = of_reference.shape[:2]
    red, green, blue = ((sums[1] - sums[0]) / (height * width)).tolist()
    return red, green, blue
