"""What is wrong with a tested model, in words: what costs most, why, and what to do about it.

Costs that a better model of the same network could avoid come first: stored values that are no
rounding of the reference's, ends whose grids are not a picture's, ranges that cut values off or are
far wider than the values. What is left after those is the price of 8 bits.
"""

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

import numpy as np

from qsr.analysis.matching import INPUT
from qsr.analysis.records import (
    CauseCosts,
    Comparison,
    Diagnosis,
    LayerError,
    Suspect,
    TensorError,
)

CAUSES = {
    "none": "the tested model is as good as the reference",
    "I/O grid": "raw bytes do not mean b/255 at the input or output",
    "stored values": "weights or biases of a layer are not those of the reference, rounded",
    "grid changed": "a grid is not the one that what reads it was quantized for",
    "saturation": "a grid cuts values off",
    "wide grid": "a grid is far wider than the values on it",
    "other weights": "the weights of most layers are of another training",
    "equalization": "channels of inner tensors were rescaled",
    "weights": "the rounding of weights, no layer far more than it need",
    "activations": "the rounding of activations, no layer far more than it need",
}
"""What a diagnosis may name, and what it means."""

WORTH_SAYING_DB = 0.002
"""What could be avoided is not called a fault below this."""

_WORTH_NAMING = 0.1
"""Nor below this share of the drop: then it is not what costs most."""

GOOD_DB = 0.01
"""Drops up to this are as small as a search leaves them."""

_MOVED_STEPS = 3.0
"""Rounding to the nearest moves a weight by half a step at most, rounding that makes up for other
weights by one or two, and by more where that changes hardly anything."""

_NEAREST_STEPS = 0.51
"""Weights that were rounded to the nearest are no further off than this."""

_MOVED_BIAS_STEPS = 1.0
"""A bias this far off, in steps of the output's grid, is looked at if it costs something."""

_DROPPED_STEPS = 10.0
"""Nor biases this far, in steps of the output's grid, where weights are rounded to the nearest."""

_DAMAGED_STEPS = 60.0
"""No way of rounding moves a weight this far: the largest of a channel is 127 steps."""

_ONLY_TOGETHER = 2.0
"""Weights of layers that cost this many times the drop, each layer's by itself, work only together:
they are those of another training."""

_SAME_SCALE = 0.02
"""By which the scale of biases may differ: TFLite's own tolerance."""

_MOST_LAYERS = 0.6
"""Share of the layers with stored values that must be off for all to be of another making."""

_MOST_BY_ROUNDING_DB = 0.2
"""Weights of 8 bits that were rounded for what layers give cost less than this, all together."""

_RESCALED = 1.5
"""Channels multiplied by factors this far from one another were rescaled on purpose."""

_MULTIPLE = 0.99
"""Squared cosine above which one channel is a multiple of another."""

COPIES = {"CONCATENATION", "DEPTH_TO_SPACE", "RESHAPE", "SPACE_TO_DEPTH", "SPLIT", "SPLIT_V"}
"""Operators whose integer kernels copy bytes."""

_FIXED_GRIDS = {"L2_NORMALIZATION", "LOGISTIC", "LOG_SOFTMAX", "SOFTMAX", "TANH"}
"""Operators whose integer kernels take one grid alone for their results."""

_CUT_OFF = 1e-5
"""Share of values that must lie outside a grid to be called cut off."""

_FEW_PICTURES = 4
_TOO_FEW = " So few pictures may not show how far the values reach: compare on more."

_ONE_SCALE = " All channels of its kernel share one weight scale, few steps for small weights."

_WIDE = 0.6
"""A grid of whose span the values need less than this is called wide."""


@dataclass(frozen=True)
class _Suspect:
    """A layer, what it costs more than it need, and the cause."""

    layer: LayerError
    avoidable_db: float
    cause: str


