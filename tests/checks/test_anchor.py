"""The copy of the picture that a network adds to."""

import numpy as np
import pytest

from qsr import calibration as cal
from qsr.calibration.quantize import picture_ranges
from qsr.checks.subject import TrainableKernel
from qsr.checks.trainable import trainable_copies
from qsr.models.xcat import XcatConfig, build_xcat
from qsr.tflite.graph import Graph

EVERY_BYTE = np.repeat(np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1), 3, axis=3)


@pytest.fixture(scope="module")
def anchor(trained_xcat):
    """Name of the tensor that the frozen kernel of ``trained_xcat`` makes."""
    (name,) = [
        tensor.name for tensor in Graph(trained_xcat).activations if "nearest" in tensor.name
    ]
    return name


@pytest.fixture(scope="module")
def overwritten(trained_xcat, ranges, anchor):
    """An integer model whose copy has the range that TFLite's calibrator was seen to record."""
    known = picture_ranges(Graph(trained_xcat))
    wrong = ranges.with_known(known | {anchor: (0.042, 1.151)})
    return cal.quantize(trained_xcat, wrong, cal.Scheme(pin_io=False))


def test_exact(found, trained_xcat, integer, abpn):
    """Kernels and concatenations that copy are exact, in float and in integers."""
    for model in (trained_xcat, integer, abpn):
        findings = found(model)
        assert len(findings["QSR301"]) == 1
        assert not {"QSR302", "QSR303", "QSR304", "QSR401"} & findings.keys()


def test_no_copy(found, espcn):
    """A network without such a kernel has no finding about one."""
    assert not {code for code in found(espcn) if code.startswith("QSR3")}


def test_damaged(found, overwritten, anchor, run_bare):
    """A copy on another grid is an error; how many bytes change is what the interpreter does."""
    (finding,) = found(overwritten)["QSR304"]
    graph = Graph(overwritten)
    index = next(tensor.index for tensor in graph.tensors if tensor.name == anchor)
    copy = graph.tensors[index]
    made = run_bare(graph.pruned([index]), EVERY_BYTE)[0, ..., 0].astype(float)
    real = (made - copy.zero_point[0]) * copy.scale[0]
    errors = np.abs(real - EVERY_BYTE[0, ..., 0] / 255) * 255
    assert finding.evidence["changed_values"] == (errors > 1e-3).sum()
    assert finding.evidence["worst_error_levels"] == pytest.approx(errors.max(), abs=5e-3)
    assert "QSR301" not in found(overwritten)


def test_overwritten(found, overwritten, integer, pictures):
    """A copy whose grid is not its source's was recorded too late; what it costs is measured."""
    findings = found(overwritten, pictures)
    (finding,) = findings["QSR401"]
    assert finding.evidence["grid_maximum"] == pytest.approx(1.151, abs=1e-4)
    assert finding.evidence["source_maximum"] == pytest.approx(1.0, abs=1e-4)
    assert finding.cost_db > 0
    assert findings["QSR304"][0].cost_db is None  # the same cost, told once
    assert "QSR401" not in found(integer)


def test_narrower(found, trained_xcat, ranges, anchor, pictures):
    """A copy on a narrower grid is damaged, at a cost, but that proves no wrong recording."""
    known = picture_ranges(Graph(trained_xcat))
    narrow = ranges.with_known(known | {anchor: (0.0, 0.8)})
    findings = found(cal.quantize(trained_xcat, narrow, cal.Scheme(pin_io=False)), pictures)
    assert findings["QSR304"][0].cost_db > 0
    assert "QSR401" not in findings


def test_trainable():
    """A trainable kernel of Keras is found, changed or not, and a frozen one is not."""
    frozen = build_xcat(XcatConfig())
    assert trainable_copies(frozen) == ()
    trainable = build_xcat(XcatConfig(trainable_anchor=True))
    assert trainable_copies(trainable) == (TrainableKernel("nearest_neighbor", 81),)


def test_trainable_is_told(found, trained_xcat):
    """What Keras says of the kernel is a finding, beside what its weights are now."""
    kernels = (TrainableKernel("nearest_neighbor", 81),)
    findings = found(trained_xcat, trainable=kernels)
    assert findings["QSR302"][0].where == "nearest_neighbor"
    assert "QSR301" in findings


@pytest.mark.parametrize("in_integers", [False, True])
def test_changed(*, in_integers, found, trained_xcat, ranges):
    """A kernel that training has moved is told, with how far white comes out off."""
    graph = Graph(trained_xcat)
    (convolution,) = [
        operator
        for operator in graph.operators
        if "nearest" in graph.tensors[operator.outputs[0]].name
    ]
    kernel = graph.constant(convolution.inputs[1]).copy()
    kernel[0] *= 0.9
    kernel[1, 0, 0, 0] += 0.02
    model = graph.with_constants({convolution.inputs[1]: kernel})
    if in_integers:
        model = cal.quantize(model, ranges)
    findings = found(model)
    (finding,) = findings["QSR303"]
    assert finding.evidence["deviation"] == pytest.approx(0.1, abs=0.01)
    assert finding.evidence["white_error_levels"] == pytest.approx(25.5, abs=2)
    assert "QSR301" not in findings


def test_wrong_order(found, trained_xcat):
    """A kernel of 0 and 1 that swaps colours is no nearest-neighbour copy."""
    graph = Graph(trained_xcat)
    (convolution,) = [
        operator
        for operator in graph.operators
        if "nearest" in graph.tensors[operator.outputs[0]].name
    ]
    kernel = graph.constant(convolution.inputs[1]).copy()
    kernel[[0, 1]] = kernel[[1, 0]]
    findings = found(graph.with_constants({convolution.inputs[1]: kernel}))
    assert "QSR303" in findings
    assert "QSR301" not in findings
