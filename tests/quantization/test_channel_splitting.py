"""Channels are there several times, the network stays what it is, and loses less to rounding."""

import numpy as np
import pytest
from test_equalize import assert_same_output
from test_meshes import crossed

from qsr.calibration import Ranges, Scheme, collect, quantize
from qsr.calibration.quantize import picture_ranges
from qsr.models.zoo import load, pretrained_path
from qsr.quantization.channel_splitting import split_channels, splittable
from qsr.quantization.split_choice import choose_copies
from qsr.tflite.convert import convert_keras
from qsr.tflite.graph import Graph
from qsr.tflite.runtime import Runner

STEP = 1 / 128


@pytest.fixture(scope="module")
def zoo():
    """Give the float ``.tflite`` file of a network with the weights that ship."""
    models = {}

    def converted(name):
        if name not in models:
            models[name] = convert_keras(load(pretrained_path(name)))
        return models[name]

    return converted


def copies_of(model, count):
    """Return so many copies of every channel that can be split."""
    graph = Graph(model)
    return {
        operator.index: np.full(graph.tensors[operator.outputs[0]].shape[-1], count)
        for operator in splittable(graph)
    }


def ranges_of(model, step):
    """Return ranges from 0 that give every activation a grid of that step."""
    names = tuple(tensor.name for tensor in Graph(model).activations)
    count = len(names)
    return Ranges(names, np.zeros(count), np.full(count, 255 * step))


@pytest.mark.parametrize(
    ("name", "places"),
    [
        ("xcat", [0, 2, 3, 6, 7, 9]),
        ("xlsr", [0, 1, 2, 3, 5, 7, 8, 9, 10, 12, 14, 15, 16, 17, 19, 21, 22, 23, 24, 26, 27, 29]),
        ("abpn", [0, 1, 2, 3, 4, 5]),
        ("fsrcnn", [0, 2, 4, 6, 8, 10, 12]),
        ("espcn", []),
    ],
)
def test_same_function(zoo, photographs, run_bare, name, places):
    """With steps next to nothing a split network gives what it did, to 1e-5, in any layer."""
    model = zoo(name)
    copies = copies_of(model, 2)
    assert list(copies) == places
    split = split_channels(Graph(model), ranges_of(model, 1e-9), copies)
    assert_same_output(model, split, photographs, run_bare)
    names = [[tensor.name for tensor in Graph(one).activations] for one in (model, split)]
    assert names[0] == names[1]


def test_uneven_copies(zoo, photographs, run_bare):
    """So it does if only some channels are split, on both sides of XCAT's splits."""
    model = zoo("xcat")
    random = np.random.default_rng(3)
    copies = {place: random.integers(1, 4, len(one)) for place, one in copies_of(model, 1).items()}
    split = split_channels(Graph(model), ranges_of(model, 1e-9), copies)
    assert_same_output(model, split, photographs, run_bare)
    grown = Graph(split)
    made = [grown.tensors[grown.operators[place].outputs[0]].shape[-1] for place in copies]
    assert made == [one.sum() for one in copies.values()]


@pytest.mark.parametrize(
    ("kind", "splittable_convolutions"),
    [
        ("relu", [0, 1, 2]),
        ("relu6", [1, 2]),
        ("read by an addition", [0]),
        ("with the picture", [0, 1, 2]),
    ],
)
def test_what_can_be_split(converted, kind, splittable_convolutions):
    """Behind a ReLU6, before an addition and at the end no channel is split."""
    graph = Graph(converted(crossed(kind)))
    convolutions = [one for one in graph.operators if one.kind == "CONV_2D"]
    assert [convolutions.index(one) for one in splittable(graph)] == splittable_convolutions


@pytest.mark.parametrize(("groups", "places"), [(1, [0, 1, 2]), (3, [0])])
def test_groups(converted, groups, places):
    """A convolution in groups splits nothing and reads nothing that is split; no bias is needed."""

    def build_layers(picture):
        import tf_keras

        conv, transposed = tf_keras.layers.Conv2D, tf_keras.layers.Conv2DTranspose
        features = conv(9, 3, padding="same", activation="relu")(picture)
        features = conv(9, 3, padding="same", activation="relu")(features)
        features = conv(9, 3, padding="same", groups=groups)(features)
        return transposed(3, 3, strides=3, padding="same", use_bias=False)(features)

    assert [one.index for one in splittable(Graph(converted(build_layers)))] == places


