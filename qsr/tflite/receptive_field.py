"""How far around a pixel a network looks, from the graph alone."""

from dataclasses import dataclass, replace
from math import ceil

import numpy as np
from numpy.typing import NDArray

from qsr.tflite.graph import Graph, Operator

_PIXEL_BY_PIXEL = {
    "ABS",
    "ADD",
    "ADD_N",
    "CAST",
    "CEIL",
    "COS",
    "DEQUANTIZE",
    "DIV",
    "ELU",
    "EQUAL",
    "EXP",
    "FAKE_QUANT",
    "FLOOR",
    "FLOOR_DIV",
    "FLOOR_MOD",
    "GELU",
    "GREATER",
    "GREATER_EQUAL",
    "HARD_SWISH",
    "L2_NORMALIZATION",
    "LEAKY_RELU",
    "LESS",
    "LESS_EQUAL",
    "LOCAL_RESPONSE_NORMALIZATION",
    "LOG",
    "LOGICAL_AND",
    "LOGICAL_NOT",
    "LOGICAL_OR",
    "LOGISTIC",
    "LOG_SOFTMAX",
    "MAXIMUM",
    "MINIMUM",
    "MUL",
    "NEG",
    "NOT_EQUAL",
    "POW",
    "PRELU",
    "QUANTIZE",
    "RELU",
    "RELU6",
    "RELU_0_TO_1",
    "RELU_N1_TO_1",
    "ROUND",
    "RSQRT",
    "SELECT",
    "SELECT_V2",
    "SIGN",
    "SIN",
    "SOFTMAX",
    "SQRT",
    "SQUARE",
    "SQUARED_DIFFERENCE",
    "SUB",
    "TANH",
    "ZEROS_LIKE",
}
"""Operators whose result at a pixel depends on the operands' channels at that pixel alone."""

_SIZES = {"int32", "int64", "bool"}


@dataclass(frozen=True)
class _View:
    """What one pixel of a tensor sees: ``radius`` and distance of neighbours, in LR pixels.

    ``dilation`` tells how many pixels apart a convolution's taps are, where TensorFlow writes a
    dilated convolution as one in between SPACE_TO_BATCH_ND and BATCH_TO_SPACE_ND.
    """

    radius: float
    step: float
    dilation: int = 1


def receptive_radius(graph: Graph) -> int | None:
    """Return how many LR pixels around its own an output pixel depends on.

    A square of ``2 * radius + 1`` pixels is the receptive field. Sizes are followed through
    convolutions, padding, pooling, depth-to-space, transposed convolutions, resizes that enlarge
    and operators known to work pixel by pixel.

    Args:
        graph: a model from picture to picture.

    Returns:
        The radius, rounded up; None when an operator looks at the whole picture, might do so for
        all that is known here, or is not known, and when a tensor has fewer pixels than the input:
        which ones are joined then depends on where the picture begins, so that no piece of it gives
        the same result.
    """
    views = {graph.input_index: _View(radius=0.0, step=1.0)}
    for operator in graph.operators:
        seen = [views[index] for index in operator.inputs if index in views]
        if operator.kind == "SHAPE" or not seen:
            # The picture's size is all that this depends on: numbers that other operators take as
            # sizes. Real numbers made of it could be coordinates, which differ from piece to piece.
            if any(graph.tensors[index].dtype not in _SIZES for index in operator.outputs):
                return None
            continue
        before = _View(
            max(view.radius for view in seen),
            min(view.step for view in seen),
            max(view.dilation for view in seen),
        )
        after = _through(graph, operator, before)
        if after is None or after.step > 1:
            return None
        views.update(dict.fromkeys(operator.outputs, after))
    if graph.output_index not in views:
        return None
    return ceil(views[graph.output_index].radius - 1e-9)


