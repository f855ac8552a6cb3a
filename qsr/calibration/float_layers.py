"""Which operators a user means by the names of layers that stay in float."""

from collections.abc import Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase

from qsr.errors import ModelError, UsageError
from qsr.tflite.graph import Graph, Operator

_MOST_NAMES = 12
"""So many names are listed where none is close."""

_CONVERTS = {"QUANTIZE", "DEQUANTIZE"}


def float_operators(
    graph: Graph, patterns: Sequence[str], *, source: str = "model"
) -> tuple[Operator, ...]:
    """Return the operators of a float model that names or patterns stand for.

    TFLite calls a tensor after the layer that made it, such as ``xcat/last_conv/Relu``, several
    joined by ``;`` where layers became one operator. A pattern is compared with the whole name of
    each result and stored weight of an operator, with each name joined in it, and with each of
    their parts between slashes, such as ``last_conv``; ``*`` and ``?`` are as in file names.

    Args:
        graph: a float model.
        patterns: names or patterns.
        source: named in errors.

    Returns:
        In the order of execution.

    Raises:
        UsageError: a pattern stands for no operator; close names are given.
    """
    found: dict[int, Operator] = {}
    for pattern in patterns:
        meant = [
            operator
            for operator in graph.operators
            if any(fnmatchcase(name, pattern) for name in _names(graph, operator))
        ]
        if not meant:
            raise UsageError(
                f"{source}: no layer or tensor {pattern!r}; {_instead(graph, pattern)}"
            )
        found |= {operator.index: operator for operator in meant}
    return tuple(found[index] for index in sorted(found))


def layer_name(graph: Graph, operator: Operator) -> str:
    """Return what a user may call an operator's layer, such as ``last_conv``.

    Args:
        graph: the model.
        operator: one of its operators.
    """
    first = graph.tensors[operator.outputs[0]].name.partition(";")[0]
    return _layer(first)


def operators_in_float(graph: Graph) -> tuple[Operator, ...]:
    """Return the operators of an integer model that compute in float, but for conversions.

    Args:
        graph: an integer model.
    """
    return tuple(
        operator
        for operator in graph.operators
        if operator.kind not in _CONVERTS
        and any(graph.tensors[index].dtype == "float32" for index in operator.outputs)
    )


def check_in_float(integer: Graph, graph: Graph, patterns: Sequence[str], *, source: str) -> None:
    """Check that each pattern kept at least one operator in float.

    Args:
        integer: what became of the float model.
        graph: the float model.
        patterns: as for :func:`float_operators`.
        source: named in errors.

    Raises:
        ModelError: the quantizer let none of a pattern's operators stay in float.
    """
    results = {index for operator in operators_in_float(integer) for index in operator.outputs}
    kept = {name for index in results for name in integer.tensors[index].name.split(";")}
    if _before_conversion(integer) in results:
        kept |= set(graph.output.name.split(";"))
    for pattern in patterns:
        meant = float_operators(graph, [pattern], source=source)
        names = {graph.tensors[index].name for one in meant for index in one.outputs}
        if not any(kept.issuperset(name.split(";")) for name in names):
            kinds = ", ".join(sorted({operator.kind for operator in meant}))
            raise ModelError(
                f"{source}: {pattern!r} stands for {kinds} alone, which moves values and has the "
                "type of the layers around; name one of those"
            )


def _names(graph: Graph, operator: Operator) -> set[str]:
    """Return everything that an operator may be called."""
    inputs = [
        index for index in operator.inputs if index >= 0 and graph.tensors[index].dtype == "float32"
    ]
    stored = [index for index in inputs if graph.tensors[index].constant]
    whole = {graph.tensors[index].name for index in (*operator.outputs, *stored)}
    joined = {part for name in whole for part in name.split(";")}
    return whole | joined | {part for name in joined for part in name.split("/")}


def _layer(name: str) -> str:
    """Return the layer in a name such as ``xcat/last_conv/Relu``."""
    parts = name.split("/")
    return parts[-2] if len(parts) > 1 else parts[-1]


def _instead(graph: Graph, pattern: str) -> str:
    """Say which names there are."""
    layers = list(dict.fromkeys(layer_name(graph, operator) for operator in graph.operators))
    every = dict.fromkeys(layers)
    for operator in graph.operators:
        every |= dict.fromkeys(sorted(_names(graph, operator)))
    close = get_close_matches(pattern, list(every), n=4)
    if close:
        return f"did you mean {' or '.join(close)}?"
    more = f", and {len(layers) - _MOST_NAMES} others" if len(layers) > _MOST_NAMES else ""
    return f"there are {', '.join(layers[:_MOST_NAMES])}{more}"


def _before_conversion(graph: Graph) -> int:
    """Return the number of the output tensor, before it is converted."""
    index = graph.output_index
    while index in graph.producer and graph.producer[index].kind in _CONVERTS:
        index = graph.producer[index].inputs[0]
    return index
