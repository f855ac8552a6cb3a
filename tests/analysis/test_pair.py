"""Two models run side by side: what can be read, against TFLite's interpreter alone."""

import dataclasses
import importlib

import numpy as np
import pytest

from qsr import calibration as cal
from qsr.analysis.pair import ModelPair
from qsr.errors import ModelError
from qsr.tflite import runtime
from qsr.tflite.graph import Graph
from qsr.tflite.runtime import inspect_model


@pytest.fixture(scope="module")
def pair(trained_xcat, sound):
    """A float network and its integer model."""
    return ModelPair(trained_xcat, sound)


@pytest.fixture
def small_tiles(monkeypatch):
    """Run pictures in tiles of 32 pixels a side at most."""
    monkeypatch.setattr(runtime, "LARGEST_TILE", 32)


def put_together(pair, lr, read):
    """The kept parts of a tensor on all pieces, as the tensor of the whole picture."""
    rows = {}
    for window in pair.windows(lr):
        part = window.kept(read(window))
        rows.setdefault(window.window.kept_rows.start, []).append(part)
    return np.concatenate([np.concatenate(parts, axis=2) for parts in rows.values()], axis=1)


def test_every_tensor(pair, trained_xcat, sound, pictures, all_tensors):
    """Every tensor of both models is what TFLite computes, real numbers and integers."""
    _, lr, _ = pictures[0]
    reals, integers = (
        all_tensors(trained_xcat, lr[None] / np.float32(255)),
        all_tensors(sound, lr[None]),
    )
    (window,) = pair.windows(lr)
    for tensor in pair.reference_graph.activations:
        values = window.reference(tensor.index)
        assert values.dtype == np.float32
        np.testing.assert_array_equal(values, reals[tensor.name][0])
    for tensor in pair.tested_graph.activations:
        codes = window.tested(tensor.index)
        assert str(codes.dtype) == tensor.dtype
        np.testing.assert_array_equal(codes, integers[tensor.name][0])


def test_integer_reference(sound, quantized, pictures, all_tensors):
    """Of an integer reference, what its integers stand for is read."""
    _, lr, _ = pictures[0]
    pair = ModelPair(sound, quantized(io="int8"))
    integers = all_tensors(sound, lr[None])
    (window,) = pair.windows(lr)
    for tensor in pair.reference_graph.activations:
        codes, scale, zero_point = integers[tensor.name]
        expected = scale * (codes.astype(np.float64) - zero_point)
        np.testing.assert_allclose(window.reference(tensor.index), expected, rtol=1e-6)


def test_copies_outlive_the_window(pair, pictures):
    """What was read of one picture is the same after the next has been run."""
    graph = pair.reference_graph
    held = []
    for _, lr, _ in pictures:
        for window in pair.windows(lr):
            arrays = [
                window.reference(graph.output_index),
                window.tested(0),
                window.kept(window.tested(0)),
            ]
            held.append((arrays, [array.copy() for array in arrays]))
    assert len(held) == len(pictures)
    for arrays, known in held:
        for array, expected in zip(arrays, known, strict=True):
            np.testing.assert_array_equal(array, expected)


@pytest.mark.usefixtures("small_tiles")
def test_pieces(trained_xcat, sound, pictures, all_tensors):
    """The kept parts of all pieces, put together, are the tensors of the whole picture."""
    pair = ModelPair(trained_xcat, sound)
    for _, lr, _ in pictures:
        assert len(list(pair.windows(lr))) > 1
        integers = all_tensors(sound, lr[None])
        for match in pair.alignment.matches:
            index = match.tested.index
            found = put_together(pair, lr, lambda window, index=index: window.tested(index))
            np.testing.assert_array_equal(found, integers[match.tested.name][0])


@pytest.fixture(params=["reference", "tested"])
def nearer(request, monkeypatch):
    """Make one of two models be taken for one that sees a pixel around its own."""
    module = importlib.import_module("qsr.analysis.pair")

    def inspect(model, *, source):
        facts = inspect_model(model, source=source)
        radius = 1 if source == request.param else facts.receptive_radius
        return dataclasses.replace(facts, receptive_radius=radius)

    monkeypatch.setattr(module, "inspect_model", inspect)


@pytest.mark.usefixtures("small_tiles", "nearer")
def test_same_pieces(trained_xcat, sound, pictures, all_tensors):
    """Both run in the same pieces, with the overlap that the one that sees further needs."""
    _, lr, _ = pictures[0]
    pair = ModelPair(trained_xcat, sound, reference_source="reference", tested_source="tested")
    output = pair.tested_graph.output_index
    found = put_together(pair, lr, lambda window: window.tested(output))
    np.testing.assert_array_equal(
        found, all_tensors(sound, lr[None])[pair.tested_graph.output.name][0]
    )


@pytest.mark.usefixtures("small_tiles")
def test_one_that_sees_everything(trained_xcat, sound, pictures, monkeypatch):
    """If one of them sees the whole picture, both run on the whole picture."""
    module = importlib.import_module("qsr.analysis.pair")

    def inspect(model, *, source):
        facts = inspect_model(model, source=source)
        return dataclasses.replace(facts, receptive_radius=None) if facts.quantized else facts

    monkeypatch.setattr(module, "inspect_model", inspect)
    assert len(list(ModelPair(trained_xcat, sound).windows(pictures[0][1]))) == 1


def test_padding(abpn, photographs, all_tensors):
    """Of a picture smaller than a fixed size, what it is padded with is not kept."""
    integer = cal.quantize(abpn, cal.collect(abpn, photographs).merged())
    lr = photographs["astronaut"][:25, :30]
    padded = np.pad(lr, ((0, 40 - 25), (0, 48 - 30), (0, 0)), mode="edge")[None]
    integers = all_tensors(integer, padded)
    pair = ModelPair(abpn, integer)
    (window,) = pair.windows(lr)
    factors = set()
    for match in pair.alignment.matches:
        codes = integers[match.tested.name][0]
        factor = codes.shape[1] // 40
        np.testing.assert_array_equal(window.tested(match.tested.index), codes)
        kept = window.kept(window.tested(match.tested.index))
        np.testing.assert_array_equal(kept, codes[:, : 25 * factor, : 30 * factor])
        factors.add(factor)
    assert factors == {1, 3}


def test_ends(pair, trained_xcat, sound):
    """Facts, graphs and names are those of the models, in their order."""
    assert pair.facts == (inspect_model(trained_xcat), inspect_model(sound))
    assert pair.reference_graph.model == trained_xcat
    assert pair.tested_graph.model == sound
    assert Graph(sound).output.name == pair.tested_graph.output.name


def test_no_model(trained_xcat):
    """Bytes that are no model are called by their name."""
    with pytest.raises(ModelError, match=r"^b\.tflite: not a \.tflite model"):
        ModelPair(trained_xcat, b"nothing", tested_source="b.tflite")
