"""Accumulated errors, against the formulas on what TFLite's interpreter gives by itself."""

import math

import numpy as np
import pytest
import tf_keras

from qsr import calibration as cal
from qsr.analysis.accumulated import accumulated_sums
from qsr.analysis.pair import ModelPair
from qsr.analysis.sums import added
from qsr.errors import ModelError
from qsr.tflite import runtime


def sums_on(pair, pictures):
    """The sums over all pieces of all pictures."""
    return added(
        accumulated_sums(window, pair.alignment)
        for _, lr, _ in pictures
        for window in pair.windows(lr)
    )


def real(tensor):
    """What a tensor that TFLite gave stands for, as a float of its own, without its shape."""
    values, scale, zero_point = tensor
    values = values.astype(np.float64).ravel()
    real_values = scale * (values - zero_point) if scale else values
    return real_values.astype(np.float32).astype(np.float64)


def assert_as_by_formula(record, f, q, grid):
    """Check a record against the definitions of its measurements."""
    half = grid.scale / 2
    expected = {
        "sqnr_db": 10 * math.log10((f**2).sum() / ((q - f) ** 2).sum()),
        "mse": ((q - f) ** 2).mean(),
        "mean_error": (q - f).mean(),
        "max_error": np.abs(q - f).max(),
        "cosine": f @ q / (np.linalg.norm(f) * np.linalg.norm(q)),
        "saturated_low": (f < grid.minimum - half).mean(),
        "saturated_high": (f > grid.maximum + half).mean(),
        "used_levels": np.unique(np.rint(q / grid.scale)).size / 256,
    }
    found = {name: getattr(record, name) for name in expected}
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.fixture(scope="module")
def references(trained_xcat, quantized):
    """A float and an integer reference."""
    return {"float": trained_xcat, "integer": quantized({}, per_channel=False)}


@pytest.mark.parametrize("kind", ["float", "integer"])
def test_every_tensor(references, sound, pictures, all_tensors, kind):
    """Each tensor's error over all pictures is what the formulas give on whole tensors."""
    reference = references[kind]
    pair = ModelPair(reference, sound)
    sums = sums_on(pair, pictures)
    inputs = [
        lr[None] if kind == "integer" else lr[None] / np.float32(255) for _, lr, _ in pictures
    ]
    references = [all_tensors(reference, picture) for picture in inputs]
    integers = [all_tensors(sound, lr[None]) for _, lr, _ in pictures]
    assert list(sums) == [match.tested.index for match in pair.alignment.matches]
    checked = 0
    for match in pair.alignment.matches:
        f = np.concatenate([real(run[match.reference.name]) for run in references])
        q = np.concatenate([real(run[match.tested.name]) for run in integers])
        if not np.allclose(f, q, rtol=0, atol=1e-6):  # noise of the last bits of a float
            assert_as_by_formula(sums[match.tested.index].tensor_error, f, q, match.grid)
            checked += 1
    assert checked >= 15


def test_channels(trained_xcat, sound, pictures, all_tensors):
    """Channels are the last axis, in their order."""
    _, lr, _ = pictures[1]
    pair = ModelPair(trained_xcat, sound)
    sums = sums_on(pair, [pictures[1]])
    floats, integers = (
        all_tensors(trained_xcat, lr[None] / np.float32(255)),
        all_tensors(sound, lr[None]),
    )
    match = next(one for one in pair.alignment.matches if one.operator == "CONV_2D")
    f = real(floats[match.reference.name]).reshape(-1, match.tested.shape[-1])
    q = real(integers[match.tested.name]).reshape(f.shape)
    channels = sums[match.tested.index].tensor_error.channels
    np.testing.assert_allclose(channels.mean_error, (q - f).mean(axis=0), rtol=1e-5, atol=1e-9)
    signal = (f * f).sum(axis=0)
    gain = np.divide((f * q).sum(axis=0), signal, where=signal > 0, out=np.zeros_like(signal))
    np.testing.assert_allclose(channels.gain, gain, rtol=1e-6)
    np.testing.assert_allclose(channels.mse, np.square(q - f).mean(axis=0), rtol=1e-5, atol=1e-12)
    lengths = np.linalg.norm(f, axis=0) * np.linalg.norm(q, axis=0)
    kept = lengths > 0
    np.testing.assert_allclose(
        np.array(channels.cosine)[kept], (f * q).sum(axis=0)[kept] / lengths[kept], rtol=1e-6
    )
    half = match.grid.scale / 2
    assert channels.saturated_low == tuple((f < match.grid.minimum - half).mean(axis=0))
    assert channels.saturated_high == tuple((f > match.grid.maximum + half).mean(axis=0))
    assert 0 in signal  # a channel that its RELU shuts off


def test_a_model_with_itself(sound, pictures):
    """A model is no different from itself."""
    for sums in sums_on(ModelPair(sound, sound), pictures).values():
        error = sums.tensor_error
        assert (error.sqnr_db, error.max_error) == (math.inf, 0.0)


def test_pieces(trained_xcat, sound, pictures, monkeypatch):
    """Pictures run in overlapping pieces count every value once."""
    whole = sums_on(ModelPair(trained_xcat, sound), pictures)
    monkeypatch.setattr(runtime, "LARGEST_TILE", 32)
    tiled = sums_on(ModelPair(trained_xcat, sound), pictures)
    assert tiled.keys() == whole.keys()
    for index, sums in whole.items():
        assert tiled[index].count == sums.count
        assert tiled[index].levels.tolist() == sums.levels.tolist()
        assert tiled[index].tensor_error.mse == pytest.approx(sums.tensor_error.mse, rel=1e-5)


def test_not_finite(unlike_xcat, pictures):
    """A reference that divides by the black of a picture: the tensor is named."""
    model = unlike_xcat(3, lambda x: x + 1e-6 * tf_keras.backend.pow(x, -0.5))
    name, lr, _ = pictures[0]
    lr = np.maximum(lr, 20)
    integer = cal.quantize(model, cal.collect(model, {name: lr}).merged())
    pair = ModelPair(model, integer, reference_source="fp32.tflite")
    sums_on(pair, [(name, lr, None)])
    lr[3, 4] = 0
    with pytest.raises(ModelError, match=r"^fp32\.tflite: .* is not finite$"):
        sums_on(pair, [(name, lr, None)])
