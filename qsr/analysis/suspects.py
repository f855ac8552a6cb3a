"""What each layer of a tested model costs more than it need, and how that is told from rounding."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from qsr.analysis.matching import INPUT
from qsr.analysis.records import CauseCosts, Comparison, LayerError, TensorError

GOOD_DB = 0.01
"""Drops up to this are as small as a search leaves them."""

MOVED_STEPS = 3.0
"""Rounding to the nearest moves a weight by half a step at most, rounding that makes up for other
weights by one or two, and by more where that changes hardly anything."""

_NEAREST_STEPS = 0.51
"""Weights that were rounded to the nearest are no further off than this."""

_MOVED_BIAS_STEPS = 1.0
"""A bias this far off, in steps of the output's grid, is looked at if it costs something."""

_CORRECTED_STEPS = 0.5
"""Rounding moves a bias by less, in steps of the output's grid; correcting it, by more."""

_FEW_LAYERS = 2
"""Biases of so few layers tell nothing of what was done to all."""

_DROPPED_STEPS = 10.0
"""Nor biases this far, in steps of the output's grid, where weights are rounded to the nearest."""

_DAMAGED_STEPS = 60.0
"""No way of rounding moves a weight this far: the largest of a channel is 127 steps."""

_ONLY_TOGETHER = 2.0
"""Weights of layers that cost this many times the drop, each layer's by itself, work only together:
they are those of another training."""

_SAME_SCALE = 0.02
"""By which the scale of biases may differ: TFLite's own tolerance."""

_MOST_BY_ROUNDING_DB = 0.2
"""Weights of 8 bits that were rounded for what layers give cost less than this, all together."""

_RESCALED = 1.5
"""Channels multiplied by factors this far from one another were rescaled on purpose."""

_MULTIPLE = 0.99
"""Squared cosine above which one channel is a multiple of another."""

_COPIES = {"CONCATENATION", "DEPTH_TO_SPACE", "RESHAPE", "SPACE_TO_DEPTH", "SPLIT", "SPLIT_V"}
"""Operators whose integer kernels copy bytes."""

_FIXED_GRIDS = {"L2_NORMALIZATION", "LOGISTIC", "LOG_SOFTMAX", "SOFTMAX", "TANH"}
"""Operators whose integer kernels take one grid alone for their results."""

CUT_OFF = 1e-5
"""Share of values that must lie outside a grid to be called cut off."""

_WIDE = 0.6
"""A grid of whose span the values need less than this is called wide."""


@dataclass(frozen=True)
class Suspected:
    """A layer, what it costs more than it need, and the cause."""

    layer: LayerError
    avoidable_db: float
    cause: str


def is_another_making(comparison: Comparison, off: Sequence[LayerError]) -> bool:
    """Whether weights that are off are no rounding of the reference's, as far as can be told.

    Rounding for what layers give moves weights far, too, but each layer still does what it did.
    """
    if comparison.causes is None or are_rescaled(off):
        return True
    costs = comparison.causes
    by_itself = sum(max(one.cost.weights_db, 0.0) for one in off if one.cost is not None)
    only_together = by_itself > _ONLY_TOGETHER * max(costs.total_db, GOOD_DB)
    return only_together or costs.weights_db > _MOST_BY_ROUNDING_DB


def are_rescaled(off: Sequence[LayerError]) -> bool:
    """Whether channels of most of these layers are multiples of the reference's."""
    return 2 * sum(is_rescaled(one.accumulated) for one in off) >= len(off)


def find_suspects(
    comparison: Comparison, costs: CauseCosts, *, wrong_ends: bool
) -> list[Suspected]:
    """Return what each layer costs more than it need, by cause."""
    found = []
    corrected = _are_corrected(comparison.layers)
    by_name = {layer.name: layer for layer in comparison.layers}
    for layer in comparison.layers:
        maker = _maker(layer, by_name)
        found += [
            suspect
            for suspect in (
                _changed_for_biases(layer, maker),
                _changed_for_copy(layer, maker, costs),
                _stored(
                    layer, reference_quantized=comparison.reference_quantized, corrected=corrected
                ),
                _cut_off(layer, wrong_ends=wrong_ends),
                _wide(layer),
            )
            if suspect is not None
        ]
    return found


