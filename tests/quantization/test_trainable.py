"""A Keras model of a float model computes the same, trains, and goes back into the file."""

import numpy as np
import pytest

from qsr.errors import ModelError
from qsr.models.zoo import ZOO, build
from qsr.tflite.convert import convert_keras
from qsr.tflite.graph import Graph

LR = np.random.default_rng(3).random((1, 20, 17, 3), np.float32)


@pytest.fixture(scope="module", params=sorted(ZOO))
def network(request):
    """A network of the zoo as Keras has it, with random weights, and its float ``.tflite``."""
    keras = build(request.param)
    random = np.random.default_rng(2)
    for weight in keras.trainable_weights:
        weight.assign(weight + random.normal(0, 0.01, weight.shape))
    return keras, convert_keras(keras)


def test_computes_the_same(network, run_bare):
    """TFLite's own kernels, running the file, give what the Keras model of it gives, to 1e-5."""
    from qsr.quantization.trainable import trainable_model

    keras, model = network
    trainable = trainable_model(Graph(model))
    np.testing.assert_allclose(trainable.keras(LR), run_bare(model, LR), atol=1e-5)
    counts = [
        sum(int(np.prod(weight.shape)) for weight in one.trainable_weights)
        for one in (trainable.keras, keras)
    ]
    assert counts[0] == counts[1]


def test_weights_go_back(network, run_bare):
    """Changed weights, written into the file, make TFLite compute what Keras computes with them."""
    from qsr.quantization.trainable import trainable_model

    _, model = network
    trainable = trainable_model(Graph(model))
    random = np.random.default_rng(4)
    for weight in trainable.keras.trainable_weights:
        weight.assign(weight + random.normal(0, 0.01, weight.shape))
    changed = trainable.exported(
        {layer.name: layer.get_weights() for layer in trainable.keras.layers if layer.trainable}
    )
    found = run_bare(changed, LR)
    np.testing.assert_allclose(found, trainable.keras(LR), atol=1e-5)
    assert np.abs(found - run_bare(model, LR)).max() > 1e-3


def test_nothing_named_changes_nothing(network):
    """A file that gets no weights keeps its bytes."""
    from qsr.quantization.trainable import trainable_model

    _, model = network
    assert trainable_model(Graph(model)).exported({}) == Graph(model).with_constants({})


def test_shared_weights_are_refused():
    """Weights that two operators share, as fresh biases of zeros do, cannot be trained apart."""
    from qsr.quantization.trainable import trainable_model

    with pytest.raises(ModelError, match="share"):
        trainable_model(Graph(convert_keras(build("abpn"))))


def test_frozen_kernel_is_no_trainable_weight(trained_xcat):
    """The nearest-neighbour kernel of XCAT is not among the trainable weights."""
    from qsr.quantization.trainable import trainable_model

    keras = trainable_model(Graph(trained_xcat)).keras
    frozen = keras.non_trainable_weights
    assert (1, 1, 3, 27) in [tuple(weight.shape) for weight in frozen]


def test_unknown_operator_is_named(converted):
    """An operator that cannot be trained through is named, and the file."""
    import tensorflow as tf

    from qsr.quantization.trainable import trainable_model

    model = converted(lambda picture: tf.repeat(tf.repeat(tf.sin(picture), 3, 1), 3, 2))
    with pytest.raises(ModelError, match=r"^fancy.tflite: \w+ cannot be trained through"):
        trainable_model(Graph(model), source="fancy.tflite")