def diagnose(comparison: Comparison, *, reference: str) -> Diagnosis:
    """Say what costs most, why, and what to do.

    Args:
        comparison: of the two models.
        reference: what the user calls the reference, for commands.

    Returns:
        Three sentences or so, each of one line.
    """
    reference = "FLOAT_MODEL" if comparison.reference_quantized else shlex.quote(reference)
    stored = [one for one in comparison.layers if one.stored is not None]
    off = [one for one in stored if _off(one)]
    if len(off) > max(1, _MOST_LAYERS * len(stored)) and _another_making(comparison, off):
        return _all_off(comparison, off, len(stored))
    if comparison.causes is None:
        return _by_noise(comparison)
    if all(picture.largest_difference == 0 for picture in comparison.pictures):
        return _same(comparison)
    ends = _wrong_ends(comparison)
    suspects = sorted(
        _suspects(comparison, comparison.causes, wrong_ends=bool(ends)),
        key=lambda one: (-one.avoidable_db, list(CAUSES).index(one.cause)),
    )
    least_db = max(WORTH_SAYING_DB, _WORTH_NAMING * comparison.causes.total_db)
    certain = [] if comparison.reference_quantized else [one for one in suspects if _certain(one)]
    worst = next((one for one in suspects if one.avoidable_db > least_db), None)
    worst = worst or (certain[0] if certain else None)
    if not certain and comparison.causes.total_db < -WORTH_SAYING_DB:
        return _better(comparison, comparison.causes)
    ends_db = comparison.causes.io_grid_db
    named = [one for one in suspects if one.avoidable_db > WORTH_SAYING_DB or one in certain]
    if ends and ends_db > max(WORTH_SAYING_DB, worst.avoidable_db if worst else 0.0):
        found = _of_ends(comparison, comparison.causes, ends, reference)
    elif worst is not None:
        found = _of_suspect(comparison, comparison.causes, worst, reference)
    else:
        found = _of_rounding(comparison, comparison.causes, named, reference)
    return replace(found, suspects=tuple(_as_record(one) for one in named))


def _same(comparison: Comparison) -> Diagnosis:
    """Say that nothing is wrong, as both models make the same pictures."""
    return Diagnosis(
        costs_most=f"Both models make the same of {_pictures(len(comparison.pictures))}, byte for "
        "byte.",
        why="Nothing that differs inside them reaches a picture.",
        what_to_do="Nothing.",
        layer=None,
        cause="none",
    )


def _better(comparison: Comparison, costs: CauseCosts) -> Diagnosis:
    """Say that nothing is wrong, as the tested model is the better one."""
    count = len(comparison.pictures)
    return Diagnosis(
        costs_most=f"The tested model is better than the reference: it gains {-costs.total_db:.4f} "
        f"dB of PSNR on {_pictures(count)}.",
        why="What the reference loses by itself is not looked into; compare it with its own float "
        "model for that."
        if comparison.reference_quantized
        else "Rounding fell out well on these pictures, or it was trained or corrected for them.",
        what_to_do="Nothing.",
        layer=None,
        cause="none",
    )


def _as_record(suspect: _Suspect) -> Suspect:
    layer = suspect.layer
    return Suspect(layer.label, layer.name, suspect.avoidable_db, suspect.cause)


def _another_making(comparison: Comparison, off: Sequence[LayerError]) -> bool:
    """Whether weights that are off are no rounding of the reference's, as far as can be told.

    Rounding for what layers give moves weights far, too, but each layer still does what it did.
    """
    if comparison.causes is None or _most_rescaled(off):
        return True
    costs = comparison.causes
    by_itself = sum(max(one.cost.weights_db, 0.0) for one in off if one.cost is not None)
    only_together = by_itself > _ONLY_TOGETHER * max(costs.total_db, GOOD_DB)
    return only_together or costs.weights_db > _MOST_BY_ROUNDING_DB


def _most_rescaled(off: Sequence[LayerError]) -> bool:
    """Whether channels of most of these layers are multiples of the reference's."""
    return 2 * sum(_rescaled(one.accumulated) for one in off) >= len(off)


