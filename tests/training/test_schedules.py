"""Learning rates, by the paper's numbers and by hand."""

import numpy as np
import pytest

from qsr.training.schedules import halving, warmup_then_linear


def rates(epochs=50, warmup_epochs=5, initial=1e-3, peak=25e-4, final=1e-4):
    """Make the paper's first stage, or a change of it."""
    return warmup_then_linear(
        epochs=epochs, warmup_epochs=warmup_epochs, initial=initial, peak=peak, final=final
    )


def test_first_stage():
    """From 1e-3 the rate reaches 25e-4 at epoch 5, and from there 1e-4 at the last of 50."""
    schedule = rates()
    assert schedule.shape == (50,)
    assert schedule.dtype == np.float32
    # up by 15e-4 / 5 = 3e-4 an epoch
    assert schedule[:6] == pytest.approx([10e-4, 13e-4, 16e-4, 19e-4, 22e-4, 25e-4])
    # down by 24e-4 / 44 an epoch: half-way, 22 epochs later, 13e-4
    assert schedule[27] == pytest.approx(13e-4)
    assert schedule[6] == pytest.approx(25e-4 - 24e-4 / 44)
    assert schedule[49] == pytest.approx(1e-4)


def test_second_stage():
    """The second stage has the same shape between 1e-4 and 12.5e-4."""
    schedule = rates(initial=1e-4, peak=12.5e-4)
    assert schedule[[0, 5, 49]] == pytest.approx([1e-4, 12.5e-4, 1e-4])
    assert schedule[1] == pytest.approx(1e-4 + 11.5e-4 / 5)


def test_no_warmup():
    """Without warm-up the first epoch has the peak rate."""
    assert rates(epochs=3, warmup_epochs=0) == pytest.approx([25e-4, 13e-4, 1e-4])


def test_warmup_alone():
    """If the warm-up fills all epochs, the last has the peak rate."""
    assert rates(epochs=3, warmup_epochs=2) == pytest.approx([10e-4, 17.5e-4, 25e-4])


def test_one_epoch():
    """A single epoch has the peak rate."""
    assert rates(epochs=1, warmup_epochs=0) == pytest.approx([25e-4])


def test_halving():
    """ABPN's rate is 1e-3 for 120 epochs, and half as much after each further 120 of 600."""
    schedule = halving(epochs=600, initial=1e-3, halving_epochs=120)
    assert schedule.dtype == np.float32
    assert schedule[[0, 119, 120, 239, 240, 599]] == pytest.approx(
        [1e-3, 1e-3, 5e-4, 5e-4, 2.5e-4, 6.25e-5]
    )
