"""Weights under one scale for a kernel."""

import numpy as np
import pytest

from qsr import calibration as cal
from qsr.targets.tables import target_named
from qsr.tflite.graph import Graph


@pytest.fixture(scope="module")
def uneven(trained_xcat):
    """``trained_xcat`` with eight output channels of its first convolution 100 times smaller.

    What reads them is 100 times larger where that is one convolution; the network stays the same
    but for the split after it, so its picture changes a little.
    """
    graph = Graph(trained_xcat)
    first = graph.operators[0]
    assert first.kind == "CONV_2D"
    kernel = graph.constant(first.inputs[1]).copy()
    kernel[:8] /= 100
    return graph.with_constants({first.inputs[1]: kernel})


@pytest.fixture(scope="module")
def per_tensor():
    """A target without scales per channel."""
    target = target_named("artpec-8")
    assert not target.per_channel
    return target


def test_uneven(found, uneven, trained_xcat, pictures):
    """Channels that one scale cannot hold are told, with ratio, SQNR and cost; others are not."""
    assert "QSR601" not in found(trained_xcat)
    (finding,) = found(uneven)["QSR601"]
    assert finding.where == "first_conv"
    assert finding.cost_db is None
    graph = Graph(uneven)
    kernel = graph.constant(graph.operators[0].inputs[1]).astype(float)
    largest = np.abs(kernel).max(axis=(1, 2, 3))
    assert finding.evidence["largest_ratio"] == pytest.approx(largest.max() / largest.min())
    step = largest.max() / 127
    noise = np.square(np.rint(kernel / step) * step - kernel).sum(axis=(1, 2, 3))
    sqnr = 10 * np.log10(np.square(kernel).sum(axis=(1, 2, 3)) / noise)
    assert finding.evidence["sqnr_per_tensor_db"] == pytest.approx(sqnr.min())
    assert finding.evidence["channels_short_of_bits"] == (largest.max() / largest > 16).sum() >= 8
    (measured,) = found(uneven, pictures)["QSR601"]
    assert measured.cost_db == pytest.approx(0, abs=0.5)
    assert measured.cost_db != 0


def test_integer_kernel(found, uneven, pictures):
    """The same is told of an integer model's kernel, with scales per channel or without."""
    measured = cal.collect(uneven, {one.name: one.lr for one in pictures}).merged()
    for scheme in (cal.Scheme(), cal.Scheme(per_channel=False)):
        (finding,) = found(cal.quantize(uneven, measured, scheme), pictures)["QSR601"]
        assert finding.evidence["largest_ratio"] > 50
        assert (finding.cost_db is None) == (not scheme.per_channel)


def test_target(*, found, uneven, integer, trained_xcat, ranges, per_tensor):
    """On hardware of one scale per kernel it is a warning, and scales per channel are errors."""
    findings = found(uneven, target=per_tensor)
    assert "QSR601" not in findings
    assert findings["QSR602"][0].severity == "warning"
    assert len(found(integer, target=per_tensor)["QSR603"]) >= 7
    one_scale = cal.quantize(trained_xcat, ranges, cal.Scheme(per_channel=False))
    assert "QSR603" not in found(one_scale, target=per_tensor)
    assert "QSR603" not in found(integer, target=target_named("generic-int8"))
