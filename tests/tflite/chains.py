"""Hand-made int8 models: operators in a row on one channel."""

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from qsr.tflite.graph import Graph, _pack

BYTE = float(np.float32(1 / 255))
BLACK_TO_WHITE = (BYTE, -128)
EVERY_BYTE = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)

_OPTIONS = {
    "ADD": "AddOptions",
    "CONCATENATION": "ConcatenationOptions",
    "MAXIMUM": "MaximumMinimumOptions",
    "MAX_POOL_2D": "Pool2DOptions",
    "MINIMUM": "MaximumMinimumOptions",
    "QUANTIZE": "QuantizeOptions",
}


def chain(kinds, grids, bound=127, *, first="MAX_POOL_2D", last="INT8"):
    """Return an int8 model of operators in a row, after one that moves bytes.

    Args:
        kinds: the operators; after ``first``, if any. ADD adds what it reads to itself.
        grids: (scale, zero point) of the input and of each operator's result.
        bound: raw value of the second operand of MINIMUM and MAXIMUM.
        first: a pooling of single pixels, or None.
        last: type of the output.
    """
    kinds = [first, *kinds] if first else kinds
    grids = grids if first else grids[-len(kinds) - 1 :]
    flat, subgraph = schema.ModelT(), schema.SubGraphT()
    flat.version, flat.subgraphs, flat.description = 3, [subgraph], b"chain"
    flat.buffers = [schema.BufferT(), schema.BufferT()]
    flat.buffers[1].data = np.array([bound], np.int8).view(np.uint8)
    subgraph.tensors = [tensor(f"t{place}", grid) for place, grid in enumerate(grids)]
    subgraph.tensors[-1].type = getattr(schema.TensorType, last)
    flat.operatorCodes, subgraph.operators = [], []
    for place, kind in enumerate(kinds):
        code = schema.OperatorCodeT()
        code.builtinCode = getattr(schema.BuiltinOperator, kind)
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        code.version = 1 if "_TO_1" in kind else 2
        flat.operatorCodes.append(code)
        operator = schema.OperatorT()
        operator.opcodeIndex = place
        operator.inputs = [place, place] if kind == "ADD" else [place]
        operator.outputs = [place + 1]
        if kind in {"MINIMUM", "MAXIMUM"}:
            constant = tensor(f"bound{place}", grids[place])
            constant.buffer, constant.shape, constant.shapeSignature = 1, [], None
            subgraph.tensors.append(constant)
            operator.inputs = [place, len(subgraph.tensors) - 1]
        operator.builtinOptionsType, operator.builtinOptions = options(kind)
        subgraph.operators.append(operator)
    subgraph.inputs, subgraph.outputs = [0], [len(kinds)]
    return _pack(flat)


def tensor(name, grid):
    """Return an int8 tensor of one channel and any size."""
    made = schema.TensorT()
    made.name, made.type, made.buffer = name.encode(), schema.TensorType.INT8, 0
    made.shape, made.shapeSignature = [1, 1, 1, 1], [1, -1, -1, 1]
    made.quantization = schema.QuantizationParametersT()
    made.quantization.scale, made.quantization.zeroPoint = [float(grid[0])], [int(grid[1])]
    return made


def options(kind):
    """Return the type and content of an operator's options."""
    if kind not in _OPTIONS:
        return schema.BuiltinOptions.NONE, None
    made = getattr(schema, f"{_OPTIONS[kind]}T")()
    if kind == "MAX_POOL_2D":
        made.padding = schema.Padding.SAME
        made.strideW = made.strideH = made.filterWidth = made.filterHeight = 1
    if kind == "CONCATENATION":
        made.axis = 3
    return getattr(schema.BuiltinOptions, _OPTIONS[kind]), made


def with_clip_grid(integer, lowest, highest):
    """Return an integer XCAT whose clip, and what feeds it, works on another grid."""
    scale = (highest - lowest) / 255
    zero_point = round(-128 - lowest / scale)
    graph = Graph(integer)
    flat = schema.ModelT.InitFromPackedBuf(integer, 0)
    tensors = flat.subgraphs[0].tensors
    for operator in graph.operators:
        if operator.kind in {"ADD", "DEPTH_TO_SPACE", "MINIMUM", "RELU"}:
            for index in operator.outputs:
                tensors[index].quantization.scale = [scale]
                tensors[index].quantization.zeroPoint = [zero_point]
        if operator.kind == "MINIMUM":
            bound = tensors[operator.inputs[1]]
            bound.quantization.scale, bound.quantization.zeroPoint = [scale], [zero_point]
            raw = np.array([min(round(1 / scale) + zero_point, 127)], np.int8)
            flat.buffers[bound.buffer].data = raw.view(np.uint8)
    return _pack(flat)
