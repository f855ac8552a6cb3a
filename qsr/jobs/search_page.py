"""The page of a search for representative images."""

from collections.abc import Sequence
from math import isfinite, isnan

from qsr.jobs.repdata_report import ModelScore, RepdataReport, steps_around
from qsr.jobs.steps import Step
from qsr.reports import Origin, Page
from qsr.reports.bar_chart import Bar, bar_figure
from qsr.reports.curve_chart import Curve, Mark, curve_figure
from qsr.reports.page import (
    Block,
    Cell,
    Column,
    Facts,
    Figure,
    Names,
    Row,
    Section,
    Table,
    Text,
)
from qsr.reports.wording import decibels_cell, text_cell

_OBJECTIVES = {
    "mean": "mean PSNR (dB)",
    "worst": "worst gain (dB)",
    "p5": "5th percentile of gain (dB)",
}
"""What was maximised, for an axis."""

_MODELS = (
    Column("model", numeric=False),
    Column("choosing", "What was maximised, on the images that chose, dB; ~ is an estimate."),
    Column("PSNR", "Mean over the images that confirm, RGB, dB."),
    Column("drop", "How far that lies below the float model, dB."),
    Column("worst drop", "Of the image that loses most among those that confirm, dB."),
    Column("images", "Number of representative images."),
)
_REFINEMENTS = (
    Column("step", numeric=False),
    Column("choosing", "By how much mean PSNR grew on the images that chose, dB."),
    Column("confirming", "The same on the images that confirm, dB."),
    Column("low", "Lower end of its interval.", "interval"),
    Column("high", "Upper end of its interval.", "interval"),
    Column("kept", "Whether it is part of the model.", numeric=False),
)


def search_page(report: RepdataReport, words: Sequence[str], origin: Origin) -> Page:
    """Return the page of a search.

    Args:
        report: what was found.
        words: what the terminal says of it, the verdict first.
        origin: of the page.
    """
    return Page(
        title=f"Representative images of {report.model}",
        lead=(("result", words[0]), ("integer model", report.integer_model)),
        sections=[
            Section("What was searched", "summary", (_facts(report), *_drops(report)), beside=True),
            Section("Models", "models", (_models(report), *_tried(report), *_refined(report))),
            Section(
                "Images",
                "images",
                tuple(
                    Names(title, names)
                    for title, names in (
                        ("Chosen as representative", report.chosen.images),
                        ("Chose", report.selection_names),
                        ("Confirmed", report.confirmation_names),
                        ("Of those, candidates too, or copies", report.shared_images),
                        ("Left out", report.skipped),
                    )
                    if names
                ),
            ),
            *([Section("Notes", "notes", (Text(tuple(words[1:])),))] if words[1:] else []),
        ],
        origin=origin,
    )


def _facts(report: RepdataReport) -> Facts:
    gain = report.gain_db
    return Facts(
        (
            ("float model", report.model),
            ("input and output", report.scheme.io),
            ("strategy", report.strategy),
            ("candidates", str(report.candidates)),
            ("trials", f"{report.trials}, {report.distinct_models} different models"),
            ("measured in full", f"{report.measured_models} models"),
            ("images", f"{report.selection_images} chose, {report.confirmation_images} confirm"),
            ("PSNR of the float model", f"{report.fp32_psnr_db:.3f} dB"),
            ("gain over all together", f"{gain.mean:+.4f} dB"),
            (
                f"its {gain.confidence:.0%} interval",
                f"{_signed(gain.low)} to {_signed(gain.high)} dB",
            ),
            ("run folder", report.run_folder),
            ("time", f"{report.seconds:.0f} s"),
        )
    )


def _drops(report: RepdataReport) -> list[Figure]:
    """Compare what the chosen model loses with what all candidates together lose."""
    bars = [
        Bar(label, drop, f"{drop:.4f}", marked=score is report.chosen)
        for label, score in (("all together", report.baseline), ("chosen", report.chosen))
        for drop in [score.drop_db]
        if drop is not None
    ]
    return [
        bar_figure(
            "drops",
            bars,
            "drop of PSNR (dB)",
            "What quantization costs on the images that chose nothing: with all candidates as "
            "representative data, and the model that was chosen, refined if it was (hatched).",
        )
    ]


def _models(report: RepdataReport) -> Table:
    chosen = "chosen, refined" if report.chosen.refined else "chosen"
    scores = [(chosen, report.chosen), ("all candidates together", report.baseline)]
    others = [("best tried", report.tried)]
    if report.singles is not None:
        others += [
            ("best single image", report.singles.best),
            ("median single image", report.singles.median),
            ("worst single image", report.singles.worst),
        ]
    for label, score in others:
        if _made_from(score) not in [_made_from(shown) for _, shown in scores]:
            scores.append((label, score))
    return Table(
        "The integer models that matter.",
        _MODELS,
        tuple(Row(_cells(label, score), marked=score is report.chosen) for label, score in scores),
    )


def _made_from(score: ModelScore) -> tuple[tuple[str, ...], str, int, bool]:
    """Return what a model was made from: two made from the same are one."""
    return score.images, score.statistic, score.tuned_tensors, score.refined


def _cells(label: str, score: ModelScore) -> tuple[Cell, ...]:
    objective = score.objective_db
    shown = (
        Cell("cannot run")
        if isnan(objective)
        else Cell(f"{'~' if score.estimated else ''}{objective:.4f}", objective)
    )
    only = score.images[0] if len(score.images) == 1 else ""
    return (
        text_cell(label, note=only),
        shown,
        decibels_cell(score.psnr_db, 3),
        decibels_cell(score.drop_db, 4),
        decibels_cell(score.worst_drop_db, 4),
        Cell(str(len(score.images)), len(score.images)),
    )


def _tried(report: RepdataReport) -> list[Block]:
    """Show how much the choice matters: what was tried, the best first."""
    curves = [
        Curve(label, tuple(enumerate(sorted(filter(isfinite, scores), reverse=True), start=1)))
        for label, scores in (
            ("measured in full", report.measured_db),
            ("estimated, dropped early", report.estimated_db),
        )
    ]
    if sum(len(curve.points) for curve in curves) < 2:  # noqa: PLR2004 (a line needs two points)
        return []
    baseline = report.baseline.objective_db
    return [
        curve_figure(
            "trials",
            curves,
            ("trials, the best first", _OBJECTIVES[report.objective]),
            "What the trials reach on the images that chose, from the best to the worst; dotted: "
            "all candidates together.",
            marks=[] if isnan(baseline) else [Mark("all together", baseline)],
        )
    ]


def _refined(report: RepdataReport) -> list[Table]:
    steps = steps_around(report)
    if not steps:
        return []
    return [
        Table(
            "What was done before and after the search, and what each step gave.",
            _REFINEMENTS,
            tuple(Row(_of_step(step)) for step in steps),
        )
    ]


def _of_step(step: Step) -> tuple[Cell, ...]:
    gain = step.gain_db
    chose = step.choosing_gain_db
    if chose is not None and isnan(chose):
        empty = (decibels_cell(None),) * 3
        return (text_cell(step.step), Cell("cannot run"), *empty, text_cell("no"))
    numbers = (
        chose,
        *((None, None, None) if gain is None else (gain.mean, gain.low, gain.high)),
    )
    return (
        text_cell(step.step),
        *(decibels_cell(None) if one is None else Cell(_signed(one), one) for one in numbers),
        text_cell("yes" if step.kept else "no"),
    )


def _signed(value: float) -> str:
    """Return a gain in dB; the interval of a single image has no ends."""
    return f"{value:+.4f}" if isfinite(value) else "no end"
