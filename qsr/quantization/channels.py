"""What each channel of a model's tensors holds, measured on images."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qsr.errors import UsageError
from qsr.tflite.runtime import Image, Runner

Channels = NDArray[np.float64]


@dataclass(frozen=True)
class ChannelValues:
    """What the channels of one tensor hold over all pixels of all images.

    Attributes:
        minimum: ``(channels,)`` ``float64``, as the tensor holds them: integers of an integer one.
        maximum: the same.
        mean: the same, over pixels.
    """

    minimum: Channels
    maximum: Channels
    mean: Channels


def measure_channels(
    runner: Runner,
    tensors: Collection[int],
    images: Iterable[Image],
    *,
    cut: tuple[float, float] = (-np.inf, np.inf),
) -> dict[int, ChannelValues]:
    """Measure the channels of some tensors.

    Args:
        runner: a model whose tensors can be read.
        tensors: their numbers; channels come last in each.
        images: LR pictures ``(h, w, 3)`` ``uint8``.
        cut: smallest and largest value; what lies beyond is taken as if it were they.

    Returns:
        Tensor number to what its channels hold.

    Raises:
        ModelError: the model cannot be run.
        UsageError: no image.
    """
    lows: dict[int, list[Channels]] = {index: [] for index in tensors}
    highs: dict[int, list[Channels]] = {index: [] for index in tensors}
    sums: dict[int, list[Channels]] = {index: [] for index in tensors}
    pixels = dict.fromkeys(tensors, 0)
    for image in images:
        for window in runner.windows(image):
            for index in tensors:
                # A copy: a view into the interpreter would keep it from taking the next picture.
                values = np.array(runner.kept(index, window), np.float64).clip(*cut)
                values = values.reshape(-1, values.shape[-1])
                lows[index].append(values.min(axis=0))
                highs[index].append(values.max(axis=0))
                sums[index].append(values.sum(axis=0))
                pixels[index] += len(values)
    if not all(pixels.values()):
        raise UsageError("no images to measure channels on")
    return {
        index: ChannelValues(
            np.min(lows[index], axis=0),
            np.max(highs[index], axis=0),
            np.sum(sums[index], axis=0) / pixels[index],
        )
        for index in tensors
    }
