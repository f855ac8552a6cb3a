"""Is the output clipped, and does the clip do anything?"""

import math

import pytest

from qsr import calibration as cal
from qsr.checks.clip import output_bounds
from qsr.tflite.fold import fold_copies
from qsr.tflite.graph import Graph


@pytest.fixture(scope="module")
def unclipped(network):
    """A float network that ends in depth-to-space."""
    import tf_keras

    return network(
        tf_keras.layers.Conv2D(8, 3, padding="same", activation="relu"),
        clipped=False,
    )


def test_clipped(found, trained_xcat, abpn):
    """Networks that end in a clip to white, be that 1 or 255, are told to be clipped."""
    for model, white in ((trained_xcat, 1.0), (abpn, 255.0)):
        findings = found(model)
        assert findings["QSR101"][0].evidence["highest"] == white
        assert "QSR102" not in findings


def test_unclipped(found, unclipped, pictures):
    """Without a clip that is told, with what an output grid made from the images costs."""
    assert found(unclipped)["QSR102"][0].cost_db is None
    findings = found(unclipped, pictures)
    assert findings["QSR102"][0].cost_db > 0.05
    assert "QSR101" not in findings


def test_ends_of_fused_activations():
    """Bounds are found in either order, and where a ReLU was fused into what a MINIMUM reads."""
    import tensorflow as tf
    import tf_keras

    from qsr.tflite.convert import convert_keras

    picture = tf_keras.Input((None, None, 3))
    sums = tf_keras.layers.Conv2D(3, 3, padding="same")(picture)
    for result, bounds in [
        (tf.minimum(tf.nn.relu(sums), 1.0), (0.0, 1.0)),
        (tf.nn.relu(tf.minimum(sums, 1.0)), (0.0, 1.0)),
        (tf.minimum(sums, 0.5), (-math.inf, 0.5)),
        (tf.tanh(sums), (-1.0, 1.0)),
    ]:
        graph = Graph(convert_keras(tf_keras.Model(picture, result)))
        assert output_bounds(graph) == bounds


def test_redundant(found, integer):
    """In qsr's integer model the clip copies bytes; folded, the grid alone clips."""
    findings = found(integer)
    assert findings["QSR103"][0].evidence["operators"] == "MINIMUM, RELU"
    assert not {"QSR101", "QSR102", "QSR104"} & findings.keys()
    folded = found(fold_copies(integer))
    assert "QSR104" in folded
    assert not {"QSR101", "QSR102", "QSR103"} & folded.keys()


def test_integer_without_a_clip(found, unclipped, pictures):
    """An integer model without clip is told if its output grid is no picture's, and only then."""
    named = {one.name: one.lr for one in pictures}
    measured = cal.collect(unclipped, named).merged()
    free = found(cal.quantize(unclipped, measured, cal.Scheme(pin_io=False)))
    assert "QSR102" in free
    assert "QSR104" in found(cal.quantize(unclipped, measured))
