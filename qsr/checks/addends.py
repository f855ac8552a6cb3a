"""What is added and joined: grids that are not the tensors' own, and grids that do not fit."""

import math
from collections.abc import Iterator

import numpy as np

from qsr.analysis.labels import layer_label
from qsr.calibration.collect import collect
from qsr.calibration.ranges import Ranges
from qsr.checks.findings import Finding
from qsr.checks.picture_copies import find_copies
from qsr.checks.picture_grid import picture_grid
from qsr.checks.subject import Subject
from qsr.checks.tensor_values import grid_ends
from qsr.quantization.shared_grids import KEEPS_GRID
from qsr.tflite.clips import one_grid
from qsr.tflite.graph import EndGrid, Graph, Operator, Tensor

_SUMS = {"ADD", "SUB"}
_LARGEST_RATIO = 8.0
"""A tensor whose range is smaller than another's by more loses more than 3 of its 8 bits."""

_SAME = 0.01
"""Ranges that differ by less, relative to what the tensor spans, are the same."""

_WIDE = 1.5
"""A grid so many times as wide as the values wastes more than half a bit."""

_CALIBRATED = 4
"""Pictures that TFLite's calibrator is run on: it is slow."""


def check_addends(subject: Subject) -> Iterator[Finding]:
    """Look at the operands of sums and of concatenations."""
    if subject.quantized:
        yield from _grids_of_sums(subject.graph)
        yield from _wide_addends(subject)
    elif subject.simulates:
        yield from _wrongly_recorded(subject)
    yield from _unequal(subject)


def _grids_of_sums(graph: Graph) -> Iterator[Finding]:
    """Find addends that have, to the last bit, the grid of the sum."""
    copied = {copy.result.index for copy in find_copies(graph)}
    for operator in graph.operators:
        if operator.kind not in _SUMS:
            continue
        result = graph.tensors[operator.outputs[0]]
        for tensor in _operands(graph, operator):
            if tensor.index in copied or not one_grid(tensor, result) or _of_picture(tensor):
                continue
            yield Finding(
                code="QSR402",
                where=layer_label(tensor.name),
                problem=f"scale {float(tensor.scale[0]):.8f} and zero point "
                f"{int(tensor.zero_point[0])} are, to the last bit, those of the sum "
                f"{layer_label(result.name)}: measured ranges hardly ever agree so: it looks as if "
                "the sum had been written over the addend before its range was read",
                advice="quantize with ranges that are read from intact tensors: qsr quantize "
                "--reader exact, which is the default",
                evidence={"scale": float(tensor.scale[0]), "zero_point": int(tensor.zero_point[0])},
            )


def _wide_addends(subject: Subject) -> Iterator[Finding]:
    """Find addends whose grid holds far more than they do on the pictures."""
    graph = subject.graph
    copied = {copy.result.index for copy in find_copies(graph)}
    for operator in graph.operators:
        if operator.kind not in _SUMS:
            continue
        for tensor in _operands(graph, operator):
            values = subject.values.get(tensor.index)
            maker = graph.producer.get(tensor.index)
            if values is None or maker is None or tensor.index in copied or not tensor.quantized:
                continue
            if maker.kind in KEEPS_GRID or graph.consumers[tensor.index] != (operator,):
                continue
            held, low, high = grid_ends(tensor), min(values.span[0], 0.0), max(values.span[1], 0.0)
            ratio = (held[1] - held[0]) / (high - low) if high > low else 1.0
            if ratio < _WIDE:
                continue
            tight = graph.with_grids({tensor.index: _grid_of(tensor, low, high)})
            yield Finding(
                code="QSR404",
                where=layer_label(tensor.name),
                problem=f"its grid holds {held[0]:.4f}..{held[1]:.4f}, and the images "
                f"{values.span[0]:.4f}..{values.span[1]:.4f}: {ratio:.1f} times as much. Either "
                f"the representative images held such values, or its range was recorded after "
                f"{operator.kind} had written its result over it; an integer file does not tell "
                "which",
                advice="check the float model on the representative images (QSR403 tells), or "
                "quantize again with qsr quantize --reader exact, which is the default",
                cost_db=subject.psnr_db(tight) - subject.psnr_db(subject.model),
                evidence={
                    "grid_minimum": held[0],
                    "grid_maximum": held[1],
                    "minimum": values.span[0],
                    "maximum": values.span[1],
                    "ratio": ratio,
                },
            )


def _grid_of(tensor: Tensor, low: float, high: float) -> tuple[float, int]:
    """Return the scale and zero point that hold a range with 0 in it, in a tensor's type."""
    ends = np.iinfo(tensor.dtype)
    scale = (high - low) / (int(ends.max) - int(ends.min))
    return scale, int(np.clip(round(int(ends.min) - low / scale), int(ends.min), int(ends.max)))


