"""What a check says: findings, and the table of everything that may be found."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Severity = Literal["error", "warning", "info"]

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")
"""Worst first."""


@dataclass(frozen=True)
class Rule:
    """One kind of finding.

    Attributes:
        title: what is found, in a few words.
        severity: how bad it is.
    """

    title: str
    severity: Severity


RULES: dict[str, Rule] = {
    "QSR101": Rule("the output is clipped to black and white", "info"),
    "QSR102": Rule("the output is not clipped", "warning"),
    "QSR103": Rule("the clip of the output copies bytes", "warning"),
    "QSR104": Rule("the output's grid clips by saturation", "info"),
    "QSR201": Rule("bytes mean b/255 at both ends", "info"),
    "QSR202": Rule("the input's grid is not that of a picture", "error"),
    "QSR203": Rule("the output's grid is not that of a picture", "error"),
    "QSR204": Rule("the input's grid would depend on the representative images", "warning"),
    "QSR301": Rule("the nearest-neighbour copy of the picture is exact", "info"),
    "QSR302": Rule("the nearest-neighbour kernel is trainable", "warning"),
    "QSR303": Rule("the nearest-neighbour kernel has been changed", "warning"),
    "QSR304": Rule("quantization damages the nearest-neighbour copy", "error"),
    "QSR401": Rule("a range was recorded after the tensor was overwritten", "error"),
    "QSR402": Rule("an addend has the grid of the sum", "warning"),
    "QSR403": Rule("TFLite's calibrator records a range that is not the tensor's", "warning"),
    "QSR404": Rule("an addend's grid is far wider than its values", "warning"),
    "QSR501": Rule("addends of very different scales", "warning"),
    "QSR502": Rule("joined tensors of very different ranges", "warning"),
    "QSR601": Rule("weights that one scale for the kernel cannot hold", "info"),
    "QSR602": Rule("weights that the target's one scale for the kernel cannot hold", "warning"),
    "QSR603": Rule("a scale per channel, which the target does not run well", "error"),
    "QSR701": Rule("dead channels", "warning"),
    "QSR702": Rule("channels that the grid they share cannot hold", "warning"),
    "QSR801": Rule("outliers widen a grid, and cutting them off helps", "warning"),
    "QSR802": Rule("outliers widen a grid", "info"),
    "QSR901": Rule("operators stay in float", "error"),
    "QSR902": Rule("the ends of an integer model are float", "info"),
    "QSR903": Rule("TFLite cannot quantize the model", "error"),
    "QSR904": Rule("operators that the target does not run", "error"),
    "QSR905": Rule("operators that no source names for the target", "warning"),
    "QSR906": Rule("the target needs one input size", "error"),
}
"""Code to what it stands for. Codes stay what they are; new kinds get new ones."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that a check found.

    Attributes:
        code: a key of :data:`RULES`.
        where: the tensor or layer, ``input`` or ``output``, or ``model``.
        problem: what was found, with the numbers that were measured.
        advice: what to do about it.
        cost_db: what it costs in PSNR against the originals, in dB, measured on the images that
            were given; None if that was not measured. Below 0 if it gains.
        evidence: the numbers, by name, with units in the names.
    """

    code: str
    where: str
    problem: str
    advice: str
    cost_db: float | None = None
    evidence: Mapping[str, float | int | str | None] = field(default_factory=dict)

    @property
    def severity(self) -> Severity:
        """How bad it is: ``error``, ``warning`` or ``info``."""
        return RULES[self.code].severity

    @property
    def title(self) -> str:
        """What kind of finding it is, in a few words."""
        return RULES[self.code].title
