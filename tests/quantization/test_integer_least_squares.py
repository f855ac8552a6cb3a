"""Integers are chosen that fit correlated data, never worse than rounding each to the nearest."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qsr.quantization.integer_least_squares import closest_integers, squared_errors


def _problem(seed, unknowns, rows=1):
    """Correlated data's gram matrix, and what is wanted of each unknown."""
    random = np.random.default_rng(seed)
    data = random.normal(size=(40, unknowns)) @ random.normal(size=(unknowns, unknowns))
    data += random.normal(size=(40, 1))
    return data, data.T @ data, random.uniform(-5, 5, (rows, unknowns))


def _residual(data, found, wanted):
    return ((data @ (found - wanted).T) ** 2).sum(axis=0)


def _best_of_all(data, wanted):
    """The least squared error over every choice of integers around those wanted."""
    around = [np.floor(value) + np.arange(-1, 3) for value in wanted]
    choices = np.array(list(product(*around)))
    return _residual(data, choices, wanted).min()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(1, 6))
def test_never_worse_than_nearest(seed, unknowns, largest):
    """The squared error is never above nearest rounding's, and no integer is beyond the limit."""
    data, gram, wanted = _problem(seed, unknowns, rows=3)
    nearest = np.rint(wanted).clip(-largest, largest)
    found = closest_integers(gram, wanted, nearest, largest)
    np.testing.assert_array_equal(found, np.rint(found))
    assert np.abs(found).max() <= largest
    errors = _residual(data, found, wanted), _residual(data, nearest, wanted)
    assert (errors[0] <= errors[1] * (1 + 1e-9)).all()
    for place in range(unknowns):
        for step in (-1, 1):
            other = found.copy()
            other[:, place] += step
            allowed = np.abs(other[:, place]) <= largest
            worse = _residual(data, other, wanted) >= errors[0] * (1 - 1e-6)
            assert (worse | ~allowed).all()


@pytest.mark.parametrize("unknowns", [4, 5])
def test_mostly_the_best_of_all_roundings(unknowns):
    """Of all choices of integers, tried one by one, mostly the best is found, seldom by nearest."""
    best_found, best_nearest = [], []
    for seed in range(40):
        data, gram, wanted = _problem(seed, unknowns)
        nearest = np.rint(wanted)
        least = _best_of_all(data, wanted[0]) * (1 + 1e-9)
        found = closest_integers(gram, wanted, nearest, 127)
        best_found.append(_residual(data, found, wanted)[0] <= least)
        best_nearest.append(_residual(data, nearest, wanted)[0] <= least)
    assert np.mean(best_found) > 0.65
    assert np.mean(best_nearest) < 0.4


def test_independent_data():
    """Where the data are not correlated, nothing is better than the nearest integers."""
    random = np.random.default_rng(3)
    wanted = random.uniform(-100, 100, (5, 8))
    gram = np.diag(random.uniform(0.1, 10, 8))
    start = np.zeros_like(wanted)
    np.testing.assert_array_equal(closest_integers(gram, wanted, start, 127), np.rint(wanted))


def test_integers_stay():
    """What is an integer already has no error, and stays."""
    _, gram, wanted = _problem(5, 6, rows=4)
    wanted = np.rint(wanted)
    np.testing.assert_array_equal(closest_integers(gram, wanted, np.zeros((4, 6)), 127), wanted)


def test_squared_errors():
    """``d @ gram @ d`` is the sum over the data's rows of what d makes of them, squared."""
    data, gram, wanted = _problem(9, 6, rows=4)
    expected = ((data @ wanted.T) ** 2).sum(axis=0)
    np.testing.assert_allclose(squared_errors(gram, wanted), expected)
