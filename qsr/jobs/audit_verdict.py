"""An audit in words: what is wrong with a representative set, why, and what to do next.

The thresholds were set on 400 single-image sets for the built-in XCAT x3 (BSDS500 train and test,
pinned ends), each a real integer model scored on B100: the median set lost 0.032 dB, the best
0.024, the worst 0.41.
"""

from dataclasses import dataclass, replace

from qsr.calibration.scheme import SCHEMES
from qsr.jobs.audit_records import Audit, HeldOut, IoGrid, TensorAudit, Verdict, VerdictKind

NARROW_SHARE = 1e-3
"""Share of a tensor's held-out activations that are cut off, from which on a set is too narrow: it
holds for 48 of the 400 sets, among them each that lost more than 0.06 dB; one of the 48 lost less
than 0.04."""

NARROW_SPAN = 200
"""Bytes from the darkest to the brightest LR pixel: of 17 sets that span fewer, 15 lost more than
0.06 dB. What a network never saw bright or in full contrast has narrow ranges."""

STRETCHED = 0.1
"""Share of their width that grids lose without one image: the error of rounding is proportional to
the width, so that is 20 log10(1 / 0.9) = 0.9 dB in every layer, for the sake of one image."""

DIFFERENT_HALVES = 0.25
"""Difference of two random halves' grids: 20 log10(1 / 0.75) = 2.5 dB of the error of rounding
hang on which images happened to be taken."""

COARSE_DB = 1.0
"""How much smaller the error of rounding and saturation could be. Of the sets that are not too
narrow, those where it is 0.25 to 0.5 dB lost 0.029 dB in the mean, those of 1.5 to 2 dB 0.035, and
all 400 images together, 3.0 dB, lost 0.038."""

VISIBLE_ERROR = 1.0
"""8-bit steps by which a byte may stand for another brightness: rounding alone does half of it."""

_NEVER = 0.5e-6
"""A share that is not printed as 0.0000 %."""


@dataclass(frozen=True)
class _Finding:
    """One thing to say: what it makes of the set, and why."""

    kind: VerdictKind
    sentences: tuple[str, ...]


def judge(audit: Audit) -> Verdict:
    """Return the verdict on a representative set: the gravest finding in full, others briefly."""
    looks = (_io, _nothing_to_judge, _narrow, _stretched, _unstable, _coarse)
    findings = [found for look in looks if (found := look(audit)) is not None]
    gravest, *others = findings or [_sound(audit)]
    sentences = [*gravest.sentences, *(finding.sentences[0] for finding in others)]
    if audit.held_out is None and audit.judged:
        sentences.append(
            "What the set would cut off was not measured: give --against a folder of other images, "
            "like those that the model will meet."
        )
    purpose, command = _next(audit, gravest.kind)
    return Verdict(gravest.kind, tuple(sentences), purpose, command)


def _io(audit: Audit) -> _Finding | None:
    """Say what the images do to the ends, if they are left to them."""
    said = [
        _io_sentence(grid)
        for grid in audit.io_grids
        if not grid.pinned and grid.largest_error > VISIBLE_ERROR
    ]
    if not said:
        return None
    said.append("Leave --io-from-images out, and both ends are exact.")
    return _Finding("wrong brightness", tuple(said))


def _io_sentence(grid: IoGrid) -> str:
    brighter = grid.byte_128_means > 128  # noqa: PLR2004
    if grid.end == "input":
        effect = f"is read {'brighter' if brighter else 'darker'} than it is"
    else:
        effect = f"is shown {'darker' if brighter else 'brighter'} than the network made it"
    return (
        f"Wrong brightness: on the {grid.end} grid that these images give, byte 128 stands for "
        f"{grid.byte_128_means:.1f}, so every picture {effect} (by up to {grid.largest_error:.0f} "
        "of 255)."
    )


def _nothing_to_judge(audit: Audit) -> _Finding | None:
    if audit.judged:
        return None
    said = "Any set is good: every range of this model is known without images, and pinned."
    return _Finding("good", (said,))