def _suspects(comparison: Comparison, costs: CauseCosts, *, wrong_ends: bool) -> list[_Suspect]:
    """Return what each layer costs more than it need, by cause."""
    found = []
    by_name = {layer.name: layer for layer in comparison.layers}
    for layer in comparison.layers:
        maker = _maker(layer, by_name)
        found += [
            suspect
            for suspect in (
                _changed_for_biases(layer, maker),
                _changed_for_copy(layer, maker, costs),
                _stored(layer, reference_quantized=comparison.reference_quantized),
                _cut_off(layer, wrong_ends=wrong_ends),
                _wide(layer),
            )
            if suspect is not None
        ]
    return found


def _maker(layer: LayerError, by_name: Mapping[str, LayerError]) -> LayerError:
    """Return what computes the values that a layer reads, behind what only takes parts of them."""
    source = by_name.get(layer.after[0], layer) if layer.after else layer
    for _ in by_name:  # names need not be unique: never round and round
        if source.operator not in COPIES or len(source.after) != 1:
            break
        source = by_name.get(source.after[0], source)
    return source


def _certain(suspect: _Suspect) -> bool:
    """Whether no quantizer would have made this, so that it is a fault whatever it costs."""
    stored = suspect.layer.stored
    if suspect.cause == "grid changed":
        return True
    if suspect.cause != "stored values" or stored is None:
        return False
    nearest = stored.weights_off_steps <= _NEAREST_STEPS
    dropped = nearest and (stored.bias_off_steps or 0.0) > _DROPPED_STEPS
    return dropped or stored.weights_off_steps > _DAMAGED_STEPS


def _off(layer: LayerError) -> bool:
    """Whether stored values are further off than any rounding leaves them."""
    stored = layer.stored
    return stored is not None and (
        stored.weights_off_steps > _MOVED_STEPS or (stored.bias_off_steps or 0.0) > _MOVED_STEPS
    )


def _rescaled_biases(layer: LayerError) -> bool:
    """Whether biases were quantized for another grid than the one that the layer is fed."""
    ratio = layer.stored.bias_scale_ratio if layer.stored is not None else None
    return ratio is not None and abs(ratio - 1) > _SAME_SCALE


def _changed_for_biases(layer: LayerError, maker: LayerError) -> _Suspect | None:
    """Return what it costs that a layer's biases were quantized for another input grid."""
    if layer.cost is None or not _rescaled_biases(layer):
        return None
    return _Suspect(maker, max(layer.cost.weights_db, 0.0) + _wide_db(maker), "grid changed")


def _changed_for_copy(layer: LayerError, maker: LayerError, costs: CauseCosts) -> _Suspect | None:
    """Return what it costs that an operator copies integers onto another grid than theirs.

    In float arithmetic it would copy the values: so what it costs is what the kernels do. Where a
    QUANTIZE lies between the two, which is as it should be, the operator copies them, too.
    """
    same = (layer.scale, layer.grid_minimum) == (maker.scale, maker.grid_minimum)
    if same or layer.operator not in COPIES or layer.local is None:
        return None
    if _steps(layer) != _steps(maker) or layer.local.mse <= (layer.scale + maker.scale) ** 2:
        return None
    return _Suspect(maker, max(costs.kernels_db, 0.0) + _wide_db(maker), "grid changed")


def _steps(layer: LayerError) -> int:
    """Return how many steps a grid has."""
    return round((layer.grid_maximum - layer.grid_minimum) / layer.scale)


def _stored(layer: LayerError, *, reference_quantized: bool) -> _Suspect | None:
    """Return what stored values cost that are not the reference's, rounded.

    Of weights that make up for the errors of other layers, nothing is got back in float. Those of
    an integer reference are rounded, too, in its own way: only what no rounding does counts.
    """
    if layer.cost is None or layer.stored is None:
        return None
    weights_off, bias_off = layer.stored.weights_off_steps, layer.stored.bias_off_steps or 0.0
    if reference_quantized and weights_off <= _DAMAGED_STEPS and bias_off <= _DROPPED_STEPS:
        return None
    if not _off(layer) and bias_off <= _MOVED_BIAS_STEPS:
        return None
    if layer.stored.weights_off_steps <= _MOVED_STEPS and _rescaled_biases(layer):
        return None  # the biases are off, but as they would be right on another grid
    avoidable_db = min(layer.cost.weights_db, layer.cost.recovered_db)
    return _Suspect(layer, avoidable_db, "stored values")