def _are_corrected(layers: Sequence[LayerError]) -> bool:
    """Whether biases of most layers were moved a little, as correcting them moves them."""
    stored = [layer.stored for layer in layers if layer.stored is not None]
    moved = [one.bias_off_steps for one in stored if one.bias_off_steps is not None]
    little = [steps for steps in moved if _CORRECTED_STEPS < steps <= MOVED_STEPS]
    return 2 * len(little) > max(len(moved), _FEW_LAYERS)


def _maker(layer: LayerError, by_name: Mapping[str, LayerError]) -> LayerError:
    """Return what computes the values that a layer reads, behind what only takes parts of them."""
    source = by_name.get(layer.after[0], layer) if layer.after else layer
    for _ in by_name:  # names need not be unique: never round and round
        if source.operator not in _COPIES or len(source.after) != 1:
            break
        source = by_name.get(source.after[0], source)
    return source


def is_certain(suspect: Suspected) -> bool:
    """Whether no quantizer would have made this, so that it is a fault whatever it costs."""
    stored = suspect.layer.stored
    if suspect.cause == "grid changed":
        return True
    if suspect.cause != "stored values" or stored is None:
        return False
    nearest = stored.weights_off_steps <= _NEAREST_STEPS
    dropped = nearest and (stored.bias_off_steps or 0.0) > _DROPPED_STEPS
    return dropped or stored.weights_off_steps > _DAMAGED_STEPS


def is_off(layer: LayerError) -> bool:
    """Whether stored values are further off than any rounding leaves them."""
    stored = layer.stored
    return stored is not None and (
        stored.weights_off_steps > MOVED_STEPS or bias_off(layer)[0] > MOVED_STEPS
    )


def bias_off(layer: LayerError) -> tuple[float, int]:
    """Return how far a layer's biases are off, in steps of its output's grid, and in which channel.

    Where weights were not rounded to the nearest, biases make up for what was done to them: then
    what is off in the mean of a channel counts, when the layer is fed the reference's values.
    """
    if layer.stored is None or layer.stored.bias_off_steps is None:
        return 0.0, 0
    off = layer.stored.bias_off_steps, layer.stored.channel
    if layer.local is None or layer.stored.weights_off_steps <= _NEAREST_STEPS:
        return off
    means = np.abs(layer.local.channels.mean_error) / layer.scale
    return min(off, (float(means.max()), int(means.argmax())))


def _rescaled_biases(layer: LayerError) -> bool:
    """Whether biases were quantized for another grid than the one that the layer is fed."""
    ratio = layer.stored.bias_scale_ratio if layer.stored is not None else None
    return ratio is not None and abs(ratio - 1) > _SAME_SCALE


def _changed_for_biases(layer: LayerError, maker: LayerError) -> Suspected | None:
    """Return what it costs that a layer's biases were quantized for another input grid."""
    if layer.cost is None or not _rescaled_biases(layer):
        return None
    return Suspected(maker, max(layer.cost.weights_db, 0.0) + _wide_db(maker), "grid changed")


def _changed_for_copy(layer: LayerError, maker: LayerError, costs: CauseCosts) -> Suspected | None:
    """Return what it costs that an operator copies integers onto another grid than theirs.

    In float arithmetic it would copy the values: so what it costs is what the kernels do. Where a
    QUANTIZE lies between the two, which is as it should be, the operator copies them, too.
    """
    same = (layer.scale, layer.grid_minimum) == (maker.scale, maker.grid_minimum)
    if same or layer.operator not in _COPIES or layer.local is None:
        return None
    if steps_of(layer) != steps_of(maker) or layer.local.mse <= (layer.scale + maker.scale) ** 2:
        return None
    return Suspected(maker, max(costs.kernels_db, 0.0) + _wide_db(maker), "grid changed")


