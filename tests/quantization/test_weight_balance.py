"""Balancing leaves the function of a network alone, and gives kernels channels of one size."""

import numpy as np
import pytest

from qsr.calibration import Scheme, collect, quantize
from qsr.quantization.chains import find_chains
from qsr.quantization.meshes import find_meshes
from qsr.quantization.weight_balance import balance_weights
from qsr.tflite.graph import Graph
from qsr.tflite.runtime import Runner


@pytest.fixture(scope="module")
def uneven_xcat(trained_xcat):
    """An XCAT of the same function, whose channels differ in size up to 30 times."""
    from qsr.quantization.equalize import rescale_mesh

    graph, values = Graph(trained_xcat), {}
    random = np.random.default_rng(2)
    for mesh in find_meshes(graph):
        count = sum(graph.tensors[maker.inputs[1]].shape[0] for maker in mesh.makers)
        rescale_mesh(graph, mesh, np.exp(random.uniform(-1.7, 1.7, count)), values)
    return graph.with_constants({index: new.astype(np.float32) for index, new in values.items()})


@pytest.mark.parametrize(
    "name", ["uneven_xcat", "trained_xcat", "abpn_of_any_size", "fsrcnn", "uneven_fsrcnn"]
)
def test_networks_keep_their_function(request, photographs, run_bare, name):
    """The networks of the zoo and of other projects compute what they did."""
    model = request.getfixturevalue(name)
    white = 255.0 if name.startswith("abpn") else 1.0
    balanced = balance_weights(model)
    assert balanced != model
    for lr in photographs.values():
        values = lr[None].astype(np.float32) * np.float32(white / 255)
        expected = run_bare(model, values)
        error = np.abs(run_bare(balanced, values) - expected).max()
        assert error <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("name", ["abpn_of_any_size", "uneven_fsrcnn"])
def test_both_kernels_span_as_much(request, name):
    """The largest weight of each channel is the same on both sides, to a few percent."""
    graph = Graph(balance_weights(request.getfixturevalue(name)))
    chains = find_chains(graph)
    assert chains
    for chain in chains:
        first = np.abs(graph.constant(chain.first_kernel))
        others = tuple(axis for axis in range(first.ndim) if axis != chain.channel_axis)
        second = np.abs(graph.constant(chain.second_kernel)).max(axis=(0, 1, 2))
        np.testing.assert_allclose(first.max(axis=others), second, rtol=0.05)


def test_channels_of_a_mesh_too(uneven_xcat):
    """The same, where channels are split and joined and a channel may have several readers."""
    graph = Graph(balance_weights(uneven_xcat))
    meshes = find_meshes(graph)
    assert meshes
    for mesh in meshes:
        made = [
            np.abs(graph.constant(maker.inputs[1])).max(axis=(1, 2, 3)) for maker in mesh.makers
        ]
        first = np.concatenate(made)
        second = np.zeros_like(first)
        for reader, channels in mesh.readers:
            kernel = np.abs(graph.constant(reader.inputs[1])).max(axis=(0, 1, 2))
            second[channels] = np.maximum(second[channels], kernel)
        np.testing.assert_allclose(first, second, rtol=0.05)


@pytest.mark.parametrize("name", ["uneven_xcat", "uneven_fsrcnn"])
def test_one_scale_for_each_kernel_is_enough(request, photographs, name):
    """With weights per tensor, the mean squared error of the integer model is at least halved."""
    model = request.getfixturevalue(name)
    true = Runner(model)

    def error(network):
        ranges = collect(network, photographs).merged()
        runner = Runner(quantize(network, ranges, Scheme(per_channel=False)))
        shown = [
            (runner.upscale(lr).astype(float), true.upscale(lr).astype(float))
            for lr in photographs.values()
        ]
        return np.mean([np.mean((found - wanted) ** 2) for found, wanted in shown])

    assert error(balance_weights(model)) < error(model) / 2


def test_nothing_to_balance(converted):
    """A network without two convolutions in a row stays, byte by byte."""

    def one_layer(picture):
        import tensorflow as tf
        import tf_keras

        return tf.nn.depth_to_space(tf_keras.layers.Conv2D(27, 3, padding="same")(picture), 3)

    model = converted(one_layer)
    assert balance_weights(model) == model


def test_dead_channels_stay_finite(uneven_fsrcnn):
    """A channel without weights on one side is left alone."""
    graph = Graph(uneven_fsrcnn)
    chain = find_chains(graph)[0]
    first = graph.constant(chain.first_kernel).copy()
    first[0] = 0
    second = graph.constant(chain.second_kernel).copy()
    second[..., 1] = 0
    dead = graph.with_constants({chain.first_kernel: first, chain.second_kernel: second})
    balanced = Graph(balance_weights(dead))
    for tensor in balanced.tensors:
        if tensor.constant and tensor.dtype == "float32":
            assert np.isfinite(balanced.constant(tensor.index)).all()
    np.testing.assert_array_equal(
        balanced.constant(chain.second_kernel)[..., 0] != 0, second[..., 0] != 0
    )
