"""Learning rates."""

import numpy as np
from numpy.typing import NDArray


def warmup_then_linear(
    *, epochs: int, warmup_epochs: int, initial: float, peak: float, final: float
) -> NDArray[np.float32]:
    """Return the learning rate of each epoch (XCAT, section 3.2).

    It rises linearly from ``initial`` in the first epoch to ``peak`` in epoch number
    ``warmup_epochs`` (counted from 0), then falls linearly to ``final`` in the last one.

    Args:
        epochs: number of epochs, more than ``warmup_epochs``.
        warmup_epochs: epochs of rising rate; 0 starts at the peak.
        initial: rate of the first epoch.
        peak: highest rate.
        final: rate of the last epoch.

    Returns:
        ``(epochs,)`` ``float32``.
    """
    corners = [0, warmup_epochs, max(epochs - 1, warmup_epochs + 1)]
    rates = [initial, peak, final]
    if warmup_epochs == 0:
        corners, rates = corners[1:], rates[1:]
    return np.interp(np.arange(epochs), corners, rates).astype(np.float32)


def halving(*, epochs: int, initial: float, halving_epochs: int) -> NDArray[np.float32]:
    """Return the learning rate of each epoch: halved after every so many (ABPN, section 4.1).

    Args:
        epochs: number of epochs.
        initial: rate of the first ``halving_epochs`` epochs.
        halving_epochs: epochs between halvings.

    Returns:
        ``(epochs,)`` ``float32``.
    """
    return (initial * 0.5 ** (np.arange(epochs) // halving_epochs)).astype(np.float32)
