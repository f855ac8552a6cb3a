"""What a step gave an integer model, in words."""

from math import isnan
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qsr.jobs.steps import Step


def words_of(step: "Step") -> str:
    """Say what a step gave, and whether it was kept."""
    return f"{step.step}: {_gave(step)}"


def _gave(step: "Step") -> str:
    from qsr.jobs.steps import nothing_done

    if step.choosing_gain_db is None:
        unseen = "done, but not measured: --data names images to measure on"
        return unseen if step.kept else nothing_done(step.step)
    if isnan(step.choosing_gain_db):
        return "not kept: the model cannot be made, or TFLite cannot run it"
    said = f"{step.choosing_gain_db:+.4f} dB of mean PSNR on the images that chose"
    kept = "kept" if step.kept else "not kept: no sure gain on the images that chose"
    gain = step.gain_db
    if gain is None:
        return f"{said}: {kept}"
    if step.kept and gain.high < 0:
        kept = "kept, but give more images to choose on: it hurts the others"
    said += f", {gain.mean:+.4f} ({gain.low:+.4f} to {gain.high:+.4f}) on the others"
    return f"{said}: {kept}"
