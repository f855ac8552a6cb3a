"""Training batches: a pure function of the seed and the step, so that training can resume."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qsr.data.augment import flip_and_turn, random_intensity, random_patch
from qsr.data.decoded import DecodedPairs
from qsr.errors import UsageError

_ORIENTATIONS = 8


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

    Args:
        images: where patches are cut from; every image is as likely as any other.
        steps: the training steps to make batches for.
        seed: of the whole training.
        batch_size: patches per step.
        lr_size: side of a patch in LR pixels.
        augmentation: what is done to each patch.

    Returns:
        One batch per step, stacked.
    """
    hr_size = lr_size * images.scale
    lr = np.empty((len(steps), batch_size, lr_size, lr_size, 3), np.uint8)
    hr = np.empty((len(steps), batch_size, hr_size, hr_size, 3), np.uint8)
    intensity = np.empty((len(steps), batch_size), np.float32)
    for row, step in enumerate(steps):
        rng = np.random.default_rng((seed, step))
        for column, index in enumerate(rng.integers(len(images), size=batch_size)):
            lr_patch, hr_patch = random_patch(rng, *images[int(index)], lr_size=lr_size)
            orientation = _random_orientation(rng, augmentation)
            lr[row, column] = flip_and_turn(lr_patch, orientation)
            hr[row, column] = flip_and_turn(hr_patch, orientation)
        intensity[row] = random_intensity(rng, batch_size, augmentation.intensities)
    return Batches(lr, hr, intensity)


def chunks(first: int, last: int, size: int) -> Iterator[range]:
    """Cut the steps from ``first`` up to ``last`` into ranges that end on multiples of ``size``."""
    while first < last:
        stop = min(last, (first // size + 1) * size)
        yield range(first, stop)
        first = stop


def _random_orientation(rng: np.random.Generator, augmentation: Augmentation) -> int:
    """Draw one of the orientations that the augmentation allows."""
    drawn = int(rng.integers(_ORIENTATIONS))
    turn = drawn % 4 if augmentation.rotations else 0
    flip = drawn // 4 if augmentation.flips else 0
    return turn + 4 * flip