def _narrow(audit: Audit) -> _Finding | None:
    """Say what is cut off, why, and whether one more image would help."""
    held_out = audit.held_out
    narrow_span = audit.highest_byte - audit.lowest_byte < NARROW_SPAN
    reason = (
        f"{_its_images(audit)} bytes {audit.lowest_byte} to {audit.highest_byte} only, of 0 to 255 "
        "(in LR): the network never answered to anything brighter or of more contrast while its "
        "ranges were taken."
    )
    if held_out is None:
        if not narrow_span or not audit.judged:
            return None
        return _Finding("likely too narrow", (f"Likely too narrow: {_lower(reason)}",))
    if held_out.worst_share < NARROW_SHARE:
        return None
    worst = _tensor(audit, held_out.worst_tensor)
    costliest = max(audit.judged, key=_clipped_to_rounding)
    where = "There" if costliest == worst else f"In {costliest.label}"
    said = [
        (
            "Too narrow: an integer layer can hold no value beyond those that these images reach, "
            f"and {held_out.saturating_images} of {held_out.images} held-out images reach further."
        ),
        (
            f"In {worst.label}, the worst layer, {percent(held_out.worst_share)} of their values "
            f"are cut off; from {percent(NARROW_SHARE)} on, models lose visibly. {where} that "
            f"costs {_clipped_to_rounding(costliest):.0f} times the error of rounding."
        ),
    ]
    if narrow_span:
        said.append(f"The reason: {_lower(reason)}")
    if held_out.add is not None:
        said.append(
            f"More images help: {held_out.add.image} of the held-out ones alone would take the "
            f"worst layer to {percent(held_out.add.share_after)} on the others."
        )
    return _Finding("too narrow", tuple(said))


def _stretched(audit: Audit) -> _Finding | None:
    drop = audit.drop
    if drop is None or drop.narrower < STRETCHED:
        return None
    share, whose = drop.own_share, "its own"
    if drop.held_out_share is not None:
        share, whose = drop.held_out_share, "held-out"
    if share >= NARROW_SHARE:
        return None
    said = (
        f"Stretched by one image: for the sake of {drop.image} alone, every picture is computed in "
        f"coarser steps. Without it the grids are {drop.narrower:.0%} narrower on average "
        f"({_tensor(audit, drop.tensor).label}: {drop.tensor_narrower:.0%}), and in no layer more "
        f"than {percent(share)} of {whose} values would be cut off: drop it."
    )
    return _Finding("stretched by one image", (said,))


def _unstable(audit: Audit) -> _Finding | None:
    differences = [
        (tensor.halves_median, tensor)
        for tensor in audit.judged
        if tensor.halves_median is not None and tensor.halves_median >= DIFFERENT_HALVES
    ]
    if not differences:
        return None
    difference, worst = max(differences, key=lambda one: one[0])
    said = (
        f"Unstable: two random halves of these {audit.images} images give {worst.label} ranges "
        f"that differ by {difference:.0%} (median of {audit.splits} splits; at worst "
        f"{worst.halves_worst:.0%}), so chance decides how fine its grid is: take more images, or "
        "choose them by a search."
    )
    return _Finding("unstable", (said,))


def _coarse(audit: Audit) -> _Finding | None:
    held_out = audit.held_out
    if held_out is None or held_out.gain_db < COARSE_DB or held_out.worst_share >= NARROW_SHARE:
        return None
    most = max((tensors[0] for tensors in audit.grids), key=_gain_db)
    width = most.saturation.best_width if most.saturation is not None else 1.0
    said = (
        (
            f"Safe but coarse: {_cut_off(held_out)}, but each layer spreads its 256 values as far "
            "as the rarest extremes of these images, so every picture is computed in coarser steps "
            "than need be."
        ),
        (
            f"With the best width of each grid, the layers' errors of rounding and cutting off "
            f"(not the PSNR) would be {held_out.gain_db:.1f} dB smaller on average ({most.label}: "
            f"{_gain_db(most):.1f} dB at {width:.0%} of its width)."
        ),
        "Fewer images, chosen by a search, give finer grids.",
    )
    return _Finding("coarse", said)


