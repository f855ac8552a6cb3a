"""Training batches: a pure function of the seed and the step, so that training can resume."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qsr.data.augment import ORIENTATIONS, QUARTER_TURNS, cut, flip_and_turn, keeps_rows
from qsr.data.decoded import DecodedPairs
from qsr.errors import UsageError

_NUMBERS_PER_PATCH = 5  # image, top, left, orientation, intensity
_CHANNELS = 3


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """What is done to each training patch (XCAT, section 3.2).

    Attributes:
        flips: left-right flips.
        rotations: quarter turns.
        intensities: factors of which one is drawn per patch and applied to LR and HR.
    """

    flips: bool = True
    rotations: bool = True
    intensities: tuple[float, ...] = (1.0, 0.7, 0.5)

    def __post_init__(self) -> None:
        """Reject factors that leave no picture in [0, 1]."""
        if not self.intensities or not all(0 < factor <= 1 for factor in self.intensities):
            raise UsageError(
                "augmentation.intensities must be one or more factors above 0 and at most 1, not "
                f"{list(self.intensities)}"
            )


@dataclass(frozen=True)
class Batches:
    """Consecutive batches of patches, stacked.

    Attributes:
        lr: ``(steps, batch, size, size, 3)`` ``uint8``.
        hr: ``(steps, batch, scale*size, scale*size, 3)`` ``uint8``.
        intensity: ``(steps, batch)`` ``float32``, still to be multiplied into both.
    """

    lr: NDArray[np.uint8]
    hr: NDArray[np.uint8]
    intensity: NDArray[np.float32]


@dataclass(frozen=True)
class _Drawn:
    """What was drawn for consecutive patches.

    Attributes:
        patches: ``(count, 4)``: number of the image, top, left, orientation.
        intensity: ``(count,)`` ``float32``.
    """

    patches: NDArray[np.intp]
    intensity: NDArray[np.float32]


def batches_of_steps(
    images: DecodedPairs,
    steps: range,
    *,
    seed: int,
    batch_size: int,
    lr_size: int,
    augmentation: Augmentation,
) -> Batches:
    """Draw the batches of ``steps``; the same seed and step always give the same batch.

    All random numbers are one stream of numpy's PCG64, of which every patch of every step takes
    five; those of any steps are found by advancing the stream to them, and drawn at once.

    Args:
        images: where patches are cut from; every image is as likely as any other.
        steps: the training steps to make batches for, one after the other.
        seed: of the whole training.
        batch_size: patches per step.
        lr_size: side of a patch in LR pixels.
        augmentation: what is done to each patch.

    Returns:
        One batch per step, stacked.

    Raises:
        ValueError: an image that was drawn is smaller than a patch.
    """
    drawn = _draw(
        images,
        steps,
        seed=seed,
        batch_size=batch_size,
        lr_size=lr_size,
        augmentation=augmentation,
    )
    hr_size = lr_size * images.scale
    shape = (len(steps), batch_size)
    lr = np.empty((*shape, lr_size, lr_size, _CHANNELS), np.uint8)
    hr = np.empty((*shape, hr_size, hr_size, _CHANNELS), np.uint8)
    lr_rows, hr_rows = np.empty(lr.shape[2:], np.uint8), np.empty(hr.shape[2:], np.uint8)
    for place, (index, top, left, orientation) in zip(
        np.ndindex(shape), drawn.patches.tolist(), strict=True
    ):
        lr_patch, hr_patch = cut(
            *images[index], top=top, left=left, lr_size=lr_size, scale=images.scale
        )
        _write(lr[place], lr_patch, orientation, lr_rows)
        _write(hr[place], hr_patch, orientation, hr_rows)
    return Batches(lr, hr, drawn.intensity.reshape(shape))


def chunks(first: int, last: int, size: int) -> Iterator[range]:
    """Cut the steps from ``first`` up to ``last`` into ranges that end on multiples of ``size``."""
    while first < last:
        stop = min(last, (first // size + 1) * size)
        yield range(first, stop)
        first = stop


def _draw(
    images: DecodedPairs,
    steps: range,
    *,
    seed: int,
    batch_size: int,
    lr_size: int,
    augmentation: Augmentation,
) -> _Drawn:
    """Draw all patches of all steps; the arguments are those of :func:`batches_of_steps`."""
    stream = np.random.PCG64(seed).advance(steps.start * batch_size * _NUMBERS_PER_PATCH)
    numbers = np.random.Generator(stream).random((len(steps) * batch_size, _NUMBERS_PER_PATCH))
    image, top, left, orientation, intensity = numbers.T
    indices = _below(len(images), image)
    rooms = np.array([images.sizes[index] for index in indices]).reshape(-1, 2) - lr_size + 1
    if (rooms < 1).any():
        raise ValueError(f"an image is smaller than a patch of {lr_size} x {lr_size} LR pixels")
    flips, turns = np.divmod(_below(ORIENTATIONS, orientation), QUARTER_TURNS)
    patches = (
        indices,
        _below(rooms[:, 0], top),
        _below(rooms[:, 1], left),
        flips * augmentation.flips * QUARTER_TURNS + turns * augmentation.rotations,
    )
    factors = np.asarray(augmentation.intensities, np.float32)
    return _Drawn(np.stack(patches, axis=1), factors[_below(len(factors), intensity)])


def _below(counts: int | NDArray[np.intp], numbers: NDArray[np.float64]) -> NDArray[np.intp]:
    """Turn numbers in [0, 1) into whole numbers from 0 to below ``counts``, all as likely."""
    below: NDArray[np.intp] = (numbers * counts).astype(np.intp)
    return below


def _write(
    target: NDArray[np.uint8], patch: NDArray[np.uint8], orientation: int, rows: NDArray[np.uint8]
) -> None:
    """Copy a patch, flipped and turned, to where it belongs; ``rows`` is scratch of its shape.

    Whole rows are copied at once. Where pixels change places, the rows are gathered first, and each
    channel is copied for itself: numpy takes three times as long for pixels of three bytes.
    """
    if keeps_rows(orientation):
        target[...] = flip_and_turn(patch, orientation)
        return
    rows[...] = patch
    turned = flip_and_turn(rows, orientation)
    for channel in range(_CHANNELS):
        target[..., channel] = turned[..., channel]
