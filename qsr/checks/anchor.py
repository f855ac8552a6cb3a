"""Is the nearest-neighbour picture that a network adds to really the picture?"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from qsr.analysis.labels import layer_label
from qsr.checks.findings import Finding
from qsr.checks.picture_copies import PictureCopy, find_copies
from qsr.checks.picture_grid import white_of
from qsr.checks.subject import Subject
from qsr.checks.tensor_values import grid_ends
from qsr.tflite.graph import Graph
from qsr.tflite.runtime import RGB_CHANNELS

_EXACT = 1e-3
"""A byte of the copy that is off by less, in 8-bit levels, is exact."""

_IN_PLACE = {"ADD", "SUB", "MUL", "DIV", "MINIMUM", "MAXIMUM"}
"""Operators whose result may take the place of an operand in memory."""


def check_anchor(subject: Subject) -> Iterator[Finding]:
    """Look at every copy of the picture: its weights, and in an integer model all its bytes."""
    for kernel in subject.trainable:
        yield Finding(
            code="QSR302",
            where=kernel.layer,
            problem=f"training may change its {kernel.parameters} numbers; once they are not 0 and "
            "1 the picture is no longer copied, and its range is no longer known",
            advice="freeze the kernel (XCAT, section 3.1): trainable_kernel=False",
            evidence={"parameters": kernel.parameters},
        )
    for copy in find_copies(subject.graph):
        yield from _of_copy(subject, copy)


def _of_copy(subject: Subject, copy: PictureCopy) -> Iterator[Finding]:
    label = layer_label(copy.result.name)
    white = subject.facts.value_max
    if copy.source.quantized:
        white = white_of(float(copy.source.scale[0]))
    gain = float(np.abs(copy.kernel.sum(axis=1) - 1).max())
    bias = float(np.abs(copy.bias).max() / white * 255)
    if copy.deviation > 1e-6 or bias > _EXACT or not _in_order(copy):  # noqa: PLR2004
        yield Finding(
            code="QSR303",
            where=label,
            problem=f"weights are off by up to {copy.deviation:.4f} from the 0 and 1 of a copy: "
            f"white comes out up to {255 * gain + bias:.2f} levels off",
            advice="freeze the kernel and train again; what follows it has learned to make up for "
            "it, so that restoring it alone would do harm",
            evidence={"deviation": copy.deviation, "white_error_levels": 255 * gain + bias},
        )
        return
    if not copy.source.quantized:
        yield _exact(label, "every weight is 0 or 1, and there is no bias")
        return
    damage = _damage(copy, white)
    if damage.worst_levels < _EXACT:
        yield _exact(label, f"all {damage.codes} values come out as they go in")
        return
    wrong_range = _is_overwritten(subject.graph, copy)
    repaired = _repair_gain(subject, copy)
    yield Finding(
        code="QSR304",
        where=label,
        problem=f"{damage.changed} of {damage.codes} values come out changed, by up to "
        f"{damage.worst_levels:.2f} levels: scale {float(copy.result.scale[0]):.6f} where the "
        f"picture has {float(copy.source.scale[0]):.6f}",
        advice="give the copy the grid of the picture: quantize with qsr, which knows its range",
        cost_db=None if wrong_range else repaired,
        evidence={
            "changed_values": damage.changed,
            "values": damage.codes,
            "worst_error_levels": damage.worst_levels,
        },
    )
    if wrong_range:
        yield _overwritten(subject.graph, copy, label, repaired)


def _exact(label: str, proof: str) -> Finding:
    return Finding(code="QSR301", where=label, problem=proof, advice="nothing")


def _in_order(copy: PictureCopy) -> bool:
    """Whether output channel i copies input channel i mod 3, as depth-to-space needs it."""
    places = copy.exact_kernel.argmax(axis=1)
    return bool((places == np.arange(len(places)) % RGB_CHANNELS).all())


@dataclass(frozen=True)
class _Damage:
    """What becomes of every value that a grid holds.

    Attributes:
        codes: how many there are.
        changed: how many come out as other values.
        worst_levels: by how much at most, in 8-bit levels.
    """

    codes: int
    changed: int
    worst_levels: float


def _damage(copy: PictureCopy, white: float) -> _Damage:
    """Put every value of the source's grid through an exact copy, rounded to the result's grid."""
    ends = np.iinfo(copy.source.dtype)
    codes = np.arange(int(ends.min), int(ends.max) + 1)
    real = (codes - int(copy.source.zero_point[0])) * float(copy.source.scale[0])
    scale, zero_point = float(copy.result.scale[0]), int(copy.result.zero_point[0])
    limits = np.iinfo(copy.result.dtype)
    made = np.clip(np.rint(real / scale) + zero_point, int(limits.min), int(limits.max))
    error = np.abs((made - zero_point) * scale - real) * (255.0 / white)
    return _Damage(codes.size, int((error >= _EXACT).sum()), float(error.max()))


def _is_overwritten(graph: Graph, copy: PictureCopy) -> bool:
    """Whether a copy's grid proves that another tensor's range was recorded for it.

    A grid narrower than the source's proves nothing: that range may have been measured, and the
    source's set by hand.
    """
    readers = graph.consumers[copy.result.index]
    own, source = grid_ends(copy.result), grid_ends(copy.source)
    step = float(copy.source.scale[0])
    beyond = own[0] < source[0] - step or own[1] > source[1] + step
    return beyond and len(readers) == 1 and readers[0].kind in _IN_PLACE


def _overwritten(graph: Graph, copy: PictureCopy, label: str, cost: float | None) -> Finding:
    """Say what proves that the range is not the copy's own."""
    (reader,) = graph.consumers[copy.result.index]
    own, source = grid_ends(copy.result), grid_ends(copy.source)
    return Finding(
        code="QSR401",
        where=label,
        problem=f"its grid holds {own[0]:.4f}..{own[1]:.4f}, and the picture that it copies "
        f"{source[0]:.4f}..{source[1]:.4f}: a copy holds nothing that its source does not, so that "
        f"the range is another tensor's. {reader.kind} reads it and can write its result over it, "
        "which is what TFLite's calibrator then records",
        advice="quantize with ranges that are read from intact tensors: qsr quantize --reader "
        "exact, which is the default",
        cost_db=cost,
        evidence={
            "grid_minimum": own[0],
            "grid_maximum": own[1],
            "source_minimum": source[0],
            "source_maximum": source[1],
        },
    )


def _repair_gain(subject: Subject, copy: PictureCopy) -> float | None:
    """Measure what the model gains if the copy gets its source's grid."""
    if not subject.pictures:
        return None
    if any(reader.kind not in _IN_PLACE for reader in subject.graph.consumers[copy.result.index]):
        return None  # others may need it and their result to share a grid
    grid = (float(copy.source.scale[0]), int(copy.source.zero_point[0]))
    repaired = subject.graph.with_grids({copy.result.index: grid})
    return subject.psnr_db(repaired) - subject.psnr_db(subject.model)
