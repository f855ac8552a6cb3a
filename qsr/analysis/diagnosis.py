"""What is wrong with a tested model, in words: what costs most, why, and what to do about it.

Costs that a better model of the same network could avoid come first: stored values that are no
rounding of the reference's, ends whose grids are not a picture's, ranges that cut values off or are
far wider than the values. What is left after those is the price of 8 bits.
"""

import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from statistics import median

import numpy as np

from qsr.analysis.matching import INPUT
from qsr.analysis.records import (
    CauseCosts,
    Comparison,
    Diagnosis,
    LayerError,
    Suspect,
)
from qsr.analysis.suspects import (
    CUT_OFF,
    GOOD_DB,
    MOVED_STEPS,
    Suspected,
    are_rescaled,
    bias_off,
    find_suspects,
    is_another_making,
    is_certain,
    is_off,
    is_rescaled,
    is_wide,
    needed_share,
    steps_of,
    wrong_ends_of,
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

_MOST_LAYERS = 0.6
"""Share of the layers with stored values that must be off for all to be of another making."""

_LIKELIER_IMAGES = (
    "give the search candidates and validation images that are more like these pictures (qsr "
    "audit-repdata tells which are not)"
)
_SEARCHED = (
    f"A search has refined this model already: {_LIKELIER_IMAGES}, or train with the errors of 8 "
    "bits: qsr qat."
)

_FEW_PICTURES = 4
_TOO_FEW = " So few pictures may not show how far the values reach: compare on more."

_ONE_SCALE = " All channels of its kernel share one weight scale, few steps for small weights."


def diagnose(comparison: Comparison, *, reference: str, refined: bool = False) -> Diagnosis:
    """Say what costs most, why, and what to do.

    Args:
        comparison: of the two models.
        reference: what the user calls the reference, for commands.
        refined: whether a search made the tested model and refined it.

    Returns:
        Three sentences or so, each of one line.
    """
    reference = "FLOAT_MODEL" if comparison.reference_quantized else shlex.quote(reference)
    stored = [one for one in comparison.layers if one.stored is not None]
    off = [one for one in stored if is_off(one)]
    if len(off) > max(1, _MOST_LAYERS * len(stored)) and is_another_making(comparison, off):
        return _all_off(comparison, off, len(stored))
    if comparison.causes is None:
        return _by_noise(comparison)
    if all(picture.largest_difference == 0 for picture in comparison.pictures):
        return _same(comparison)
    ends = wrong_ends_of(comparison)
    suspects = sorted(
        find_suspects(comparison, comparison.causes, wrong_ends=bool(ends)),
        key=lambda one: (-one.avoidable_db, list(CAUSES).index(one.cause)),
    )
    least_db = max(WORTH_SAYING_DB, _WORTH_NAMING * comparison.causes.total_db)
    certain = [] if comparison.reference_quantized else [one for one in suspects if is_certain(one)]
    worst = next((one for one in suspects if one.avoidable_db > least_db), None)
    worst = worst or (certain[0] if certain else None)
    if not certain and comparison.causes.total_db < -WORTH_SAYING_DB:
        return _better(comparison, comparison.causes)
    ends_db = comparison.causes.io_grid_db
    named = [one for one in suspects if one.avoidable_db > WORTH_SAYING_DB or one in certain]
    if ends and ends_db > max(WORTH_SAYING_DB, worst.avoidable_db if worst else 0.0):
        found = _of_ends(comparison, comparison.causes, ends, reference)
    elif worst is not None:
        found = _of_suspect(comparison, comparison.causes, worst, reference, refined=refined)
    else:
        found = _of_rounding(comparison, comparison.causes, named, reference, refined=refined)
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


def _as_record(suspect: Suspected) -> Suspect:
    layer = suspect.layer
    return Suspect(layer.label, layer.name, suspect.avoidable_db, suspect.cause)


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
    comparison: Comparison,
    costs: CauseCosts,
    worst: Suspected,
    reference: str,
    *,
    refined: bool,
) -> Diagnosis:
    layer = worst.layer
    other_images = _SEARCHED if refined else _other_images(reference)
    why, what_to_do = {
        "stored values": (_why_stored, _quantize_again(reference)),
        "grid changed": (_why_changed, _quantize_again(reference)),
        "saturation": (_why_cut_off, other_images),
        "wide grid": (_why_wide, other_images),
    }[worst.cause]
    few = len(comparison.pictures) < _FEW_PICTURES and worst.cause == "wide grid"
    return Diagnosis(
        costs_most=f"{_loses(comparison, costs)}; {layer.label} costs "
        f"{worst.avoidable_db:.4f} dB by itself that need not be.",
        why=f"{why(layer)}{_TOO_FEW if few else ''}",
        what_to_do=what_to_do,
        layer=layer.label,
        cause=worst.cause,
    )