def _cut_off(layer: LayerError, *, wrong_ends: bool) -> _Suspect | None:
    """Return what a grid costs that does not hold the values.

    Behind an end that is read darker or brighter, other values than the reference's reach the
    grid: there a layer costs no more than what it gets back when it stays in float.
    """
    cost = layer.cost
    if cost is None or layer.accumulated.saturated_share < _CUT_OFF:
        return None
    most = cost.recovered_db if wrong_ends else cost.saturation_db
    return _Suspect(layer, min(cost.saturation_db, most), "saturation")


def _wide(layer: LayerError) -> _Suspect | None:
    """Return what a grid costs that is wider than the values."""
    avoidable_db = _wide_db(layer)
    return _Suspect(layer, avoidable_db, "wide grid") if avoidable_db > 0 else None


def _wide_db(layer: LayerError) -> float:
    """Return what a grid of the values' span would save; noise goes with its step squared."""
    if layer.cost is None or not _is_wide(layer):
        return 0.0
    saved = 1 - _needed_share(layer) ** 2
    return max(layer.cost.activation_db - layer.cost.saturation_db, 0.0) * saved


def _is_wide(layer: LayerError) -> bool:
    """Whether a grid is far wider than the values, and its width a choice."""
    chosen = not layer.tied_to_output and layer.operator not in {INPUT, *_FIXED_GRIDS}
    return chosen and _needed_share(layer) <= _WIDE


def _needed_share(layer: LayerError) -> float:
    """Return the share of a grid's span that the values need; 0 is always on a grid."""
    span = max(layer.maximum, 0.0) - min(layer.minimum, 0.0)
    return span / (layer.grid_maximum - layer.grid_minimum)


def _wrong_ends(comparison: Comparison) -> list[LayerError]:
    """Return input and output, if their grids are not black to white in 256 steps."""
    ends = [one for one in comparison.layers if one.how == "end"]
    white = comparison.value_max
    return [
        one
        for one in ends
        if abs(one.grid_minimum) > one.scale / 2 or abs(one.grid_maximum - white) > one.scale / 2
    ]


def _of_ends(
    comparison: Comparison,
    costs: CauseCosts,
    ends: Sequence[LayerError],
    reference: str,
) -> Diagnosis:
    grids = " and ".join(
        f"{'input' if one.operator == INPUT else 'output'} bytes from {one.grid_minimum:.4g} to "
        f"{one.grid_maximum:.4g}"
        for one in ends
    )
    shift = float(np.mean([picture.colour_shift for picture in comparison.pictures]))
    return Diagnosis(
        costs_most=f"{_loses(comparison, costs)}; the grids of its ends cost "
        f"{costs.io_grid_db:.4f} dB by themselves.",
        why=f"It counts {grids}, but a phone feeds and shows raw bytes, black to white: pictures "
        f"come out {abs(shift):.2f} of 255 steps {'brighter' if shift > 0 else 'darker'} on "
        "average.",
        what_to_do="Quantize again with the grids of a picture, which qsr gives both ends, and "
        f"with bright and dark images: {_quantize(reference)}",
        layer=ends[0].label,
        cause="I/O grid",
    )


def _of_suspect(
    comparison: Comparison, costs: CauseCosts, worst: _Suspect, reference: str
) -> Diagnosis:
    layer = worst.layer
    why, what_to_do = {
        "stored values": (_why_stored, _quantize_again),
        "grid changed": (_why_changed, _quantize_again),
        "saturation": (_why_cut_off, _other_images),
        "wide grid": (_why_wide, _other_images),
    }[worst.cause]
    few = len(comparison.pictures) < _FEW_PICTURES and worst.cause == "wide grid"
    return Diagnosis(
        costs_most=f"{_loses(comparison, costs)}; {layer.label} costs "
        f"{worst.avoidable_db:.4f} dB by itself that need not be.",
        why=f"{why(layer)}{_TOO_FEW if few else ''}",
        what_to_do=what_to_do(reference),
        layer=layer.label,
        cause=worst.cause,
    )


