"""The nearest-neighbour kernel: nothing that is done to a network changes one bit of it."""

import numpy as np
import pytest
import tf_keras

from qsr.models.xcat import XcatConfig, build_xcat
from qsr.models.zoo import load, save
from qsr.tflite.convert import convert_keras
from qsr.tflite.graph import Graph

KERNEL = np.tile(np.eye(3, dtype=np.float32), 9)


def anchor(model):
    """Read the kernel of a Keras model, (3, 27)."""
    (kernel,) = model.get_layer("nearest_neighbor").get_weights()
    return kernel[0, 0]


def train(model, picture):
    """Take three steps towards a picture that the anchor does not give."""
    model.compile(tf_keras.optimizers.Adam(1e-2), "mse")
    target = 1 - picture.repeat(3, axis=1).repeat(3, axis=2)
    for _ in range(3):
        model.train_on_batch(picture, target)


@pytest.fixture(scope="module")
def trained(picture):
    """A network that was declared trainable as a whole, and then trained."""
    model = build_xcat(XcatConfig(blocks=1))
    before = model.get_layer("output_conv").get_weights()[1]
    model.trainable = True
    for layer in model.layers:
        layer.trainable = True
    train(model, picture)
    assert not np.array_equal(model.get_layer("output_conv").get_weights()[1], before)
    return model


def test_training(trained):
    """Training steps leave the kernel as it is, even if every layer is declared trainable."""
    assert anchor(trained).tobytes() == KERNEL.tobytes()


def test_keras_file(trained, tmp_path):
    """A model from a .keras file has the same kernel, still frozen, and gives the same output."""
    save(trained, tmp_path / "a.keras")
    loaded = load(tmp_path / "a.keras")
    assert anchor(loaded).tobytes() == KERNEL.tobytes()
    assert not [w for w in loaded.trainable_weights if "nearest" in w.name]


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_h5_file(trained, tmp_path):
    """A model from an .h5 file has the same kernel, still frozen."""
    trained.save(tmp_path / "a.h5")
    loaded = load(tmp_path / "a.h5")
    assert anchor(loaded).tobytes() == KERNEL.tobytes()
    assert not [w for w in loaded.trainable_weights if "nearest" in w.name]


def test_loaded_and_trained(trained, picture, tmp_path):
    """Training that goes on from a file leaves the kernel as it is, too."""
    save(trained, tmp_path / "a.keras")
    loaded = load(tmp_path / "a.keras")
    loaded.trainable = True
    train(loaded, picture)
    assert anchor(loaded).tobytes() == KERNEL.tobytes()


def test_tflite_file(trained):
    """The .tflite file holds the same kernel, as the filter of a 1x1 convolution."""
    graph = Graph(convert_keras(trained))
    filters = [
        graph.constant(operator.inputs[1])
        for operator in graph.operators
        if operator.kind == "CONV_2D"
    ]
    (kernel,) = [values for values in filters if values.shape == (27, 1, 1, 3)]
    assert kernel[:, 0, 0].T.tobytes() == KERNEL.tobytes()


def test_trainable_anchor(picture):
    """The variant that the paper advises against does train the kernel, and counts it."""
    model = build_xcat(XcatConfig(blocks=1, trainable_anchor=True))
    assert anchor(model).tobytes() == KERNEL.tobytes()
    assert not model.non_trainable_weights
    train(model, picture)
    assert np.abs(anchor(model) - KERNEL).max() > 1e-3
