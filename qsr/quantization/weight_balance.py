"""Weight balancing: all channels of a kernel of one scale get weights of about one size.

Where a kernel has one scale for all its output channels, a channel of small weights gets few steps.
Between two convolutions a channel may be divided by s and multiplied by it again without a trace
(:mod:`.equalize`). The precision of both kernels' channels together is best where both span as much
(Nagel et al., 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction",
equation 11): ``s = sqrt(r1 / r2)``, with r1 and r2 the largest magnitudes of the channel's weights
in the first and the second kernel. No image is needed.
"""

import numpy as np
from numpy.typing import NDArray

from qsr.quantization.chains import Chain, find_chains
from qsr.quantization.channels import Channels
from qsr.quantization.equalize import Rescaling, current_values, rescale_chain, rescale_mesh
from qsr.quantization.meshes import Mesh, find_meshes
from qsr.tflite.graph import Graph

_SWEEPS = 10
"""A kernel is the second of one pair and the first of the next, so pairs are balanced in turn until
little changes."""

_LARGEST_FACTOR = 10.0
"""No channel is changed more than this in one sweep: one of hardly any weights stays harmless."""

Values = dict[int, NDArray[np.float64]]


def balance_weights(model: bytes, *, source: str = "model") -> bytes:
    """Rescale the channels of a float model so that its kernels can have one scale each.

    The network computes what it did, but for the rounding of ``float32``.

    Args:
        model: content of a float ``.tflite`` file.
        source: named in errors.

    Returns:
        Content of a float ``.tflite`` file; the same bytes if no layer can be balanced.

    Raises:
        ModelError: the model cannot be read.
    """
    graph = Graph(model, source=source)
    chains, meshes = find_chains(graph), find_meshes(graph)
    if not chains and not meshes:
        return model
    values: Values = {}
    for _ in range(_SWEEPS):
        for chain in chains:
            factors = _factors(*_chain_sizes(graph, chain, values))
            as_is = np.zeros(len(factors), bool)
            rescale_chain(graph, chain, Rescaling(factors, as_is), values)
        for mesh in meshes:
            rescale_mesh(graph, mesh, _factors(*_mesh_sizes(graph, mesh, values)), values)
    return graph.with_constants(
        {index: stored.astype(np.float32) for index, stored in values.items()}
    )


def _factors(first: Channels, second: Channels) -> Channels:
    """Return what channels are divided by; those of no weights on one side stay."""
    there = (first > 0) & (second > 0)
    ratios = np.divide(first, second, out=np.ones_like(first), where=there)
    factors: Channels = np.sqrt(ratios).clip(1 / _LARGEST_FACTOR, _LARGEST_FACTOR)
    return factors


def _chain_sizes(graph: Graph, chain: Chain, values: Values) -> tuple[Channels, Channels]:
    """Return the largest magnitude of each channel's weights in both kernels."""
    first = np.abs(current_values(graph, values, chain.first_kernel))
    others = tuple(axis for axis in range(first.ndim) if axis != chain.channel_axis)
    second = np.abs(current_values(graph, values, chain.second_kernel))
    return first.max(axis=others), second.max(axis=(0, 1, 2))


def _mesh_sizes(graph: Graph, mesh: Mesh, values: Values) -> tuple[Channels, Channels]:
    """Return the same for the channels of a mesh; the second kernels are all that read one."""
    first = np.concatenate(
        [
            np.abs(current_values(graph, values, maker.inputs[1])).max(axis=(1, 2, 3))
            for maker in mesh.makers
        ]
    )
    second = np.zeros_like(first)
    for reader, channels in mesh.readers:
        kernel = np.abs(current_values(graph, values, reader.inputs[1]))
        np.maximum.at(second, channels, kernel.max(axis=(0, 1, 2)))
    return first, second