def _through(  # noqa: C901, PLR0911, PLR0912 (a table)
    graph: Graph, operator: Operator, before: _View
) -> _View | None:
    """Return what a pixel sees after the operator; None if that cannot be told."""
    options = operator.options
    match operator.kind:
        case "CONV_2D" | "DEPTHWISE_CONV_2D":
            if not graph.tensors[operator.inputs[1]].constant:
                return None
            height, width = graph.tensors[operator.inputs[1]].shape[1:3]
            reach = before.dilation * max(
                (height - 1) * options.dilationHFactor, (width - 1) * options.dilationWFactor
            )
            stride = max(options.strideH, options.strideW)
            return replace(
                before, radius=before.radius + reach / 2 * before.step, step=before.step * stride
            )
        case "AVERAGE_POOL_2D" | "MAX_POOL_2D":
            reach = before.dilation * (max(options.filterHeight, options.filterWidth) - 1)
            stride = max(options.strideH, options.strideW)
            return replace(
                before, radius=before.radius + reach / 2 * before.step, step=before.step * stride
            )
        case "TRANSPOSE_CONV":
            if not graph.tensors[operator.inputs[1]].constant:
                return None
            height, width = graph.tensors[operator.inputs[1]].shape[1:3]
            step = before.step / max(options.strideH, options.strideW)
            return _View(before.radius + (max(height, width) - 1) / 2 * step, step)
        case "DEPTH_TO_SPACE":
            return replace(before, step=before.step / options.blockSize)
        case "SPACE_TO_DEPTH":
            return replace(before, step=before.step * options.blockSize)
        case "SPACE_TO_BATCH_ND":
            block = _stored(graph, operator.inputs[1])
            return None if block is None else replace(before, dilation=int(block.max()))
        case "BATCH_TO_SPACE_ND":
            return replace(before, dilation=1)
        case "PAD" | "PADV2" | "MIRROR_PAD":
            paddings = _stored(graph, operator.inputs[1])
            if paddings is None:
                return None
            top_left, bottom_right = paddings[1:3].T
            shift = float(abs(top_left - bottom_right).max()) / 2
            return replace(before, radius=before.radius + shift * before.step)
        case "RESIZE_BILINEAR" | "RESIZE_NEAREST_NEIGHBOR":
            factor = None if options.alignCorners else _enlargement(graph, operator)
            if factor is None:
                return None
            return _View(before.radius + before.step, before.step / factor)
        case _:
            return before if _pixel_by_pixel(graph, operator) else None


def _pixel_by_pixel(graph: Graph, operator: Operator) -> bool:
    """Whether a pixel of the result depends on the same pixel alone, wherever it lies."""
    rank = len(graph.tensors[operator.outputs[0]].shape)
    match operator.kind:
        case "CONCATENATION":
            return operator.options.axis in {-1, rank - 1}
        case "SPLIT" | "SPLIT_V":
            axis = _stored(graph, operator.inputs[0 if operator.kind == "SPLIT" else 2])
            return axis is not None and int(axis.flat[0]) in {-1, rank - 1}
        case "SLICE":
            begin, size = (_stored(graph, index) for index in operator.inputs[1:3])
            if begin is None or size is None:
                return False
            return not begin[1:3].any() and bool((size[1:3] == -1).all())
        case "STRIDED_SLICE":
            return _slices_channels(graph, operator)
        case kind:
            return kind in _PIXEL_BY_PIXEL and not any(
                _is_map(graph, index) for index in operator.inputs
            )


def _slices_channels(graph: Graph, operator: Operator) -> bool:
    """Whether a strided slice takes all rows and columns as they are."""
    options = operator.options
    begin, strides = (_stored(graph, operator.inputs[place]) for place in (1, 3))
    if options.newAxisMask or options.shrinkAxisMask or options.ellipsisMask:
        return False
    if begin is None or strides is None:
        return False
    return all(
        strides[axis] == 1
        and (begin[axis] == 0 or options.beginMask >> axis & 1)
        and options.endMask >> axis & 1
        for axis in (1, 2)
    )


def _is_map(graph: Graph, index: int) -> bool:
    """Whether a tensor is stored with values of its own for each row or column."""
    if index < 0 or not graph.tensors[index].constant:
        return False
    return any(side != 1 for side in graph.tensors[index].shape[-3:-1])


def _enlargement(graph: Graph, operator: Operator) -> int | None:
    """Return the integer factor by which a resize enlarges; None if there is none to be told."""
    picture, size = operator.inputs[:2]
    stored = _stored(graph, size)
    if stored is not None:
        sides = np.array(graph.tensors[picture].shape[1:3])
        if (sides < 1).any() or (stored % sides).any():
            return None
        factors = stored // sides
    else:
        factors = _size_times(graph, picture, size)
    if factors is None or factors.min() < 1 or factors.min() != factors.max():
        return None
    return int(factors.min())


def _size_times(graph: Graph, picture: int, size: int) -> NDArray[np.int32] | None:
    """Return what a picture's height and width are multiplied by to give ``size``."""
    product = graph.producer.get(size)
    if product is None or product.kind != "MUL":
        return None
    for source, other in (product.inputs, product.inputs[::-1]):
        factors = _stored(graph, other)
        if factors is not None and _is_size_of(graph, picture, source):
            return factors
    return None


def _is_size_of(graph: Graph, picture: int, size: int) -> bool:
    """Whether a tensor is the height and width of ``picture``, cut from its shape."""
    cut = graph.producer.get(size)
    if cut is None or cut.kind not in {"SLICE", "STRIDED_SLICE"}:
        return False
    shape = graph.producer.get(cut.inputs[0])
    begin, length_or_end = (_stored(graph, index) for index in cut.inputs[1:3])
    if shape is None or shape.kind != "SHAPE" or shape.inputs[0] != picture:
        return False
    expected = 2 if cut.kind == "SLICE" else 3
    return (
        begin is not None
        and begin[0] == 1
        and (length_or_end is not None and length_or_end[0] == expected)
    )


def _stored(graph: Graph, index: int) -> NDArray[np.int32] | None:
    """Return a tensor's values if they are stored in the model."""
    return graph.constant(index) if graph.tensors[index].constant else None
