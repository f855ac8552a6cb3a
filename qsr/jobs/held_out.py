"""Validation images, divided into those that choose and those that confirm."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from hashlib import sha256

from qsr.calibration.provenance import image_hash
from qsr.data.decoded import DecodedPairs
from qsr.errors import UsageError

LEAST_CONFIRMING = 2
"""Images that a confidence interval needs at the very least."""


@dataclass(frozen=True)
class HeldOut:
    """Validation images, divided.

    Attributes:
        selection: those that models are chosen on.
        selection_hashes: of the pixels of their LR and HR images.
        confirmation: those that took no part in choosing.
        confirmation_hashes: of the pixels of their LR and HR images.
        shared: names of validation images that are candidates too, found by their pixels. They
            help to choose, and never confirm.
    """

    selection: DecodedPairs
    selection_hashes: tuple[str, ...]
    confirmation: DecodedPairs
    confirmation_hashes: tuple[str, ...]
    shared: tuple[str, ...]


def divide(
    validation: DecodedPairs, confirmation: DecodedPairs | None, candidates: Collection[str]
) -> HeldOut:
    """Divide validation images.

    They are divided by the hashes of their pixels: neither names nor order, nor who runs it, make a
    difference, and what one folder's images have in common is spread over both parts.

    Args:
        validation: all of them, or those that choose.
        confirmation: those that confirm; None takes half of ``validation``.
        candidates: hashes of the pixels of the candidates, which must not confirm.

    Raises:
        UsageError: too few are left to choose or to confirm.
    """
    hashes = _hashes(validation)
    shared = [index for index, digest in enumerate(hashes) if digest in candidates]
    if confirmation is None:
        different = set(hashes)  # copies of one image stay together
        half = max(len(different) // 2, LEAST_CONFIRMING)
        apart = set(sorted(different - set(candidates))[:half])
        confirming = [index for index, digest in enumerate(hashes) if digest in apart]
        choosing = [index for index, digest in enumerate(hashes) if digest not in apart]
        parts = validation.at(choosing), validation.at(confirming)
        names = [validation.names[index] for index in shared]
    else:
        known = {*candidates, *hashes}
        others = _hashes(confirmation)
        confirming = [index for index, digest in enumerate(others) if digest not in known]
        parts = validation, confirmation.at(confirming)
        names = [validation.names[index] for index in shared]
        names += [
            name for name, digest in zip(confirmation.names, others, strict=True) if digest in known
        ]
    _check_enough(parts, names)
    selection, confirming_pairs = parts
    return HeldOut(
        selection,
        _whole_hashes(selection),
        confirming_pairs,
        _whole_hashes(confirming_pairs),
        tuple(names),
    )


def check_count(validation: int, confirmation: int | None) -> None:
    """Raise UsageError for fewer images than :func:`divide` needs, whatever they show.

    Args:
        validation: number of validation images.
        confirmation: number of those that confirm; None if half of the others do.
    """
    if confirmation is None:
        enough, found = validation > LEAST_CONFIRMING, f"{validation}"
    else:
        enough = validation >= 1 and confirmation >= LEAST_CONFIRMING
        found = f"{validation} choose and {confirmation} confirm"
    if not enough:
        raise _too_few(found)


def _check_enough(parts: tuple[DecodedPairs, DecodedPairs], shared: Sequence[str]) -> None:
    selection, confirmation = parts
    if len(selection) >= 1 and len(confirmation) >= LEAST_CONFIRMING:
        return
    found = (
        f"{len(shared)} of them, such as {shared[0]}, are candidates or chosen on too, found by "
        "their pixels"
        if shared
        else f"{len(selection)} would choose and {len(confirmation)} confirm"
    )
    raise _too_few(found)


def _too_few(found: str) -> UsageError:
    return UsageError(
        f"too few validation images ({found}): at least 1 must choose and {LEAST_CONFIRMING} "
        "others confirm; give more with --validation, or others with --confirmation"
    )


def _hashes(pairs: DecodedPairs) -> tuple[str, ...]:
    return tuple(image_hash(lr) for lr, _ in pairs)


def _whole_hashes(pairs: DecodedPairs) -> tuple[str, ...]:
    return tuple(sha256((image_hash(lr) + image_hash(hr)).encode()).hexdigest() for lr, hr in pairs)
