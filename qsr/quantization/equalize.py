"""Cross-layer equalization: channels fill their tensor's grid, and the network stays what it is.

All channels of an activation share one 8-bit grid, so a channel of small values gets few steps.
Between two convolutions a channel can be made larger and smaller again without a trace (Nagel et
al., 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction", section 4.1):

- An activation f with f(s*x) = s*f(x) for every s > 0 (none, ReLU, PReLU; not ReLU6 or tanh) passes
  a positive factor on. So output channel i of the first convolution, kernel and bias, may be
  divided by s_i, if input channel i of the second kernel is multiplied by s_i. Zero padding stays
  zero.
- PReLU also passes a sign on: f_a(x) = -a * f_(1/a)(-x) for a > 0. So a channel may be negated,
  with the slope 1/a in place of a, if the second kernel's channel is multiplied by -a too. A linear
  channel is the case a = 1.

Where channels are split and joined between convolutions, as in XCAT's blocks, each channel may be
scaled on its way, too.

Nagel et al. balance weights against weights (their equation 11), as they quantize weights per
tensor (:mod:`.weight_balance`). Here every output channel of a kernel has a scale of its own, so
that what s_i does to the first kernel costs nothing; what counts are the activations, measured on
images.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from qsr.quantization.chains import Chain, find_chains
from qsr.quantization.channels import Channels, ChannelValues, measure_channels
from qsr.quantization.meshes import Mesh, find_meshes
from qsr.tflite.graph import Graph
from qsr.tflite.runtime import Image, reading_runner

_LEAST_SLOPE = 0.5
"""A channel of a smaller slope is not negated: the steeper slope in its place would widen the grid
that all slopes of a PReLU share."""

_LARGEST_RATIO = 100.0
"""No channel is enlarged more than this, relative to the others: images may hold what those that
were measured do not."""

_NEGATIVE_SHARES = np.geomspace(0.05, 5.0, 40)
"""How far a grid may reach below 0, relative to how far above; those that are tried."""


@dataclass(frozen=True)
class Rescaling:
    """What is done to the channels of a chain.

    Attributes:
        factors: ``(channels,)``: what the channels are divided by; positive.
        negated: ``(channels,)``: which of them are negated.
    """

    factors: Channels
    negated: NDArray[np.bool_]


def equalize(model: bytes, images: Iterable[Image], *, source: str = "model") -> bytes:
    """Rescale the channels of a float model so that they share their grids well.

    The network computes what it did, but for the rounding of ``float32``.

    Args:
        model: content of a float ``.tflite`` file.
        images: LR pictures ``(h, w, 3)`` ``uint8`` that channels are measured on; read once.
        source: named in errors.

    Returns:
        Content of a float ``.tflite`` file; the same bytes if no layer can be equalized.

    Raises:
        ModelError: the model cannot be read or run.
        UsageError: no image.
    """
    graph = Graph(model, source=source)
    chains, meshes = find_chains(graph), find_meshes(graph)
    if not chains and not meshes:
        return model
    tensors = [index for chain in chains for index in chain.tensors]
    tensors += [maker.outputs[0] for mesh in meshes for maker in mesh.makers]
    runner = reading_runner(model, tensors, source=source)
    measured = measure_channels(runner, tensors, images)
    values: dict[int, NDArray[np.float64]] = {}
    for chain in chains:
        rescaling = _best_rescaling(graph, chain, [measured[index] for index in chain.tensors])
        rescale_chain(graph, chain, rescaling, values)
    for mesh in meshes:
        factors = _best_factors(graph, mesh, [measured[maker.outputs[0]] for maker in mesh.makers])
        rescale_mesh(graph, mesh, factors, values)
    return graph.with_constants(
        {index: stored.astype(np.float32) for index, stored in values.items()}
    )


def _best_rescaling(graph: Graph, chain: Chain, measured: Sequence[ChannelValues]) -> Rescaling:
    """Return the factors and signs that let the least rounding noise into the second convolution.

    With the largest value of a tensor at 1 and the smallest at -b, a step of its grid is
    (1 + b) / 255. Channel i fits if it is divided by s_i = max(maximum_i, -minimum_i / b), or more.
    Its noise, of a variance of step**2 / 12, is multiplied by s_i and the second kernel's weights
    of that channel, w_i; so (1 + b)**2 * sum(s_i**2 * |w_i|**2) is made small: b by trial for each
    tensor, the sign by whichever gives the smaller s_i.
    """
    kernel = graph.constant(chain.second_kernel).astype(np.float64)
    weights = np.sqrt((kernel**2).sum(axis=(0, 1, 2)))
    reach = [(np.maximum(one.maximum, 0), np.maximum(-one.minimum, 0)) for one in measured]
    can_negate = chain.slopes >= _LEAST_SLOPE
    # A tensor behind the activation holds -f/a where the channel is negated.
    slopes = np.where(can_negate, chain.slopes, 1.0)
    mirrored = [(reach[0][1], reach[0][0])]
    mirrored += [(below / slopes, above / slopes) for above, below in reach[1:]]
    as_is, turned = _fits(reach), _fits(mirrored)
    best: tuple[float, Rescaling] | None = None
    for shares in np.ndindex(*(len(_NEGATIVE_SHARES),) * len(reach)):
        plain, negative = (
            np.maximum.reduce([fit[share] for fit, share in zip(fits, shares, strict=True)])
            for fits in (as_is, turned)
        )
        negated = can_negate & (negative * slopes < plain)
        passed_on = np.where(negated, negative * slopes, plain) * weights
        spans = sum((1 + _NEGATIVE_SHARES[share]) ** 2 for share in shares)
        noise = float(spans * (passed_on**2).sum())
        if best is None or noise < best[0]:
            best = noise, Rescaling(np.where(negated, negative, plain), negated)
    assert best is not None  # noqa: S101 (there are shares to try)
    factors = best[1].factors
    largest = factors.max()
    if largest == 0:  # nothing but zeros were measured
        return Rescaling(np.ones_like(factors), np.zeros_like(best[1].negated))
    return Rescaling(np.maximum(factors / largest, 1 / _LARGEST_RATIO), best[1].negated)


def _best_factors(graph: Graph, mesh: Mesh, measured: Sequence[ChannelValues]) -> Channels:
    """Return what the channels of a mesh are divided by, as :func:`_best_rescaling` does for two.

    There is one tensor, that of all channels, and none is negated.
    """
    above = np.maximum(np.concatenate([one.maximum for one in measured]), 0)
    below = np.maximum(-np.concatenate([one.minimum for one in measured]), 0)
    weights = np.zeros(len(above))
    for reader, channels in mesh.readers:
        kernel = graph.constant(reader.inputs[1]).astype(np.float64)
        np.add.at(weights, channels, (kernel**2).sum(axis=(0, 1, 2)))
    fits = _fits([(above, below)])[0]
    noise = (1 + _NEGATIVE_SHARES) ** 2 * (fits**2 * weights).sum(axis=1)
    factors: Channels = fits[noise.argmin()]
    largest = factors.max()
    if largest == 0:  # nothing but zeros were measured
        return np.ones_like(factors)
    shares: Channels = np.maximum(factors / largest, 1 / _LARGEST_RATIO)
    return shares


def rescale_mesh(
    graph: Graph, mesh: Mesh, factors: Channels, values: dict[int, NDArray[np.float64]]
) -> None:
    """Write the new stored values of a mesh into ``values``."""
    stored = partial(current_values, graph, values)
    start = 0
    for maker in mesh.makers:
        kernel, *biases = maker.inputs[1:]
        own = factors[start : start + graph.tensors[kernel].shape[0]]
        start += len(own)
        values[kernel] = stored(kernel) / own[:, None, None, None]
        for bias in biases:
            if bias >= 0 and stored(bias).any():
                values[bias] = stored(bias) / own
    for reader, channels in mesh.readers:
        kernel = reader.inputs[1]
        values[kernel] = stored(kernel) * factors[channels]


def current_values(
    graph: Graph, values: dict[int, NDArray[np.float64]], index: int
) -> NDArray[np.float64]:
    """Return the values that a constant has by now."""
    return values[index] if index in values else graph.constant(index).astype(np.float64)


def _fits(reach: Iterable[tuple[Channels, Channels]]) -> list[NDArray[np.float64]]:
    """Return, for each tensor, the factor by negative share and channel that makes it fit."""
    shares = _NEGATIVE_SHARES[:, None]
    return [np.maximum(above, below / shares) for above, below in reach]


def rescale_chain(
    graph: Graph, chain: Chain, rescaling: Rescaling, values: dict[int, NDArray[np.float64]]
) -> None:
    """Write the new stored values of a chain into ``values``."""
    stored = partial(current_values, graph, values)
    negated, slopes = rescaling.negated, chain.slopes
    made = np.where(negated, -1, 1) / rescaling.factors
    shape = [1, 1, 1, 1]
    shape[chain.channel_axis] = -1
    values[chain.first_kernel] = stored(chain.first_kernel) * made.reshape(shape)
    if chain.bias is not None and stored(chain.bias).any():
        values[chain.bias] = stored(chain.bias) * made
    back = np.where(negated, -slopes, 1) * rescaling.factors
    values[chain.second_kernel] = stored(chain.second_kernel) * back
    if chain.prelu is not None and negated.any():
        index = chain.prelu.inputs[1]
        turned = np.where(negated, 1 / np.where(negated, slopes, 1), slopes)
        values[index] = turned.reshape(graph.tensors[index].shape)
