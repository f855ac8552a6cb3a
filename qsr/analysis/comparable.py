"""Whether two models can be compared: what makes a comparison meaningless is an error."""

from collections.abc import Container

from qsr.analysis.dataflow import Dataflow
from qsr.analysis.matching import Alignment
from qsr.analysis.pair import ModelPair
from qsr.errors import ModelError
from qsr.tflite.graph import Graph
from qsr.tflite.runtime import ModelFacts

LEAST_SHARE = 0.5
"""Share of the layers with weights that two models of one network have in common at least."""

_LEAST_AXES = 2
"""Of weights; a bias has one."""


def check_comparable(pair: ModelPair) -> None:
    """Check that a tested model is an integer version of its reference.

    Args:
        pair: the models.

    Raises:
        ModelError: the tested model computes in float; they differ in scale or input size; or they
            have no tensor in common between input and output, or less than half of the layers that
            have weights: they are other networks, or of other sizes.
    """
    _check_roles(pair)
    _check_sizes(pair)
    _check_layers(pair)


def _check_roles(pair: ModelPair) -> None:
    """Check that the tested model is an integer model."""
    if pair.tested_facts.quantized:
        return
    if pair.reference_facts.quantized:
        raise ModelError(
            f"{pair.reference_source} is quantized and {pair.tested_source} is float: swap them, "
            "the float model comes first"
        )
    raise ModelError(
        f"{pair.reference_source} and {pair.tested_source} both compute in float; give an integer "
        "model second: qsr quantize makes one"
    )


def _check_sizes(pair: ModelPair) -> None:
    """Check that both models take and give pictures of the same sizes."""
    reference, tested = pair.facts
    if reference.scale != tested.scale:
        raise ModelError(
            f"{pair.reference_source} enlarges x{reference.scale} and {pair.tested_source} "
            f"x{tested.scale}: not the same network"
        )
    if reference.fixed_size != tested.fixed_size:
        raise ModelError(
            f"{pair.reference_source} takes {_size_text(reference)} and {pair.tested_source} "
            f"{_size_text(tested)}; convert both with the same input size"
        )


def _size_text(facts: ModelFacts) -> str:
    if facts.fixed_size is None:
        return "pictures of any size"
    height, width = facts.fixed_size
    return f"{width}x{height} pixels"


def _check_layers(pair: ModelPair) -> None:
    """Check that both models are of the same layers, by and large."""
    reference, tested, alignment = pair.reference_graph, pair.tested_graph, pair.alignment
    advice = (
        f"give the model that {pair.tested_source} was made from (of a search, model_fp32.tflite "
        "in its folder)"
    )
    if _has_inside(reference) and not _shares_inside(alignment):
        raise ModelError(
            f"{pair.reference_source} and {pair.tested_source} have no tensor in common between "
            f"input and output; {advice}"
        )
    shared = _weighted_layers(tested, alignment.constants.keys())
    layers = max(
        _weighted_layers(graph, range(len(graph.tensors))) for graph in (reference, tested)
    )
    if shared < LEAST_SHARE * layers:
        raise ModelError(
            f"{pair.reference_source} and {pair.tested_source} share {shared} of {layers} layers "
            f"with weights: not the same network; {advice}"
        )


def _has_inside(graph: Graph) -> bool:
    """Whether a model has tensors between its input and its output."""
    ends = {graph.input_index, graph.output_index}
    return any(tensor.index not in ends for tensor in graph.activations)


def _shares_inside(alignment: Alignment) -> bool:
    """Whether more than the picture at both ends was matched."""
    return any(match.how != "end" for match in alignment.matches)


def _weighted_layers(graph: Graph, among: Container[int]) -> int:
    """Return how many operators read weights that are among some tensors."""
    return sum(
        any(
            index in among and len(graph.tensors[index].shape) >= _LEAST_AXES
            for index in value.constants
        )
        for value in Dataflow(graph).values
    )