def _sound(audit: Audit) -> _Finding:
    held_out = audit.held_out
    span = f"bytes {audit.lowest_byte} to {audit.highest_byte}"
    if held_out is None:
        if audit.images == 1:
            said = (
                "Cannot be told: one image has nothing to be compared with. In its favour, it "
                f"spans {span} (in LR)."
            )
        else:
            said = (
                "Nothing speaks against it: no image alone stretches the grids, random halves "
                f"agree, and {_lower(_its_images(audit))} {span} (in LR)."
            )
        return _Finding("not measured", (said,))
    sentences = [
        f"Good: {_cut_off(held_out)}; only from {percent(NARROW_SHARE)} on do models lose visibly.",
        (
            "Its grids are about as fine as the held-out images allow: with the best width of "
            f"each, the layers' errors (not the PSNR) would be {held_out.gain_db:.1f} dB smaller."
        ),
    ]
    if audit.images == 1:
        sentences.append(
            f"It is one image: that rests on these {held_out.images} held-out images alone, which "
            "must be like those that the model will meet."
        )
    return _Finding("good", tuple(sentences))


def _next(audit: Audit, kind: VerdictKind) -> tuple[str, tuple[str, ...]]:
    """Return what to do next, with the options that the set was audited with."""
    pool = "DIR" if kind == "too narrow" else audit.images_folder
    model, validation = audit.model, audit.against_folder or "DIR"
    again = ("qsr", "audit-repdata", model, "--images", audit.images_folder)
    match kind:
        case "wrong brightness":
            exact = replace(audit, scheme=replace(audit.scheme, pin_io=True))
            against = () if audit.against_folder is None else ("--against", audit.against_folder)
            return "next, with exact ends", (*again, *against, *_options(exact))
        case "good":
            words: tuple[str, ...] = ("qsr", "quantize", model, "--repdata", audit.images_folder)
            purpose = "next, make the integer model"
        case "not measured" | "likely too narrow":
            words = (*again, "--against", "DIR")
            purpose = "next, measure what would be cut off"
        case _:
            words = ("qsr", "search-repdata", model, "--candidates", pool)
            words += ("--validation", validation)
            which = "more" if pool == "DIR" else "these"
            purpose = f"next, let a search choose among {which} images"
    return purpose, (*words, *_options(audit))


def _options(audit: Audit) -> tuple[str, ...]:
    """Return the options of the audit that are not the default ones."""
    pinned = replace(audit.scheme, pin_io=True)
    name = next(name for name, scheme in SCHEMES.items() if scheme == pinned)
    return (
        *(() if name == "uint8" else ("--scheme", name)),
        *(() if audit.scheme.pin_io else ("--io-from-images",)),
        *(() if audit.reader == "exact" else ("--reader", audit.reader)),
    )


def _its_images(audit: Audit) -> str:
    return "Its one image spans" if audit.images == 1 else f"Its {audit.images} images span"


def _cut_off(held_out: HeldOut) -> str:
    if held_out.worst_share < _NEVER:
        return f"nothing of {held_out.images} held-out images is cut off"
    return (
        f"of {held_out.images} held-out images at most {percent(held_out.worst_share)} of a "
        "layer's values are cut off"
    )


def percent(share: float) -> str:
    """Return a share of 0 to 1 as text, with digits where they matter."""
    if share < _NEVER:
        return "0 %" if share == 0 else "under 0.0001 %"
    digits = 2 if share >= 0.9e-3 else 4  # noqa: PLR2004
    return f"{100 * share:.{digits}f} %"


def _tensor(audit: Audit, name: str) -> TensorAudit:
    return next(tensor for tensor in audit.tensors if tensor.name == name)


def _clipped_to_rounding(tensor: TensorAudit) -> float:
    return 0.0 if tensor.saturation is None else tensor.saturation.clipped_to_rounding


def _gain_db(tensor: TensorAudit) -> float:
    return 0.0 if tensor.saturation is None else tensor.saturation.gain_db


def _lower(text: str) -> str:
    return text[0].lower() + text[1:]