@pytest.mark.parametrize("name", ["xcat", "fsrcnn"])
def test_no_offset(zoo, photographs, name):
    """At real steps a network whose every channel is split gives no brighter or darker pictures."""
    model = zoo(name)
    ranges = collect(model, photographs).merged()
    plain, split = Runner(model), Runner(split_channels(Graph(model), ranges, copies_of(model, 2)))
    off = [split.upscale(lr).astype(int) - plain.upscale(lr) for lr in photographs.values()]
    values = np.concatenate([one.ravel() for one in off])
    assert abs(values.mean()) < 0.015
    assert np.abs(values).max() <= 1


def test_replaced_weights_are_gone(zoo):
    """The file holds the new weights in place of the old ones."""
    model = zoo("xcat")
    split = split_channels(Graph(model), ranges_of(model, 1e-9), copies_of(model, 2))
    stored = {id(one): one for one in map(Graph(split).constant, _constants(split))}
    weights = sum(one.nbytes for one in stored.values())
    assert (
        len(split) - weights
        < len(model)
        - sum(Graph(model).constant(index).nbytes for index in _constants(model))
        + 1000
    )


def _constants(model):
    return [one.index for one in Graph(model).tensors if one.constant and one.dtype == "float32"]


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_finer_steps(small_green, photographs, count):
    """Through a grid of step s, k copies of green give a green that is off by s/2k at most."""
    ranges = ranges_of(small_green, STEP)
    graph = Graph(small_green)
    known = dict.fromkeys(picture_ranges(graph), (0.0, 1.0))
    split = split_channels(graph, ranges, {0: np.array([1, count, 1])})
    integer = Runner(quantize(split, ranges.with_known(known)))
    errors = [
        np.abs(integer.upscale(lr).astype(int) - lr.repeat(3, axis=0).repeat(3, axis=1))[..., 1]
        for lr in photographs.values()
    ]
    most = 255 * 4 * STEP / 2 / count  # green is enlarged four times
    assert most - 1 <= max(error.max() for error in errors) <= most + 1


def test_parts_round_to_the_whole(zoo, photographs):
    """Two parts of a weight, rounded, sum up to it within half a step of their own grid."""
    model = zoo("xcat")
    ranges = collect(model, photographs).merged()
    split = split_channels(Graph(model), ranges, copies_of(model, 2))
    kernels = []
    for network in (model, quantize(split, ranges)):
        graph = Graph(network)
        *_, output_conv = (one for one in graph.operators if one.kind == "CONV_2D")
        kernels.append(
            (graph.tensors[output_conv.inputs[1]], graph.constant(output_conv.inputs[1]))
        )
    (_, weights), (tensor, parts) = kernels
    steps = tensor.scale[:, None, None, None]
    sums = parts.astype(float).reshape(*weights.shape, 2).sum(axis=-1) * steps
    assert parts.dtype == np.int8
    assert np.abs(sums - weights).max() > 0
    assert (np.abs(sums - weights) <= 0.55 * steps).all()


def test_the_noisiest(small_green, photographs):
    """What matters most gets the first copies, and what is added last is worth it, too."""
    ranges, pictures = ranges_of(small_green, STEP), list(photographs.values())
    measured = []

    def chosen(limit):
        copies = choose_copies(
            small_green,
            ranges,
            pictures,
            Scheme(),
            limit,
            source="model",
            on_channel=lambda done, total: measured.append((done, total)),
        )
        return {place: one.tolist() for place, one in copies.items()}

    assert chosen(0) == {}
    assert chosen(1) == {0: [1, 2, 1]}
    assert chosen(2) == {0: [1, 3, 1]}
    assert measured == [(1, 3), (2, 3), (3, 3)] * 3


def test_loses_less(zoo, photographs):
    """XCAT with eight channels added comes closer to its float network than as it was."""
    model = zoo("xcat")
    pictures = [photographs["astronaut"], photographs["coffee"]]
    ranges = collect(model, photographs).merged()
    copies = choose_copies(
        model, ranges, pictures, Scheme(), 8, source="model", on_channel=lambda *_: None
    )
    assert sum(int((counts - 1).sum()) for counts in copies.values()) == 8
    plain, split = (
        Runner(quantize(one, ranges))
        for one in (model, split_channels(Graph(model), ranges, copies))
    )
    errors = {plain: 0.0, split: 0.0}
    for lr in photographs.values():
        wanted = Runner(model).upscale(lr).astype(float)
        for runner in errors:
            errors[runner] += np.square(runner.upscale(lr) - wanted).sum()
    assert errors[split] < 0.9 * errors[plain]
