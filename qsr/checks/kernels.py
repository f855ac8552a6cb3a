"""Can one scale for a whole kernel hold the weights of all its channels?"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qsr.analysis.labels import layer_label
from qsr.checks.findings import Finding
from qsr.checks.picture_copies import find_copies
from qsr.checks.subject import Subject
from qsr.checks.weights import CHANNEL_AXIS, real_constant
from qsr.tflite.graph import Graph, Operator, Tensor

_LARGEST_RATIO = 16.0
"""A channel whose largest weight is smaller than the kernel's by more loses 4 of its 8 bits."""

_LARGEST_CODE = 127
"""Weights take the integers from -127 to 127 (TFLite's 8-bit quantization specification)."""


@dataclass(frozen=True)
class _Kernel:
    """The weights of a convolution.

    Attributes:
        operator: the convolution.
        tensor: its kernel.
        weights: ``(channels, rest)`` ``float64``: in real units.
        axis: of the channels in the tensor.
    """

    operator: Operator
    tensor: Tensor
    weights: NDArray[np.float64]
    axis: int

    @property
    def largest(self) -> NDArray[np.float64]:
        """The largest magnitude of each channel: ``(channels,)``."""
        largest: NDArray[np.float64] = np.abs(self.weights).max(axis=1)
        return largest


def check_kernels(subject: Subject) -> Iterator[Finding]:
    """Look at every kernel as hardware sees it that has one scale for all channels."""
    target = subject.target
    per_tensor = target is not None and not target.per_channel
    for kernel in _kernels(subject.graph):
        if per_tensor and target is not None and kernel.tensor.scale.size > 1:
            yield Finding(
                code="QSR603",
                where=layer_label(subject.graph.tensors[kernel.operator.outputs[0]].name),
                problem=f"{kernel.tensor.scale.size} scales, one per channel; {target.name} wants "
                f"one for the kernel ({target.per_channel_source})",
                advice="quantize with --scheme uint8-per-tensor or int8-per-tensor",
                evidence={"scales": kernel.tensor.scale.size},
            )
        found = _of_kernel(subject, kernel, "QSR602" if per_tensor else "QSR601")
        if found is not None:
            yield found


def _of_kernel(subject: Subject, kernel: _Kernel, code: str) -> Finding | None:
    """Say what one scale for all channels does to a kernel, if it does much."""
    largest = kernel.largest
    alive = largest > 0
    if alive.sum() < 2:  # noqa: PLR2004
        return None
    ratios = largest.max() / largest[alive]
    short = int((ratios > _LARGEST_RATIO).sum())
    if not short:
        return None
    shared, own = (_sqnr_db(kernel, steps) for steps in _steps(kernel))
    return Finding(
        code=code,
        where=layer_label(subject.graph.tensors[kernel.operator.outputs[0]].name),
        problem=f"the largest weights of its channels differ by up to {ratios.max():.0f} times: "
        f"with one scale, {short} of {len(largest)} channels lose more than 4 of 8 bits, the worst "
        f"{math.log2(ratios.max()):.1f}"
        + (
            f"; the worst channel's weights then have an SQNR of {shared:.1f} dB"
            if math.isfinite(shared)
            else ""
        )
        + (f", and {own:.1f} dB with a scale of its own" if math.isfinite(own) else ""),
        advice="keep a scale per channel where the hardware has them; else see what it costs with "
        "qsr quantize --scheme uint8 --scheme uint8-per-tensor --data DIR",
        cost_db=_cost(subject, kernel),
        evidence={
            "largest_ratio": float(ratios.max()),
            "channels": len(largest),
            "channels_short_of_bits": short,
            "sqnr_per_tensor_db": shared if math.isfinite(shared) else None,
            "sqnr_per_channel_db": own if math.isfinite(own) else None,
        },
    )


def _kernels(graph: Graph) -> Iterator[_Kernel]:
    """Yield the stored kernels of a model, but for those that copy the picture."""
    copies = {copy.operator.index for copy in find_copies(graph)}
    for operator in graph.operators:
        if operator.kind not in CHANNEL_AXIS or operator.index in copies:
            continue
        weights = real_constant(graph, operator.inputs[1])
        if weights is None:
            continue
        axis = CHANNEL_AXIS[operator.kind]
        rows = np.moveaxis(weights, axis, 0).reshape(weights.shape[axis], -1)
        yield _Kernel(operator, graph.tensors[operator.inputs[1]], rows, axis)


def _steps(kernel: _Kernel) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the scales of the channels, ``(channels, 1)``: one for all, and one for each."""
    largest = kernel.largest[:, None]
    own = np.where(largest > 0, largest, 1.0) / _LARGEST_CODE
    return np.full_like(own, largest.max() / _LARGEST_CODE), own


def _sqnr_db(kernel: _Kernel, steps: NDArray[np.float64]) -> float:
    """Return the worst channel's signal-to-quantization-noise ratio of its weights, in dB."""
    noise = np.square(_rounded(kernel, steps) - kernel.weights).sum(axis=1)
    signal = np.square(kernel.weights).sum(axis=1)
    rough = (noise > 0) & (signal > 0)
    return float(10 * np.log10(signal[rough] / noise[rough]).min()) if rough.any() else math.inf


def _rounded(kernel: _Kernel, steps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the weights as whole steps."""
    rounded: NDArray[np.float64] = np.rint(kernel.weights / steps) * steps
    return rounded


def _cost(subject: Subject, kernel: _Kernel) -> float | None:
    """Measure what one scale costs against one per channel, all else being the same."""
    tensor = kernel.tensor
    readers = subject.graph.consumers[tensor.index]
    if not subject.pictures or len(readers) != 1 or tensor.dtype not in {"float32", "int8"}:
        return None
    if tensor.quantized and tensor.scale.size == 1:
        return None
    shared, own = (_with_steps(subject.graph, kernel, steps) for steps in _steps(kernel))
    return subject.psnr_db(own) - subject.psnr_db(shared)


def _with_steps(graph: Graph, kernel: _Kernel, steps: NDArray[np.float64]) -> bytes:
    """Return the model with the weights of one kernel as whole steps.

    An integer kernel keeps its scales; its integers are the nearest to those weights.
    """
    tensor = kernel.tensor
    values = _rounded(kernel, steps)
    if tensor.quantized:
        scales = tensor.scale.astype(np.float64).reshape(-1, 1)
        values = np.clip(np.rint(values / scales), -_LARGEST_CODE, _LARGEST_CODE)
    moved = [tensor.shape[kernel.axis]]
    moved += [side for axis, side in enumerate(tensor.shape) if axis != kernel.axis]
    stored = np.moveaxis(values.reshape(moved), 0, kernel.axis)
    return graph.with_constants(
        {tensor.index: np.ascontiguousarray(stored).astype(tensor.dtype, order="C")}
    )
