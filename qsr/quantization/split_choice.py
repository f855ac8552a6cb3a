"""Which channels of a network to split: those whose rounding costs its pictures most."""

from collections.abc import Callable, Iterator, Sequence
from heapq import heapify, heapreplace

import numpy as np

from qsr.calibration import Ranges, Scheme, quantize
from qsr.quantization.chains import DATA_PLACE
from qsr.quantization.channel_splitting import Copies, split_channels, splittable
from qsr.tflite.float_view import float_view
from qsr.tflite.graph import Graph
from qsr.tflite.runtime import Image, Runner

_QUARTER = 0.25
"""What two copies leave of a channel's noise."""

_LEAST_SHARE = 0.005
"""A channel that takes less of the error away is not worth its work, and may be chance."""


def choose_copies(
    model: bytes,
    ranges: Ranges,
    pictures: Sequence[Image],
    scheme: Scheme,
    limit: int,
    *,
    source: str,
    on_channel: Callable[[int, int], None],
) -> Copies:
    """Choose how often each channel is to be there, with at most so many channels added.

    Each channel is split alone, and what the error of rounded activations then loses tells its
    noise; weights are not rounded for that, as they will be rounded anew. The noise of a channel
    with k copies is taken to be 1/k**2 of that, and what is added is always the copy that takes
    most away.

    Args:
        model: content of a float ``.tflite`` file.
        ranges: what it is quantized with.
        pictures: LR ``(h, w, 3)`` ``uint8`` that errors are measured on.
        scheme: how to quantize.
        limit: channels to add at most.
        source: named in errors.
        on_channel: called with the number of channels measured, and of all.

    Returns:
        What :func:`.channel_splitting.split_channels` takes; empty if nothing is worth it.

    Raises:
        ModelError: the model cannot be run or quantized.
    """
    graph = Graph(model, source=source)
    reference = Runner(model, source=source)
    wanted = [reference.upscale(lr).astype(np.float64) for lr in pictures]

    def error(copies: Copies) -> float:
        """Return the mean squared error that rounded activations give, in levels of 255."""
        network = split_channels(graph, ranges, copies) if copies else model
        rounded = _activations_rounded(network, ranges, scheme, source)
        runner = Runner(rounded, source=source)
        pairs = zip(pictures, wanted, strict=True)
        return float(np.mean([np.square(runner.upscale(lr) - sr).mean() for lr, sr in pairs]))

    counts = {
        operator.index: np.ones(graph.tensors[operator.outputs[0]].shape[-1], np.intp)
        for operator in splittable(graph)
    }
    whole = error({})
    channels = [(place, channel) for place, ones in counts.items() for channel in range(len(ones))]
    noise = {}
    for done, (place, channel) in enumerate(channels, start=1):
        twice = counts[place].copy()
        twice[channel] = 2
        gain = whole - error({place: twice})
        if gain > _LEAST_SHARE * whole:
            noise[place, channel] = gain / (1 - _QUARTER)
        on_channel(done, len(channels))
    for place, channel in _most_at_once(noise, limit, _LEAST_SHARE * whole):
        counts[place][channel] += 1
    return {place: one for place, one in counts.items() if one.max() > 1}


def _activations_rounded(model: bytes, ranges: Ranges, scheme: Scheme, source: str) -> bytes:
    """Return a float model with activations as its integer model has them, and its own weights."""
    own, integer = (Graph(one) for one in (model, quantize(model, ranges, scheme, source=source)))
    constants = {}
    ours_by_name = {own.tensors[one.outputs[0]].name: one for one in own.operators}
    for theirs in integer.operators:
        ours = ours_by_name.get(integer.tensors[theirs.outputs[0]].name)
        if theirs.kind not in DATA_PLACE or ours is None:
            continue
        for index, other in zip(ours.inputs, theirs.inputs, strict=False):
            if own.tensors[index].constant and own.tensors[index].dtype == "float32":
                constants[other] = own.constant(index)
    rounded = [tensor.index for tensor in integer.activations]
    return float_view(integer, constants=constants, rounded=rounded)


def _most_at_once(
    noise: dict[tuple[int, int], float], limit: int, least: float
) -> Iterator[tuple[int, int]]:
    """Give the channels to add a copy of, one at a time, as long as one takes enough away."""
    gains = [(-_gain(one, 1), channel, 1) for channel, one in noise.items()]
    heapify(gains)
    for _ in range(limit):
        if not gains or -gains[0][0] < least:
            return
        _, channel, count = gains[0]
        yield channel
        heapreplace(gains, (-_gain(noise[channel], count + 1), channel, count + 1))


def _gain(noise: float, count: int) -> float:
    """Return what one more copy than so many takes away."""
    return noise * (1 / count**2 - 1 / (count + 1) ** 2)
