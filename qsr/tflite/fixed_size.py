"""An integer model for one input size, as compilers for NPUs want it.

In a model of any size the height and width of every activation are open, and a transposed
convolution is told the size of its result by operators that compute it from the input's. With one
size all of that is known: shapes are written down, and what was computed of them is stored.
"""

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from qsr.errors import ModelError, UsageError
from qsr.quiet import captured_stderr
from qsr.tflite.graph import Graph
from qsr.tflite.runtime import Image, inspect_model, probe_picture, to_input

_OF_SHAPES = {"int32", "int64"}


def check_input_size(model: bytes, size: tuple[int, int], *, source: str = "model") -> None:
    """Check that a model can be made for one input size.

    Args:
        model: content of a ``.tflite`` file.
        size: height and width, in pixels.
        source: named in errors.

    Raises:
        ModelError: the model cannot be run.
        UsageError: it takes another size alone, or a side is shorter than its receptive field.
    """
    facts = inspect_model(model, source=source)
    asked = f"{size[1]}x{size[0]}"
    if facts.fixed_size not in {None, size}:
        height, width = facts.fixed_size or size
        raise UsageError(
            f"{source}: takes {width}x{height} pixels alone, not {asked}; convert it for any size"
        )
    if min(size) < facts.smallest_side:
        raise UsageError(
            f"{source}: an input of {asked} pixels is all border; give {facts.smallest_side} or "
            "more along each side, as far as an output pixel sees"
        )


def with_input_size(model: bytes, size: tuple[int, int], *, source: str = "model") -> bytes:
    """Return a model that takes one input size alone, and gives the same bytes.

    The same with TFLite's own kernels, that is. XNNPACK takes a transposed convolution only if its
    size is fixed, and may then round a value otherwise, by one (and take twice as long, on a PC).

    Args:
        model: content of a ``.tflite`` file of integers at both ends.
        size: height and width of the input, in pixels.
        source: named in errors.

    Raises:
        ModelError: the model cannot be run on that size, or gives other bytes after all.
        UsageError: as :func:`check_input_size`.
    """
    check_input_size(model, size, source=source)
    graph = Graph(model, source=source)
    if inspect_model(model, source=source).fixed_size == size:
        return model
    known, probe = _computed_of_shapes(graph), probe_picture(*size)
    shapes = {
        int(detail["index"]): detail["shape"].tolist()
        for detail in _run(model, probe, graph.input.dtype, source).get_tensor_details()
    }
    values = {}
    if known:
        run = _run(graph.pruned(known), probe, graph.input.dtype, source)
        values = {index: run.get_tensor(index) for index in known}
    dropped = {graph.producer[index].index for index in known}

    def fix(flat: Any) -> None:
        main = flat.subgraphs[0]
        main.operators = [one for at, one in enumerate(main.operators) if at not in dropped]
        for tensor, flat_tensor in zip(graph.tensors, main.tensors, strict=True):
            flat_tensor.shapeSignature = None
            if not tensor.constant and tensor.index in shapes:
                flat_tensor.shape = shapes[tensor.index]
        for index, stored in values.items():
            main.tensors[index].buffer = len(flat.buffers)
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(stored.tobytes(), np.uint8)
            flat.buffers.append(buffer)

    fixed = graph.edited(fix)
    _check_same(model, fixed, size, source)
    return fixed


def _computed_of_shapes(graph: Graph) -> tuple[int, ...]:
    """Return the numbers of the tensors that follow from the shapes of others alone."""
    known: list[int] = []
    for operator in graph.operators:
        of_shapes = operator.kind == "SHAPE" or all(
            index in known or index < 0 or graph.tensors[index].constant
            for index in operator.inputs
        )
        if of_shapes and all(
            graph.tensors[index].dtype in _OF_SHAPES for index in operator.outputs
        ):
            known.extend(operator.outputs)
    return tuple(known)


def _run(model: bytes, picture: Image, dtype: str, source: str) -> Interpreter:
    """Run a model, or a part of it, on a picture, with TFLite's own kernels: they tell shapes."""
    values = to_input(picture, dtype, 1.0)
    with captured_stderr():
        try:
            interpreter = Interpreter(
                model_content=model,
                experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            )
            index = interpreter.get_input_details()[0]["index"]
            interpreter.resize_tensor_input(index, values.shape)
            interpreter.allocate_tensors()
            interpreter.set_tensor(index, values)
            interpreter.invoke()
        except (RuntimeError, ValueError) as error:
            raise ModelError(
                f"{source}: cannot take a picture of {picture.shape[1]}x{picture.shape[0]} "
                f"pixels: {error}"
            ) from error
    return interpreter


def _check_same(model: bytes, fixed: bytes, size: tuple[int, int], source: str) -> None:
    """Raise ModelError if TFLite's own kernels make other bytes of the two."""
    dtype = Graph(model).input.dtype
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    for picture in (probe_picture(*size), noise):
        runs = [_run(one, picture, dtype, source) for one in (fixed, model)]
        found, expected = (run.get_tensor(run.get_output_details()[0]["index"]) for run in runs)
        if not np.array_equal(found, expected):
            raise ModelError(
                f"{source}: gives other bytes when its input is fixed to {size[1]}x{size[0]} "
                "pixels; please report it with the model"
            )
