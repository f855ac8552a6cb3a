"""Operators in float, and operators that a target does not run."""

import pytest

from qsr import calibration as cal
from qsr.targets.tables import target_named
from qsr.tflite.fixed_size import with_input_size


@pytest.fixture(scope="module")
def with_sine(network):
    """A float network with a sine, which TFLite does not quantize."""
    import tensorflow as tf
    import tf_keras

    return network(
        lambda picture: tf.sin(tf_keras.layers.Conv2D(4, 3, padding="same")(picture)),
    )


def test_all_integer(found, integer):
    """An integer model without float operators has no finding of them."""
    assert not {"QSR901", "QSR902", "QSR903"} & found(integer).keys()


def test_float_inside(found, with_sine, pictures):
    """A sine between integer convolutions computes in float, which is an error."""
    ranges = cal.collect(with_sine, {one.name: one.lr for one in pictures}).merged()
    (finding,) = found(cal.quantize(with_sine, ranges))["QSR901"]
    assert "SIN" in finding.problem
    assert finding.severity == "error"


def test_refused(found, trained_xcat, xcat_keras, pictures):
    """A model that TFLite's quantizer refuses is told with its reason, and nothing is simulated."""
    import tensorflow as tf

    assert "QSR903" not in found(trained_xcat, pictures[:1])
    converter = tf.lite.TFLiteConverter.from_keras_model(xcat_keras)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
    findings = found(converter.convert(), pictures[:1])
    assert "float16" in findings["QSR903"][0].problem
    assert "QSR403" not in findings


def test_edge_tpu(found, integer):
    """Depth-to-space is an error on the Edge TPU, with what says so; any size is too."""
    findings = found(integer, target=target_named("edge-tpu"))
    (finding,) = findings["QSR904"]
    assert finding.problem.startswith("DEPTH_TO_SPACE")
    assert finding.evidence["source"] == "https://github.com/google-coral/edgetpu/issues/386"
    assert (
        "qsr quantize FLOAT_MODEL --repdata PHOTO... --input-size" in findings["QSR906"][0].advice
    )
    assert "QSR906" not in found(
        with_input_size(integer, (24, 32)), target=target_named("edge-tpu")
    )
    assert "SPLIT_V" in findings["QSR905"][0].problem


def test_other_targets(found, integer, abpn):
    """Hexagon has depth-to-space, but no split into unequal parts; any runtime runs all."""
    assert (
        not {"QSR904", "QSR905", "QSR906"}
        & found(integer, target=target_named("generic-int8")).keys()
    )
    (finding,) = found(integer, target=target_named("hexagon"))["QSR904"]
    assert "SPLIT_V" in finding.problem
    assert "DEPTH_TO_SPACE" not in finding.problem
    assert "QSR906" not in found(abpn, target=target_named("ethos-u"))
    assert "QSR904" not in found(integer)
