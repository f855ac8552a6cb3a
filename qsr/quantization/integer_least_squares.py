"""Integers that fit data best: rounding where the rounding errors make up for each other.

Nearest rounding treats each unknown alone. Where the data that the unknowns multiply are
correlated, as neighbouring pixels are, the error that one makes can be taken back by the others.
"""

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float64]

_LEAST_GAIN = 1e-9
"""A step that helps less, relative to what it costs by itself, is rounding of float64."""


def closest_integers(gram: Rows, wanted: Rows, nearest: Rows, largest: int) -> Rows:
    """Find integers q close to real numbers w, in the metric of the data they multiply.

    What is made small is ``(q - w) @ gram @ (q - w)``, for each row alone: first one number after
    the other is rounded, and those to come make up for its error (GPTQ: Frantar et al., 2023,
    "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers"); then
    single steps up or down are taken as long as one helps, from there and from ``nearest``. The
    better of both is what is returned, so it is never worse than ``nearest``.

    Args:
        gram: ``(n, n)``, positive definite: ``x.T @ x`` of the data.
        wanted: ``(rows, n)``: w.
        nearest: ``(rows, n)``: integers to start from, too, within the limits.
        largest: no integer is above this, or below its negative.

    Returns:
        ``(rows, n)``: integers, as ``float64``.
    """
    results = [
        descended(gram, wanted, start, largest)
        for start in (_rounded_in_turn(gram, wanted, largest), nearest)
    ]
    errors = [squared_errors(gram, result - wanted) for result in results]
    better: Rows = np.where((errors[0] < errors[1])[:, None], *results)
    return better


def squared_errors(gram: Rows, differences: Rows) -> NDArray[np.float64]:
    """Return ``d @ gram @ d`` for each row d, ``(rows,)``."""
    errors: NDArray[np.float64] = np.einsum("rn,rn->r", differences @ gram, differences)
    return errors


def descended(gram: Rows, wanted: Rows, start: Rows, largest: int) -> Rows:
    """Change integers by single steps, the one that helps most first, as long as one helps.

    Args:
        gram: ``(n, n)``, positive definite.
        wanted: ``(rows, n)``.
        start: ``(rows, n)``: integers within the limits.
        largest: no integer is above this, or below its negative.

    Returns:
        ``(rows, n)``: no single step makes ``(q - w) @ gram @ (q - w)`` smaller.
    """
    found = start.copy()
    slopes = (found - wanted) @ gram
    own = gram.diagonal()
    rows = np.arange(len(found))
    while rows.size:  # each step makes a sum of squares smaller, so that none comes back
        up = np.where(found[rows] < largest, 2 * slopes[rows] + own, np.inf)
        down = np.where(found[rows] > -largest, -2 * slopes[rows] + own, np.inf)
        place = np.minimum(up, down).argmin(axis=1)
        here = np.arange(len(rows))
        step = np.where(up[here, place] <= down[here, place], 1.0, -1.0)
        helps = np.minimum(up, down)[here, place] < -_LEAST_GAIN * own[place]
        rows, place, step = rows[helps], place[helps], step[helps]
        found[rows, place] += step
        slopes[rows] += step[:, None] * gram[place]
    return found


def _rounded_in_turn(gram: Rows, wanted: Rows, largest: int) -> Rows:
    """Round one column after the other, those of the most data first.

    With ``inverse(gram) = U.T @ U``, U upper triangular, rounding column i by an error e moves the
    best values of the columns to come by ``e * U[i] / U[i, i]``.
    """
    order = np.argsort(-gram.diagonal(), kind="stable")
    upper = np.linalg.cholesky(np.linalg.inv(gram[np.ix_(order, order)])).T
    left = wanted[:, order]
    for column in range(len(order)):
        rounded = np.clip(np.rint(left[:, column]), -largest, largest)
        errors = (left[:, column] - rounded) / upper[column, column]
        left[:, column + 1 :] -= np.outer(errors, upper[column, column + 1 :])
        left[:, column] = rounded
    found = np.empty_like(left)
    found[:, order] = left
    return found
