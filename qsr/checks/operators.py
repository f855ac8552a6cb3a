"""Operators that stay in float, and those that a target does not run."""

from collections import Counter
from collections.abc import Iterator, Sequence

from qsr.analysis.labels import layer_label
from qsr.checks.findings import Finding
from qsr.checks.subject import Subject
from qsr.tflite.graph import Graph, Operator

_CHANGES_OF_TYPE = {"QUANTIZE", "DEQUANTIZE"}
_SHOWN = 4


def check_operators(subject: Subject) -> Iterator[Finding]:
    """Look at what arithmetic every operator uses, and whether the target has it."""
    graph = subject.graph
    if not subject.quantized:
        if subject.pictures and subject.refusal is not None:
            yield Finding(
                code="QSR903",
                where="model",
                problem=subject.refusal,
                advice="change the network, or quantize it with another tool",
            )
    else:
        floats = [operator for operator in graph.operators if _computes_in_float(graph, operator)]
        if floats:
            yield Finding(
                code="QSR901",
                where=_places(graph, floats),
                problem=f"{_kinds(floats)} compute in float32: an integer-only processor cannot "
                "run them, and others change type back and forth",
                advice="use operators that TFLite quantizes, and give them all ranges",
                evidence={"float_operators": len(floats)},
            )
    yield from _of_target(subject)


def _of_target(subject: Subject) -> Iterator[Finding]:
    target, graph = subject.target, subject.graph
    if target is None:
        return
    if target.fixed_size and subject.facts.fixed_size is None:
        yield Finding(
            code="QSR906",
            where="input",
            problem=f"the model takes pictures of any size, and {target.name} is given its model "
            f"for one ({target.fixed_size_source})",
            advice="make the integer model for one size: qsr quantize "
            f"{'FLOAT_MODEL' if subject.quantized else subject.source} --repdata PHOTO... "
            "--input-size WIDTHxHEIGHT",
        )
    refused: dict[str, list[Operator]] = {}
    unnamed: list[Operator] = []
    for operator in graph.operators:
        source = target.refusal(operator.kind)
        if source is not None:
            refused.setdefault(source, []).append(operator)
        elif target.runs and not target.names(operator.kind):
            unnamed.append(operator)
    for source, operators in refused.items():
        yield Finding(
            code="QSR904",
            where=_places(graph, operators),
            problem=f"{_kinds(operators)}: not on {target.name} ({source})",
            advice="replace them by operators that it runs, or have the processor beside it run "
            "them",
            evidence={"operators": len(operators), "source": source},
        )
    if unnamed:
        yield Finding(
            code="QSR905",
            where=_places(graph, unnamed),
            problem=f"{_kinds(unnamed)}: not among the operators that are published for "
            f"{target.name} ({target.runs[0].source})",
            advice="try its compiler on the model before relying on it",
            evidence={"operators": len(unnamed)},
        )


def _computes_in_float(graph: Graph, operator: Operator) -> bool:
    """Whether an operator's real numbers are ``float32``; changes of type do not count."""
    if operator.kind in _CHANGES_OF_TYPE:
        return False
    return any(graph.tensors[index].dtype == "float32" for index in operator.outputs)


def _kinds(operators: Sequence[Operator]) -> str:
    """Name kinds of operators, with how many there are of each."""
    counts = Counter(operator.kind for operator in operators)
    return ", ".join(f"{count} {kind}" if count > 1 else kind for kind, count in counts.items())


def _places(graph: Graph, operators: Sequence[Operator]) -> str:
    """Name the layers of operators, the first few of them."""
    labels = dict.fromkeys(
        layer_label(graph.tensors[operator.outputs[0]].name) for operator in operators
    )
    shown = ", ".join(list(labels)[:_SHOWN])
    return shown if len(labels) <= _SHOWN else f"{shown}, ..."