def steps_of(layer: LayerError) -> int:
    """Return how many steps a grid has."""
    return round((layer.grid_maximum - layer.grid_minimum) / layer.scale)


def _stored(layer: LayerError, *, reference_quantized: bool, corrected: bool) -> Suspected | None:
    """Return what stored values cost that are not the reference's, rounded.

    Where the biases of most layers were corrected, those that lie as far off are, too. Of weights
    that make up for the errors of other layers, nothing is got back in float. Those of an integer
    reference are rounded, too, in its own way: only what no rounding does counts.
    """
    if layer.cost is None or layer.stored is None:
        return None
    weights_off, (biases_off, _) = layer.stored.weights_off_steps, bias_off(layer)
    if reference_quantized and weights_off <= _DAMAGED_STEPS and biases_off <= _DROPPED_STEPS:
        return None
    if not is_off(layer) and (corrected or biases_off <= _MOVED_BIAS_STEPS):
        return None
    if layer.stored.weights_off_steps <= MOVED_STEPS and _rescaled_biases(layer):
        return None  # the biases are off, but as they would be right on another grid
    avoidable_db = min(layer.cost.weights_db, layer.cost.recovered_db)
    return Suspected(layer, avoidable_db, "stored values")


def _cut_off(layer: LayerError, *, wrong_ends: bool) -> Suspected | None:
    """Return what a grid costs that does not hold the values.

    Behind an end that is read darker or brighter, other values than the reference's reach the
    grid: there a layer costs no more than what it gets back when it stays in float.
    """
    cost = layer.cost
    if cost is None or layer.accumulated.saturated_share < CUT_OFF:
        return None
    most = cost.recovered_db if wrong_ends else cost.saturation_db
    return Suspected(layer, min(cost.saturation_db, most), "saturation")


def _wide(layer: LayerError) -> Suspected | None:
    """Return what a grid costs that is wider than the values."""
    avoidable_db = _wide_db(layer)
    return Suspected(layer, avoidable_db, "wide grid") if avoidable_db > 0 else None


def _wide_db(layer: LayerError) -> float:
    """Return what a grid of the values' span would save; noise goes with its step squared."""
    if layer.cost is None or not is_wide(layer):
        return 0.0
    saved = 1 - needed_share(layer) ** 2
    return max(layer.cost.activation_db - layer.cost.saturation_db, 0.0) * saved


def is_wide(layer: LayerError) -> bool:
    """Whether a grid is far wider than the values, and its width a choice."""
    chosen = not layer.tied_to_output and layer.operator not in {INPUT, *_FIXED_GRIDS}
    return chosen and needed_share(layer) <= _WIDE


def needed_share(layer: LayerError) -> float:
    """Return the share of a grid's span that the values need; 0 is always on a grid."""
    span = max(layer.maximum, 0.0) - min(layer.minimum, 0.0)
    return span / (layer.grid_maximum - layer.grid_minimum)


def wrong_ends_of(comparison: Comparison) -> list[LayerError]:
    """Return input and output, if their grids are not black to white in 256 steps."""
    ends = [one for one in comparison.layers if one.how == "end"]
    white = comparison.value_max
    return [
        one
        for one in ends
        if abs(one.grid_minimum) > one.scale / 2 or abs(one.grid_maximum - white) > one.scale / 2
    ]


def is_rescaled(error: TensorError) -> bool:
    """Whether most channels are multiples of the reference's, by factors far from one another.

    With g the gain and n the noise over the signal of a channel, ``sum q^2 / sum f^2`` is
    ``n - 1 + 2 g``; so the squared cosine of f and q is ``g^2 / (n - 1 + 2 g)``.
    """
    gains = np.array(error.channels.gain)
    noises = 10 ** (-np.array(error.channels.sqnr_db) / 10)
    there = gains != 0
    multiples = np.abs(gains[there & (gains**2 >= _MULTIPLE * (noises - 1 + 2 * gains))])
    if 2 * multiples.size < max(2, np.count_nonzero(there)):
        return False
    return bool(multiples.max() > _RESCALED * multiples.min())
