"""Turns a float model and ranges into an integer model."""

from functools import lru_cache
from os import PathLike

import numpy as np

from qsr.calibration.collect import collect, refuse_not_float32
from qsr.calibration.float_layers import check_in_float, float_operators
from qsr.calibration.ranges import Ranges
from qsr.calibration.scheme import Scheme
from qsr.errors import ModelError
from qsr.tflite.files import read_model
from qsr.tflite.graph import Graph, Operator, end_grids
from qsr.tflite.io_grid import ranges_tied_to_input, ranges_tied_to_output
from qsr.tflite.quantizer import quantize_calibrated
from qsr.tflite.runtime import inspect_model, probe_picture
from qsr.tflite.sixteen_bits import quantize_to_16_bits


def quantize(
    model: bytes | str | PathLike[str],
    ranges: Ranges,
    scheme: Scheme | None = None,
    *,
    source: str | None = None,
) -> bytes:
    """Quantize a float model with given ranges.

    With ``scheme.pin_io`` the tensors tied to input and output get the true range of a picture, so
    that byte b means b/255 on both sides. The first call in a process imports TensorFlow (seconds);
    each call on the same model then takes about 10 ms, nearly all of it in TFLite's quantizer.
    Activations of 16 bits are made by LiteRT's quantizer instead, in about 30 ms.

    Args:
        model: a float ``.tflite`` model, as a path or its content.
        ranges: a range for every activation of the model, such as ``RangeTable.merged`` gives;
            with ``scheme.pin_io``, those of ``picture_ranges`` may be missing.
        scheme: how to quantize; ``Scheme()`` if None.
        source: what errors call the model; its path, or "model", if None.

    Returns:
        Content of the integer ``.tflite`` file.

    Raises:
        ModelError: the model is quantized already or has float16 weights, a tensor has no range,
            a range is not finite, TFLite refuses the model, an end cannot be pinned because its
            operator has a grid of its own (TANH, LOGISTIC), or a layer that must stay in float
            cannot.
        UsageError: ``scheme`` names a layer that the model lacks, or 16 bits without the package
            that makes them.
    """
    scheme = scheme if scheme is not None else Scheme()
    content, path = read_model(model)
    source = source if source is not None else path
    graph = _float_graph(content, source)
    if scheme.pin_io:
        ranges = ranges.with_known(picture_ranges(graph, source=source))
    by_name = {
        name: (float(minimum), float(maximum))
        for name, minimum, maximum in zip(
            ranges.tensors, ranges.minimum, ranges.maximum, strict=True
        )
    }
    missing = [tensor.name for tensor in graph.activations if tensor.name not in by_name]
    if missing:
        raise ModelError(f"{source}: {_without_range(missing, graph, source)}")
    for name, (minimum, maximum) in by_name.items():
        if not -float("inf") < minimum <= maximum < float("inf"):
            raise ModelError(f"{source}: the range of {name}, {minimum} to {maximum}, is no range")
    spans = {tensor.index: by_name[tensor.name] for tensor in graph.activations}
    kept = float_operators(graph, scheme.float_layers, source=source)
    if scheme.activation_bits == 8:  # noqa: PLR2004
        integer = quantize_calibrated(
            graph.with_ranges(spans),
            io_dtype=scheme.io,
            per_channel=scheme.per_channel,
            float_nodes=[_node(graph, operator) for operator in kept],
            source=source,
        )
    else:
        integer = quantize_to_16_bits(
            content,
            spans,
            io_dtype=scheme.io,
            per_channel=scheme.per_channel,
            float_operators=[operator.index for operator in kept],
            source=source,
        )
    if kept:
        check_in_float(Graph(integer), graph, scheme.float_layers, source=source)
    if scheme.pin_io and scheme.io != "float32":
        _check_pinned(integer, graph, source)
    return integer


def check_quantizable(
    model: bytes | str | PathLike[str],
    scheme: Scheme | None = None,
    *,
    source: str | None = None,
) -> None:
    """Check that TFLite can quantize a model, before hours are spent on measuring its ranges.

    It is quantized once, with the ranges of a small test picture; imports TensorFlow (seconds).

    Args:
        model: a float ``.tflite`` model, as a path or its content.
        scheme: how it will be quantized; ``Scheme()`` if None.
        source: what errors call the model; its path, or "model", if None.

    Raises:
        ModelError: it cannot be measured or quantized.
    """
    content, path = read_model(model)
    source = source if source is not None else path
    table = collect(content, {"test picture": probe_picture()}, source=source)
    quantize(content, table.merged(), scheme, source=source)


def _node(graph: Graph, operator: Operator) -> str:
    """Return what TFLite's quantizer calls an operator."""
    return ";".join(graph.tensors[index].name for index in operator.outputs)


def _without_range(missing: list[str], graph: Graph, source: str) -> str:
    """Say which tensors have no range, and what to do about it."""
    if set(missing) <= picture_ranges(graph, source=source).keys():
        return (
            f"{len(missing)} tensors were not measured, such as {missing[0]}: their range is known "
            "only if the grids of input and output are pinned; pin them, or measure every tensor"
        )
    return (
        f"no range for {len(missing)} tensors, such as {missing[0]}; measure the ranges on this "
        "very model"
    )


def _check_pinned(integer: bytes, graph: Graph, source: str) -> None:
    """Check that byte b means b/255 at both ends: some operators have a grid of their own."""
    white = inspect_model(graph.model, source=source).value_max
    for role, index, grid in zip(
        ("input", "output"),
        (graph.input_index, graph.output_index),
        end_grids(integer),
        strict=True,
    ):
        black = 0 if grid.dtype == "uint8" else -128
        if not np.isclose(grid.scale, white / 255.0, rtol=1e-6) or grid.zero_point != black:
            made = f" of {graph.producer[index].kind}" if index in graph.producer else ""
            raise ModelError(
                f"{source}: TFLite gives the {role}{made} a grid of its own, scale "
                f"{grid.scale:.6f} and zero point {grid.zero_point}, so that byte b does not mean "
                "b/255 on a phone; end the network in a linear layer or a clipped ReLU, or leave "
                "the grid as it is (--io-from-images)"
            )


@lru_cache(maxsize=2)
def _float_graph(content: bytes, source: str) -> Graph:
    """Read a float model, once for the many trials of a search."""
    graph = Graph(content, source=source)
    refuse_not_float32(graph, source=source)
    return graph


def picture_ranges(graph: Graph, *, source: str = "model") -> dict[str, tuple[float, float]]:
    """Return the ranges that are known without any image: those of the picture at both ends.

    Args:
        graph: a float model.
        source: named in errors.

    Returns:
        Tensor name to (black, white) for the input, the output and all that is tied to them.
    """
    white = inspect_model(graph.model, source=source).value_max
    tied = ranges_tied_to_input(graph, white) | ranges_tied_to_output(graph, white)
    return {graph.tensors[index].name: span for index, span in tied.items()}
