"""What is added and joined."""

from functools import cache

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio

from qsr import calibration as cal
from qsr.calibration.quantize import picture_ranges
from qsr.checks.subject import Picture
from qsr.tflite.graph import Graph
from qsr.tflite.runtime import Runner


@pytest.fixture(scope="module")
def residual(network):
    """Make a network that adds in its body, one addend scaled: ``residual(gain, joined=False)``."""
    import tf_keras

    @cache
    def make(gain, *, joined=False):
        def body(picture):
            first = tf_keras.layers.Conv2D(8, 3, padding="same", name="one")(picture)
            second = tf_keras.layers.Conv2D(8, 3, padding="same", name="other")(picture)
            join = tf_keras.layers.Concatenate if joined else tf_keras.layers.Add
            features = join(name="joined")([first, second])
            return tf_keras.layers.Conv2D(8, 3, padding="same", name="after")(features)

        def change(model):
            layer = model.get_layer("other")
            layer.set_weights([gain * weights for weights in layer.get_weights()])

        return network(body, change=change)

    return make


@pytest.fixture(scope="module")
def even(residual):
    """That network with addends of one size."""
    return residual(1.0)


def measured(model, pictures):
    """Return the true ranges of a model on the pictures."""
    return cal.collect(model, {one.name: one.lr for one in pictures}).merged()


def tensor_named(model, part):
    """Return the tensor of a model in whose name a word is."""
    (tensor,) = [one for one in Graph(model).activations if f"/{part}/" in one.name]
    return tensor


def test_grid_of_the_sum(found, even, pictures):
    """An addend that has the sum's very grid is told, and one of its own range is not."""
    ranges = measured(even, pictures)
    assert "QSR402" not in found(cal.quantize(even, ranges))
    names = list(ranges.tensors)
    total, addend = (tensor_named(even, one).name for one in ("joined", "one"))
    column = names.index(total)
    span = float(ranges.minimum[column]), float(ranges.maximum[column])
    (finding,) = found(cal.quantize(even, ranges.with_known({addend: span})))["QSR402"]
    assert finding.where == "one"


def test_wide_addend(found, even, pictures):
    """An addend whose grid holds far more than the images do is told, with what that costs."""
    ranges = measured(even, pictures)
    assert "QSR404" not in found(cal.quantize(even, ranges), pictures)
    addend = tensor_named(even, "residual").name
    known = picture_ranges(Graph(even)) | {addend: (-8.0, 8.0)}
    wide = cal.quantize(even, ranges.with_known(known))
    assert "QSR404" not in found(wide)  # without images nobody knows
    (finding,) = found(wide, pictures)["QSR404"]
    assert finding.where == "residual"
    assert finding.evidence["ratio"] > 3
    assert finding.cost_db > 0.1


def test_wrongly_recorded(found, trained_xcat, pictures):
    """A tensor that TFLite's calibrator gives another range than the true one is told."""
    named = {one.name: one.lr for one in pictures}
    true = cal.collect(trained_xcat, named).merged()
    recorded = cal.collect(trained_xcat, named, reader="converter").merged()
    span = np.maximum(true.maximum, 0) - np.minimum(true.minimum, 0)
    off = np.maximum(
        np.abs(true.minimum - recorded.minimum), np.abs(true.maximum - recorded.maximum)
    )
    wrong = {true.tensors[place] for place in np.flatnonzero(off > 0.01 * span)}
    assert wrong
    findings = found(trained_xcat, pictures)["QSR403"]
    assert len(findings) == len(wrong)
    assert all(finding.where in " ".join(wrong) for finding in findings)
    assert all(finding.cost_db is not None for finding in findings)


def test_cost_of_wrong_record(found, trained_xcat, pictures):
    """The cost is that of the record alone, whatever else the calibrator did not get to see.

    It reads four pictures; the fifth, which has more contrast, is not in its range, nor in the true
    one that it is measured against. scikit-image measures both.
    """
    grey = [
        Picture(f"{name}{one.name}", mild(one.lr), mild(one.hr))
        for one in pictures[:2]
        for name in ("", "again")
    ]
    several = (*grey, pictures[2])
    named = {one.name: one.lr for one in grey}
    everything = {one.name: one.lr for one in several}
    ranges = cal.collect(trained_xcat, everything).merged()
    ranges = ranges.with_known(picture_ranges(Graph(trained_xcat)))
    true = cal.collect(trained_xcat, named).merged()
    recorded = cal.collect(trained_xcat, named, reader="converter").merged()
    findings = found(trained_xcat, several)["QSR403"]
    assert findings
    for finding in findings:
        (name,) = [one for one in true.tensors if finding.where in one]
        spans = [
            (float(one.minimum[place]), float(one.maximum[place]))
            for one in (true, recorded)
            for place in [one.tensors.index(name)]
        ]
        intact, overwritten = (
            mean_psnr(trained_xcat, ranges.with_known({name: span}), several) for span in spans
        )
        assert finding.cost_db == pytest.approx(intact - overwritten, abs=1e-9)
        assert finding.evidence["calibrated_images"] == 4
        assert "on the same 4 images" in finding.problem
        whole = mean_psnr(trained_xcat, ranges, several)
        assert abs(whole - intact) > 1e-4  # the other effect, which is not in the cost


def mild(picture):
    """Return a picture with a fifth of its contrast."""
    return np.rint(100 + picture / 5).astype(np.uint8)


def mean_psnr(model, ranges, several):
    """Return the mean PSNR of the integer model with these ranges, as scikit-image has it."""
    runner = Runner(cal.quantize(model, ranges, cal.Scheme(pin_io=False)))
    return np.mean(
        [
            peak_signal_noise_ratio(
                one.hr[1:-1, 1:-1], runner.upscale(one.lr)[1:-1, 1:-1], data_range=255
            )
            for one in several
        ]
    )


@pytest.mark.parametrize(("joined", "code"), [(False, "QSR501"), (True, "QSR502")])
@pytest.mark.parametrize("in_integers", [False, True])
def test_unequal(*, joined, code, in_integers, residual, found, pictures):
    """Operands of very different sizes are told, with the ratio; operands of one size are not."""
    for gain, ratio in ((1.0, None), (0.02, 50)):
        model = residual(gain, joined=joined)
        if in_integers:
            model = cal.quantize(model, measured(model, pictures))
        findings = found(model, pictures)
        of_body = [one for one in findings.get(code, []) if one.where == "joined"]
        if ratio is None:
            assert not of_body
        else:
            (finding,) = of_body
            assert finding.evidence["ratio"] == pytest.approx(ratio, rel=0.8)


def test_unequal_without_images(found, residual, pictures):
    """In an integer model the scales of addends tell it without images."""
    model = residual(0.02)
    findings = found(cal.quantize(model, measured(model, pictures)))
    assert any(finding.where == "joined" for finding in findings["QSR501"])
