"""The page of a quantization-aware training."""

from collections.abc import Mapping, Sequence
from typing import Any

from qsr.jobs.qat import QatReport
from qsr.reports import Origin, Page
from qsr.reports.bar_chart import Bar, bar_figure
from qsr.reports.curve_chart import Curve, curve_figure
from qsr.reports.page import Facts, Figure, Section
from qsr.training.log import read_log


def qat_page(report: QatReport, origin: Origin) -> Page:
    """Return the page of a quantization-aware training, with the curves that its folder holds.

    Args:
        report: what was made.
        origin: of the page.
    """
    log = read_log(report.model.parent)
    drops = [report.fp32_psnr_db - psnr for psnr in (report.ptq_psnr_db, report.qat_psnr_db)]
    gain = report.qat_psnr_db - report.ptq_psnr_db
    plural = "" if report.validation_images == 1 else "s"
    helped = (
        f"Training with the errors of 8 bits gave {gain:.4f} dB"
        if gain > 0
        else f"Training with the errors of 8 bits did not help ({gain:+.4f} dB)"
    )
    sections = [
        Section(
            "Before and after",
            "summary",
            (
                _facts(report),
                bar_figure(
                    "drops",
                    [
                        Bar("before training", drops[0], f"{drops[0]:.4f}"),
                        Bar("after training", drops[1], f"{drops[1]:.4f}", marked=True),
                    ],
                    "drop of PSNR (dB)",
                    "How far the integer models lie below the float network on the validation "
                    "images, which chose the step that the model after training is of.",
                ),
            ),
            beside=True,
        )
    ]
    if len(log) > 1:
        sections.append(Section("Training", "training", _curves(log)))
    return Page(
        title=f"Quantization-aware training of {report.recipe}",
        lead=(
            ("result", f"{helped} on {report.validation_images} validation image{plural}."),
            ("integer model", str(report.model)),
        ),
        sections=sections,
        origin=origin,
    )


def _facts(report: QatReport) -> Facts:
    items = [
        ("recipe", report.recipe),
        ("float network", str(report.float_model)),
        ("before training", str(report.ptq_model)),
        ("after training", str(report.qat_model)),
        ("PSNR of the float network", f"{report.fp32_psnr_db:.3f} dB"),
        ("PSNR before", f"{report.ptq_psnr_db:.3f} dB"),
        ("PSNR after", f"{report.qat_psnr_db:.3f} dB"),
        ("steps", f"{report.steps:,}, the best after {report.best_step:,}"),
        ("channels equalized", "yes" if report.equalized else "no"),
        ("weights rounded for what layers give", "yes" if report.rounding.kept else "no"),
        ("time of training", f"{report.seconds:.0f} s"),
    ]
    return Facts(tuple(items))


def _curves(log: Sequence[Mapping[str, Any]]) -> tuple[Figure, ...]:
    return tuple(
        curve_figure(
            key,
            [Curve(label, tuple((float(line["step"]), float(line[key])) for line in log))],
            ("step", axis),
            caption,
        )
        for key, label, axis, caption in (
            (
                "validation_psnr_db",
                "validation",
                "PSNR (dB)",
                "PSNR on the validation images, at each checkpoint.",
            ),
            ("loss", "loss", "loss", "Mean of the loss since the checkpoint before."),
        )
    )
