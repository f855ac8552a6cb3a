"""Models that are not the same throughout: what is matched is right, and the rest is left."""

import numpy as np
import pytest
from rewrites import (
    bias_apart,
    convolutions,
    numbered,
    renamed,
    shuffled,
    with_weights,
    without_layer,
)

from qsr import calibration as cal
from qsr.analysis.matching import align
from qsr.tflite.convert import convert_keras
from qsr.tflite.graph import Graph

CHANNELS = 12


@pytest.fixture(scope="module")
def chain():
    """A float network of five convolutions in a row, four of them of one size."""
    import tf_keras

    from qsr.models.layers import DepthToSpace

    picture = features = tf_keras.Input((None, None, 3))
    for _ in range(5):
        features = tf_keras.layers.Conv2D(CHANNELS, 3, padding="same", activation="relu")(features)
    features = tf_keras.layers.Conv2D(27, 3, padding="same")(features)
    return converted(tf_keras.Model(picture, DepthToSpace(3)(features)))


@pytest.fixture(scope="module")
def branches():
    """A float network that adds up three convolutions of one size and of the same picture."""
    import tf_keras

    from qsr.models.layers import DepthToSpace

    picture = tf_keras.Input((None, None, 3))
    parts = [tf_keras.layers.Conv2D(27, 3, padding="same")(picture) for _ in range(3)]
    added = tf_keras.layers.Add()([tf_keras.layers.Add()(parts[:2]), parts[2]])
    return converted(tf_keras.Model(picture, DepthToSpace(3)(added)))


def converted(network):
    """Convert a network whose every convolution repeats the first channels, plus noise."""
    random = np.random.default_rng(9)
    first = True
    for layer in network.layers:
        if layer.get_weights():
            kernel, bias = layer.get_weights()
            noise = random.normal(0, 0.006, kernel.shape)
            if kernel.shape[3] != 27:
                noise[1, 1, :3, :3] += np.eye(3)
            elif first or kernel.shape[2] != 3:
                noise[1, 1, :3] += np.tile(np.eye(3), 9)
            layer.set_weights([noise, random.normal(0, 0.01, bias.shape)])
            first = False
    return convert_keras(network)


@pytest.fixture(scope="module")
def integer(photographs):
    """Quantize a float model."""

    def quantize(model):
        return cal.quantize(model, cal.collect(model, photographs).merged())

    return quantize


def retrained(kernel):
    """Return weights of another training: the same channels repeated, and other noise."""
    repeated = np.where(np.abs(kernel) > 0.5, kernel, 0)
    noise = np.random.default_rng(kernel.size).normal(0, 0.006, kernel.shape)
    return (repeated + noise).astype(np.float32)


def named_pairs(reference, tested):
    """What the names of the unchanged models say, by number; renaming keeps the numbers."""
    twins = {tensor.name: tensor.index for tensor in Graph(tested).activations}
    return {
        (tensor.index, twins[tensor.name])
        for tensor in Graph(reference).activations
        if tensor.name in twins
    }


def nameless(reference, tested):
    """Match two models whose names mean nothing."""
    return align(Graph(renamed(reference, 1)), Graph(renamed(tested, 2)))


def pairs_of(alignment):
    """The numbers of matched tensors."""
    return {(match.reference.index, match.tested.index) for match in alignment.matches}


def layers_of(graph, constants):
    """The places of the convolutions whose weights are among some tensors."""
    return [
        place for place, one in enumerate(convolutions(graph)) if one.inputs[1] in set(constants)
    ]