def _why_stored(layer: LayerError) -> str:
    stored = layer.stored
    assert stored is not None  # noqa: S101 (only a layer with stored values is suspected of them)
    weights = stored.weights_off_steps > _MOVED_STEPS
    what = (
        f"weights are up to {stored.weights_off_steps:.1f} steps off (rounding leaves 0.5)"
        if weights
        else f"biases are up to {stored.bias_off_steps:.1f} steps of its output's grid off"
    )
    return (
        f"Its {what}, most in channel {stored.channel}: they are not the reference's, rounded, but "
        "were changed or damaged."
    )


def _why_changed(layer: LayerError) -> str:
    return (
        f"Its grid (scale {layer.scale:.6g}, zero point {layer.zero_point}) was changed after "
        "quantization: what reads it has biases, or copies integers, for another one."
    )


def _why_cut_off(layer: LayerError) -> str:
    error = layer.accumulated
    ends = [
        f"{100 * share:.3g} % of its values lie {side} {end:.4g}"
        for share, side, end in (
            (error.saturated_low, "below", layer.grid_minimum),
            (error.saturated_high, "above", layer.grid_maximum),
        )
        if share > _CUT_OFF / 2
    ]
    return (
        f"Its grid is too narrow or shifted: it holds {layer.grid_minimum:.4g} to "
        f"{layer.grid_maximum:.4g}, the values span {layer.minimum:.4g} to {layer.maximum:.4g}; "
        f"{' and '.join(ends)} and are cut off."
    )


def _why_wide(layer: LayerError) -> str:
    return (
        f"Its grid is too wide: it holds {layer.grid_minimum:.4g} to {layer.grid_maximum:.4g}, the "
        f"values span {layer.minimum:.4g} to {layer.maximum:.4g} and get "
        f"{_needed_share(layer) * _steps(layer):.0f} of {_steps(layer)} steps."
    )


def _quantize_again(reference: str) -> str:
    return f"Quantize the reference again: {_quantize(reference)}"


def _other_images(reference: str) -> str:
    return (
        "Choose other representative images (qsr audit-repdata tells which image did it): qsr "
        f"search-repdata {reference} --candidates DIR --validation DIR --refine"
    )


def _quantize(reference: str) -> str:
    return f"qsr quantize {reference} --repdata DIR -o OUT.tflite"


def _of_rounding(
    comparison: Comparison, costs: CauseCosts, named: Sequence[_Suspect], reference: str
) -> Diagnosis:
    """Say where the price of 8 bits is paid."""
    kind = "weights" if costs.weights_db > costs.activations_db else "activations"
    dear = sorted(
        (one for one in comparison.layers if one.cost is not None),
        key=lambda one: -(one.cost.alone_db if one.cost else 0.0),
    )
    labels = Counter(one.label for one in dear)
    layers = ", ".join(
        f"{one.label if labels[one.label] == 1 else f'{one.label} ({one.operator})'} "
        f"{one.cost.alone_db:.4f}"
        for one in dear[:3]
        if one.cost is not None
    )
    good = costs.total_db <= GOOD_DB
    stored = dear[0].stored if dear else None
    shared = kind == "weights" and stored is not None and stored.one_scale
    return Diagnosis(
        costs_most=f"{_loses(comparison, costs)}: weights "
        f"{costs.weights_db:.4f}, activations {costs.activations_db:.4f}, ends "
        f"{costs.io_grid_db:.4f}, together {costs.interaction_db:+.4f}, integer arithmetic "
        f"{costs.kernels_db:+.4f} dB.",
        why=f"It is rounding to 8 bits{_besides(named)}. Most, each by itself: {layers} dB."
        f"{_ONE_SCALE if shared else ''}",
        what_to_do="Nothing; this is about what 8 bits cost."
        if good
        else f"Give each channel a weight scale: qsr quantize {reference} --repdata DIR --scheme "
        "uint8 -o OUT.tflite. If the hardware takes one per kernel only: --equalize, or qsr "
        f"search-repdata {reference} --candidates DIR --validation DIR --refine."
        if shared
        else f"Let the search refine it: qsr search-repdata {reference} --candidates DIR "
        "--validation DIR --refine. If that is not enough: qsr qat.",
        layer=dear[0].label if dear else None,
        cause="none" if good else kind,
    )


