"""What the layers of an integer model are."""

import numpy as np
import pytest

from qsr.analysis.layers import layers, results, rounded_activations, stored_values
from qsr.analysis.left_out_clips import grid_ends, left_out_clips
from qsr.analysis.pair import ModelPair
from qsr.tflite.fold import fold_copies
from qsr.tflite.graph import Graph


def by_kind(pair, kind):
    """Return the layers of one kind."""
    return [one for one in layers(pair.tested_graph, pair.alignment) if one.operator.kind == kind]


def test_convolution(trained_xcat, sound):
    """A convolution rounds its output, and stores its weights and biases."""
    pair = ModelPair(trained_xcat, sound)
    for layer in by_kind(pair, "CONV_2D"):
        assert layer.tensors == layer.operator.outputs
        assert layer.stored == set(layer.operator.inputs[1:])
        assert layer.rounded == set(layer.operator.outputs)


def test_copies(trained_xcat, sound):
    """What moves and clips integers, or recodes them, stores and rounds nothing."""
    pair = ModelPair(trained_xcat, sound)
    for kind in ("SPLIT_V", "CONCATENATION", "DEPTH_TO_SPACE", "MINIMUM", "RELU"):
        for layer in by_kind(pair, kind):
            assert not layer.stored | layer.rounded
    kinds = {
        pair.tested_graph.producer[index].kind for index in rounded_activations(pair.tested_graph)
    }
    assert kinds == {"CONV_2D", "ADD"}


def test_changed_grids(sound):
    """A move or a recoding onto another grid rounds."""
    graph = Graph(sound)
    before = rounded_activations(graph)
    copies = [
        one.outputs[0] for one in graph.operators if one.kind in {"CONCATENATION", "QUANTIZE"}
    ]
    for index in copies:
        assert index not in before
        tensor = graph.tensors[index]
        other = Graph(graph.with_grids({index: (0.77, int(tensor.zero_point[0]))}))
        assert index in rounded_activations(other)


def test_requantization(trained_xcat, quantized):
    """What alone is brought onto another grid for an operator belongs to it."""
    pair = ModelPair(trained_xcat, quantized(activation_bits=16))
    graph = pair.tested_graph
    (layer,) = by_kind(pair, "DEPTH_TO_SPACE")
    (source,) = layer.operator.inputs
    assert graph.producer[source].kind == "QUANTIZE"
    assert (graph.tensors[source].dtype, pair.alignment.of_tested(source)) == ("int8", None)
    assert layer.rounded == {source}


@pytest.mark.parametrize("io", ["uint8", "int8"])
def test_converted_result(io, trained_xcat, quantized):
    """A result is told where it is matched: on its own grid, and after the QUANTIZE at the end."""
    pair = ModelPair(trained_xcat, fold_copies(quantized(io=io)))
    graph = pair.tested_graph
    (last,) = by_kind(pair, "DEPTH_TO_SPACE")
    made = results(graph, pair.alignment, last.operator)
    kinds = [[one.kind for one in result.conversions] for result in made]
    expected = {"uint8": [[], ["QUANTIZE"]], "int8": [[]]}
    assert kinds == expected[io]
    assert made[-1].match.tested.index == graph.output_index
    assert last.tensors == tuple(result.match.tested.index for result in made)
    for operator in graph.operators:
        if operator.kind == "QUANTIZE":
            assert results(graph, pair.alignment, operator) == ()


def test_bounds_are_no_weights(sound):
    """The bound of a clip is no stored value of a layer."""
    graph = Graph(sound)
    (clip,) = (one for one in graph.operators if one.kind == "MINIMUM")
    assert stored_values(graph, clip) == frozenset()


class TestLeftOutClips:
    """Clips that only the reference has."""

    def test_none(self, trained_xcat, sound):
        """A model with all clips of its reference needs no more."""
        assert left_out_clips(ModelPair(trained_xcat, sound)) == {}

    def test_folded(self, trained_xcat, sound):
        """A folded clip to [0, 1] is put back behind what writes the picture."""
        pair = ModelPair(trained_xcat, fold_copies(sound))
        (moved,) = (one for one in pair.tested_graph.operators if one.kind == "DEPTH_TO_SPACE")
        found = left_out_clips(pair)
        assert set(found) == set(moved.outputs)
        np.testing.assert_allclose(found[moved.outputs[0]], (0, 1), atol=1e-6)

    def test_integer_reference(self, sound):
        """The ends of an integer reference's grids are clips."""
        pair = ModelPair(sound, sound)
        graph, found = pair.tested_graph, left_out_clips(pair)
        (add,) = (one for one in graph.operators if one.kind == "ADD")
        np.testing.assert_allclose(found[add.outputs[0]], grid_ends(graph, add.outputs[0]))
