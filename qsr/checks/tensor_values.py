"""What every activation of a model holds on some pictures, read in one pass."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qsr.tflite.graph import Graph, Tensor
from qsr.tflite.runtime import Image, Runner

_SAMPLE = 20_000
"""Values of a tensor and piece that percentiles are taken from, evenly spread."""

_CENTRAL = (0.05, 99.95)
"""Percentiles that 99.9 % of the values lie between."""


@dataclass(frozen=True)
class TensorValues:
    """What an activation holds over all pixels of all pictures, in real units.

    Attributes:
        minimum: ``(channels,)`` ``float64``: of each channel.
        maximum: the same.
        central: what 99.9 % of the values of all channels lie between.
    """

    minimum: NDArray[np.float64]
    maximum: NDArray[np.float64]
    central: tuple[float, float]

    @property
    def span(self) -> tuple[float, float]:
        """Smallest and largest value of all channels."""
        return float(self.minimum.min()), float(self.maximum.max())


def grid_ends(tensor: Tensor) -> tuple[float, float]:
    """Return the smallest and largest real number that an integer tensor of one scale can hold."""
    ends, scale = np.iinfo(tensor.dtype), float(tensor.scale[0])
    zero_point = int(tensor.zero_point[0])
    return scale * (int(ends.min) - zero_point), scale * (int(ends.max) - zero_point)


def measure_tensors(
    runner: Runner, graph: Graph, pictures: Sequence[Image]
) -> dict[int, TensorValues]:
    """Read every activation that has channels.

    Args:
        runner: the model, with every tensor kept.
        graph: the same model.
        pictures: LR pictures ``(h, w, 3)`` ``uint8``, at least one.

    Returns:
        Tensor number to what it holds; integers are turned into what they stand for.

    Raises:
        ModelError: the model cannot be run.
    """
    wanted = [tensor for tensor in graph.activations if len(tensor.shape) == 4]  # noqa: PLR2004
    parts: dict[int, list[_Part]] = {tensor.index: [] for tensor in wanted}
    for picture in pictures:
        for window in runner.windows(picture):
            for tensor in wanted:
                # The view must not outlive the statement: the next run would fail.
                parts[tensor.index].append(_read(runner.kept(tensor.index, window), tensor))
    return {index: _joined(found) for index, found in parts.items()}


@dataclass(frozen=True)
class _Part:
    """What a tensor holds on one piece of a picture."""

    minimum: NDArray[np.float64]
    maximum: NDArray[np.float64]
    sample: NDArray[np.float64]


def _read(view: NDArray[np.generic], tensor: Tensor) -> _Part:
    rows = view.reshape(-1, view.shape[-1])
    flat = view.reshape(-1)
    sample = flat[:: max(1, flat.size // _SAMPLE)]
    return _Part(
        _real(rows.min(axis=0), tensor),
        _real(rows.max(axis=0), tensor),
        _real(np.array(sample), tensor),
    )


def _real(values: NDArray[np.generic], tensor: Tensor) -> NDArray[np.float64]:
    """Return what the values of a tensor stand for."""
    real = values.astype(np.float64)
    if tensor.scale.size == 1:
        real = (real - int(tensor.zero_point[0])) * float(tensor.scale[0])
    return real


def _joined(parts: Sequence[_Part]) -> TensorValues:
    sample = np.concatenate([part.sample for part in parts])
    low, high = np.percentile(sample, _CENTRAL).tolist()
    return TensorValues(
        np.min([part.minimum for part in parts], axis=0),
        np.max([part.maximum for part in parts], axis=0),
        (low, high),
    )