def _besides(named: Sequence[_Suspect]) -> str:
    """Say what rounding is not, or what else there is that costs little."""
    if not named:
        return "; no grid cuts values off or is far too wide"
    others = ", ".join(
        f"{one.layer.label} ({one.cause}, {one.avoidable_db:.4f} dB)" for one in named[:3]
    )
    return f" for the most part; a small part need not be: {others}"


def _all_off(comparison: Comparison, off: Sequence[LayerError], stored: int) -> Diagnosis:
    """Say that the two are not roundings of the same weights, and which way.

    Equalization rescales what nearly all of these layers make; further training may look like it in
    one or another.
    """
    lost = (
        _loses(comparison, comparison.causes)
        if comparison.causes
        else "The tested model is not the reference with its weights rounded"
    )
    rescaled = [one for one in comparison.layers if _rescaled(one.accumulated)]
    if _most_rescaled(off):
        return Diagnosis(
            costs_most=f"{lost}; what single layers cost cannot be told from these two models.",
            why=f"The channels of {len(rescaled)} inner tensors, such as {rescaled[0].label}, were "
            "multiplied by factors of their own (equalization), which leaves the function alone.",
            what_to_do="Compare with the float model that was equalized: a search writes it as "
            "model_fp32.tflite into its run folder.",
            layer=None,
            cause="equalization",
        )
    return Diagnosis(
        costs_most=f"{lost}; what single layers cost holds the change of their weights, too.",
        why=f"Weights of {len(off)} of {stored} layers are over {_MOVED_STEPS:.0f} steps off, as "
        "the model was trained further (quantization-aware training) or is of another training.",
        what_to_do="After qsr qat, compare with the float model of the same run; otherwise give "
        "the float model that the integer one was made from.",
        layer=None,
        cause="other weights",
    )


def _rescaled(error: TensorError) -> bool:
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


def _by_noise(comparison: Comparison) -> Diagnosis:
    """Say which layer adds most noise, where no original says what that costs."""
    noises = {
        place: layer.local.sqnr_db
        for place, layer in enumerate(comparison.layers)
        if layer.local is not None
    }
    what_to_do = "Give photographs or HR images, so that costs in dB can be measured."
    if not noises:
        return Diagnosis(
            costs_most="What the differences cost in dB is not known without originals.",
            why="No layer could be measured by itself.",
            what_to_do=what_to_do,
            layer=None,
            cause="activations",
        )
    lowest = comparison.layers[min(noises, key=lambda place: noises[place])]
    cause, why = _why_noise(lowest)
    return Diagnosis(
        costs_most=f"{lowest.label} adds most noise by itself: SQNR {min(noises.values()):.2f} dB, "
        f"where half of the layers have {median(noises.values()):.2f} dB or more.",
        why=why,
        what_to_do=what_to_do,
        layer=lowest.label,
        cause=cause,
    )


def _why_noise(layer: LayerError) -> tuple[str, str]:
    """Return a cause of a layer's noise, and say it."""
    if layer.accumulated.saturated_share >= _CUT_OFF:
        return "saturation", _why_cut_off(layer)
    if _off(layer):
        return "stored values", _why_stored(layer)
    if _is_wide(layer):
        return "wide grid", _why_wide(layer)
    return "activations", "It is rounding; its grid neither cuts values off nor is far too wide."


def _pictures(count: int) -> str:
    return f"{count} pictures" if count > 1 else "the picture"


def _loses(comparison: Comparison, costs: CauseCosts) -> str:
    pictures = _pictures(len(comparison.pictures))
    return f"The tested model loses {costs.total_db:.4f} dB of PSNR on {pictures}"