class TestLayers:
    """Layers that only one model has, or that another has in its place."""

    @pytest.mark.parametrize("place", [1, 2, 3, 4])
    def test_missing_in_tested(self, chain, integer, place):
        """A layer that the tested model lacks is left over, and no other is taken for it."""
        tested = integer(without_layer(chain, place))
        alignment = nameless(chain, tested)
        assert pairs_of(alignment) == named_pairs(chain, tested)
        assert len(alignment.only_reference) == 1
        # The weights of what follows are left, too: it reads something else.
        left = {0, 1, 2, 3, 4, 5} - {place, place + 1}
        assert layers_of(Graph(chain), alignment.constants.values()) == sorted(left)

    def test_missing_in_reference(self, chain, integer):
        """A layer that only the tested model has is left over."""
        reference, tested = without_layer(chain, 3), integer(chain)
        alignment = nameless(reference, tested)
        assert pairs_of(alignment) == named_pairs(reference, tested)
        assert alignment.only_reference == ()

    def test_wrong_weights(self, chain, integer):
        """A layer with weights that have nothing to do with it is matched by its neighbours."""
        tested = integer(with_weights(chain, retrained, places=[2]))
        alignment = nameless(chain, tested)
        assert pairs_of(alignment) == named_pairs(chain, tested)
        assert layers_of(Graph(chain), alignment.constants.values()) == [0, 1, 2, 3, 4, 5]

    def test_wrong_weights_and_a_missing_layer(self, chain, integer):
        """The same in a model that lacks another layer."""
        tested = integer(without_layer(with_weights(chain, retrained, places=[1]), 4))
        alignment = nameless(chain, tested)
        assert pairs_of(alignment) == named_pairs(chain, tested)
        assert layers_of(Graph(chain), alignment.constants.values()) == [0, 1, 2, 3]

    def test_other_training(self, chain, integer):
        """Networks of one structure match throughout, whatever their weights."""
        tested = integer(with_weights(chain, retrained))
        alignment = nameless(chain, tested)
        assert pairs_of(alignment) == named_pairs(chain, tested)
        assert len(alignment.constants) == 12

    def test_other_training_and_structure(self, chain, integer):
        """If weights and structure differ, nothing but the ends of the network is matched."""
        tested = integer(without_layer(with_weights(chain, retrained), 2))
        alignment = nameless(chain, tested)
        assert pairs_of(alignment) <= named_pairs(chain, tested)
        assert alignment.constants == {}
        # Both pictures are put together from a tensor of the same kind.
        assert [match.how for match in alignment.matches] == ["end", "structure", "end"]

    def test_named(self, chain, integer):
        """Names tell what other weights do not."""
        tested = integer(without_layer(with_weights(chain, retrained), 2))
        alignment = align(Graph(chain), Graph(tested))
        assert pairs_of(alignment) == named_pairs(chain, tested)

    def test_named_between_gaps(self, chain, integer):
        """A name tells what neither weights nor neighbours do."""
        tested = integer(without_layer(without_layer(with_weights(chain, retrained), 3), 1))
        alignment = align(Graph(chain), Graph(tested))
        assert pairs_of(alignment) == named_pairs(chain, tested)

    def test_numbered(self, chain, integer):
        """Names that only count are not taken for names, once weights contradict them."""
        tested = integer(without_layer(chain, 2))
        expected = named_pairs(chain, tested)
        alignment = align(Graph(numbered(chain)), Graph(numbered(tested)))
        assert pairs_of(alignment) == expected

    def test_other_network(self, trained_xcat, uneven_fsrcnn, integer):
        """Of another network, nothing but the picture is matched."""
        named = integer(uneven_fsrcnn)
        for tested in (named, renamed(named, 4)):
            alignment = align(Graph(trained_xcat), Graph(tested))
            assert [match.how for match in alignment.matches] == ["end", "end"]
            assert alignment.constants == {}

    def test_bias_apart(self, chain, integer):
        """What a convolution makes without its bias is not what one makes with it."""
        reference, tested = bias_apart(chain), integer(chain)
        alignment = nameless(reference, tested)
        assert pairs_of(alignment) == named_pairs(reference, tested)
        apart = Graph(reference)
        addition = next(one for one in apart.operators if one.kind == "ADD")
        assert addition.outputs[0] in {one for one, _ in pairs_of(alignment)}
        assert addition.inputs[0] not in {one for one, _ in pairs_of(alignment)}


class TestBranches:
    """Operators that nothing but their weights tells apart."""

    @pytest.mark.parametrize("seed", range(6))
    def test_weights_tell(self, branches, integer, seed):
        """In any order, each is matched to the one with its weights."""
        tested = integer(branches)
        expected = named_pairs(branches, tested)
        (one, places), (other, others) = (
            shuffled(renamed(model, seed), seed) for model in (branches, tested)
        )
        found = pairs_of(align(Graph(one), Graph(other)))
        assert found == {(places[a], others[b]) for a, b in expected}