def _why_stored(layer: LayerError) -> str:
    stored = layer.stored
    assert stored is not None  # noqa: S101 (only a layer with stored values is suspected of them)
    weights = stored.weights_off_steps > MOVED_STEPS
    steps, channel = bias_off(layer)
    if weights:
        steps, channel = stored.weights_off_steps, stored.channel
    what = (
        f"weights are up to {steps:.1f} steps off (rounding leaves 0.5)"
        if weights
        else f"biases are up to {steps:.1f} steps of its output's grid off"
    )
    return (
        f"Its {what}, most in channel {channel}: they are not the reference's, rounded, but "
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
        if share > CUT_OFF / 2
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
        f"{needed_share(layer) * steps_of(layer):.0f} of {steps_of(layer)} steps."
    )


def _quantize_again(reference: str) -> str:
    return f"Quantize the reference again: {_quantize(reference)}"


def _other_images(reference: str) -> str:
    return (
        "Choose other representative images (qsr audit-repdata tells which image did it): qsr "
        f"search-repdata {reference} --candidates DIR --validation DIR"
    )


def _quantize(reference: str) -> str:
    return f"qsr quantize {reference} --repdata DIR -o OUT.tflite"


def _of_rounding(
    comparison: Comparison,
    costs: CauseCosts,
    named: Sequence[Suspected],
    reference: str,
    *,
    refined: bool,
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
        else _against_rounding(reference, one_scale=shared, refined=refined),
        layer=dear[0].label if dear else None,
        cause="none" if good else kind,
    )


def _against_rounding(reference: str, *, one_scale: bool, refined: bool) -> str:
    """Say what makes rounding cost less."""
    if one_scale:
        rest = (
            f"{_LIKELIER_IMAGES}."
            if refined
            else f"--equalize, or qsr search-repdata {reference} --candidates DIR --validation DIR."
        )
        return (
            f"Give each channel a weight scale: qsr quantize {reference} --repdata DIR --scheme "
            f"uint8 -o OUT.tflite. If the hardware takes one per kernel only: {rest}"
        )
    if refined:
        return _SEARCHED
    return (
        f"Let the search refine it: qsr search-repdata {reference} --candidates DIR "
        "--validation DIR. If that is not enough: qsr qat."
    )


def _besides(named: Sequence[Suspected]) -> str:
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
    rescaled = [one for one in comparison.layers if is_rescaled(one.accumulated)]
    if are_rescaled(off):
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
        why=f"Weights of {len(off)} of {stored} layers are over {MOVED_STEPS:.0f} steps off, as "
        "the model was trained further (quantization-aware training) or is of another training.",
        what_to_do="After qsr qat, compare with the float model of the same run; otherwise give "
        "the float model that the integer one was made from.",
        layer=None,
        cause="other weights",
    )


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
    if layer.accumulated.saturated_share >= CUT_OFF:
        return "saturation", _why_cut_off(layer)
    if is_off(layer):
        return "stored values", _why_stored(layer)
    if is_wide(layer):
        return "wide grid", _why_wide(layer)
    return "activations", "It is rounding; its grid neither cuts values off nor is far too wide."


def _pictures(count: int) -> str:
    return f"{count} pictures" if count > 1 else "the picture"


def _loses(comparison: Comparison, costs: CauseCosts) -> str:
    pictures = _pictures(len(comparison.pictures))
    return f"The tested model loses {costs.total_db:.4f} dB of PSNR on {pictures}"