def _of_picture(tensor: Tensor) -> bool:
    """Whether a tensor has the grid of a picture, which is known and not measured."""
    end = EndGrid(tensor.dtype, float(tensor.scale[0]), int(tensor.zero_point[0]))
    grid = picture_grid(end)
    return grid is not None and grid.exact


def _wrongly_recorded(subject: Subject) -> Iterator[Finding]:
    """Find the ranges of a float model that TFLite's calibrator gets wrong, and what that costs.

    Both readers see the same few pictures, and the model with the one range is measured against the
    model with the other, on all pictures: what so few pictures leave out is in both.
    """
    named = {one.name: one.lr for one in subject.pictures[:_CALIBRATED]}
    true = collect(subject.model, named, source=subject.source).merged()
    recorded = collect(subject.model, named, reader="converter", source=subject.source).merged()
    for name, (low, high), (found_low, found_high) in _pairs(true, recorded):
        spanned = max(high, 0.0) - min(low, 0.0)
        if max(abs(found_low - low), abs(found_high - high)) <= _SAME * spanned:
            continue
        intact, overwritten = (
            subject.quantized_psnr_db({name: span})
            for span in ((low, high), (found_low, found_high))
        )
        yield Finding(
            code="QSR403",
            where=layer_label(name),
            problem=f"it holds {low:.4f}..{high:.4f}, and the calibrator records "
            f"{found_low:.4f}..{found_high:.4f} on the same {len(named)} images: it reads the "
            "tensor after another has taken its place",
            advice="quantize with qsr, which reads intact tensors, not with TFLiteConverter",
            cost_db=intact - overwritten,
            evidence={
                "calibrated_images": len(named),
                "minimum": low,
                "maximum": high,
                "recorded_minimum": found_low,
                "recorded_maximum": found_high,
            },
        )


def _unequal(subject: Subject) -> Iterator[Finding]:
    """Find operands whose ranges differ so much that the smaller one loses most of its steps."""
    for operator in subject.graph.operators:
        if operator.kind not in _SUMS | {"CONCATENATION"}:
            continue
        sizes = _sizes(subject, operator)
        if len(sizes) < 2 or min(sizes.values()) <= 0:  # noqa: PLR2004
            continue
        small, large = min(sizes, key=sizes.__getitem__), max(sizes, key=sizes.__getitem__)
        ratio = sizes[large] / sizes[small]
        if ratio <= _LARGEST_RATIO:
            continue
        labels = [layer_label(subject.graph.tensors[index].name) for index in (small, large)]
        where = layer_label(subject.graph.tensors[operator.outputs[0]].name)
        is_sum = operator.kind in _SUMS
        yield Finding(
            code="QSR501" if is_sum else "QSR502",
            where=where,
            problem=f"{labels[0]} reaches {sizes[small]:.4g} and {labels[1]} {sizes[large]:.4g}, "
            f"{ratio:.0f} times as far: "
            + (
                "one step of the larger is more than the smaller can say"
                if ratio > 2**8
                else f"the smaller loses {math.log2(ratio):.1f} of 8 bits"
            ),
            advice="scale the small one up and what reads it down (--equalize does where the graph "
            "allows it), or train with both of one size",
            evidence={"smaller": sizes[small], "larger": sizes[large], "ratio": ratio},
        )


def _sizes(subject: Subject, operator: Operator) -> dict[int, float]:
    """Return how far each operand reaches from 0: on the pictures, or else what its grid holds."""
    graph = subject.graph
    sizes = {}
    for tensor in _operands(graph, operator):
        if tensor.index in subject.values:
            sizes[tensor.index] = max(abs(end) for end in subject.values[tensor.index].span)
        elif tensor.quantized and operator.kind in _SUMS:
            sizes[tensor.index] = max(abs(end) for end in grid_ends(tensor))
    return sizes


def _operands(graph: Graph, operator: Operator) -> list[Tensor]:
    """Return what an operator reads that is neither stored nor an index."""
    activations = {tensor.index for tensor in graph.activations}
    return [
        graph.tensors[index] for index in dict.fromkeys(operator.inputs) if index in activations
    ]


def _pairs(
    true: Ranges, recorded: Ranges
) -> Iterator[tuple[str, tuple[float, float], tuple[float, float]]]:
    """Yield each tensor with its range by both readers."""
    for place, name in enumerate(true.tensors):
        column = recorded.tensors.index(name)
        yield (
            name,
            (float(true.minimum[place]), float(true.maximum[place])),
            (float(recorded.minimum[column]), float(recorded.maximum[column])),
        )
