"""``qsr search-repdata``."""

from functools import partial
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qsr.cli.command_line import command_line
from qsr.cli.options import (
    Json,
    Model,
    PinIo,
    ReaderName,
    ReportFile,
    SchemeName,
    SkipBadImages,
)
from qsr.cli.output import (
    print_json,
    print_next,
    print_skipped,
    print_table,
    shown_progress,
)
from qsr.cli.pages import check_page, write_page
from qsr.cli.steps import words_of
from qsr.errors import UsageError

if TYPE_CHECKING:
    from qsr.jobs.pages import Origin, Page
    from qsr.jobs.refinement import Refining
    from qsr.jobs.repdata_report import ModelScore, RepdataReport

_SHOWN = 3
"""Names that a line gives of many."""

_FEW_IMAGES = 5
"""Fewer tell nothing: their interval excludes 0 by chance alone too often."""

_CHOOSING = {
    "mean": "choosing, PSNR (dB)",
    "worst": "choosing, worst gain (dB)",
    "p5": "choosing, p5 gain (dB)",
}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("search-repdata")(search_repdata)


def search_repdata(
    context: typer.Context,
    model: Model = "xcat",
    candidates: Annotated[
        Path | None,
        typer.Option(help="Candidate images: photographs, or a folder of LR/HR images."),
    ] = None,
    validation: Annotated[
        Path | None,
        typer.Option(help="Images to score on, half to choose and half to confirm; the same."),
    ] = None,
    confirmation: Annotated[
        Path | None, typer.Option(help="Images to confirm on; then all of --validation choose.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Run folder; by default one below runs/.")
    ] = None,
    strategy: Annotated[
        str,
        typer.Option(
            help="What is tried: linear, greedy, random, all, coverage or ranges; with settings, "
            "such as greedy:largest=4 or random:count=50,seed=1."
        ),
    ] = "linear",
    objective: Annotated[
        str, typer.Option(help="What is maximised over the images: mean, worst or p5.")
    ] = "mean",
    exact: Annotated[
        bool, typer.Option("--exact", help="Drop no candidate early: measure each on every image.")
    ] = False,
    equalized: Annotated[
        bool,
        typer.Option(
            "--equalize/--no-equalize",
            help="First rescale channels that share a grid, if that is seen to help.",
        ),
    ] = True,
    split_channels: Annotated[
        int,
        typer.Option(
            help="Add so many channels at most, after equalizing: copies, half a step apart, of "
            "those that rounding hurts most."
        ),
    ] = 0,
    clip_free: Annotated[
        bool,
        typer.Option(
            "--clip-free",
            help="Leave out the network's clip, and augment each candidate so that the output "
            "still spans exactly black to white.",
        ),
    ] = False,
    refine: Annotated[
        bool | None,
        typer.Option(
            "--refine/--no-refine",
            help="Then do all of the following that the scheme allows, or none; a step is kept "
            "only if it helps. [default: all, or those that are named]",
            show_default=False,
        ),
    ] = None,
    tuned: Annotated[
        bool,
        typer.Option("--tune", help="Tune the ranges of the best, end by end."),
    ] = False,
    weights_rounded: Annotated[
        bool,
        typer.Option(
            "--round-weights",
            help="Choose the integer weights so that layers give what the float model's do.",
        ),
    ] = False,
    ranges_fitted: Annotated[
        bool,
        typer.Option("--fit-ranges", help="Take the activation ranges of least squared error."),
    ] = False,
    biases_corrected: Annotated[
        bool,
        typer.Option(
            "--correct-biases",
            help="Give channels the float model's means on the candidates.",
        ),
    ] = False,
    keep_clip: Annotated[
        bool,
        typer.Option("--keep-clip", help="Leave the clip in the integer model, even if it copies."),
    ] = False,
    scheme: SchemeName = "uint8",
    pin_io: PinIo = True,
    reader: ReaderName = "exact",
    workers: Annotated[
        int | None, typer.Option(help="Processes; by default one per core.", show_default=False)
    ] = None,
    dask: Annotated[
        str | None,
        typer.Option(help="Use the workers of this Dask scheduler, such as tcp://host:8786."),
    ] = None,
    skip_bad_images: SkipBadImages = False,
    page: ReportFile = None,
    json: Json = False,
) -> None:
    """Find the representative images that make the best integer model, and refine that model.

    Every trial is a real integer model. Half of the validation images choose; the winner is then
    measured on the other half. With no arguments: the built-in XCAT x3 on scikit-image's
    photographs. Stop it at any time; the same command goes on where it was.
    """
    from qsr.jobs.search_repdata import search_repdata as run

    check_page(page)
    refining = _refining(refine, tuned, weights_rounded, ranges_fitted, biases_corrected)
    with shown_progress() as progress:
        report = run(
            model,
            candidates=candidates,
            validation=validation,
            confirmation=confirmation,
            out=out,
            strategy=strategy,
            objective=objective,
            exact=exact,
            equalized=equalized,
            split_channels=split_channels,
            clip_free=clip_free,
            refining=refining,
            keep_clip=keep_clip,
            scheme=scheme,
            pin_io=pin_io,
            reader=reader,
            workers=workers,
            dask=dask,
            skip_bad_images=skip_bad_images,
            on_progress=progress,
        )
    print_skipped(report.skipped)
    write_page(page, command_line(context), partial(_page, report))
    if json:
        print_json(report)
    else:
        _print(report)


def _refining(refine: bool | None, *named: bool) -> "Refining | None":
    """Return what is done after the search; None is all that the scheme allows.

    Args:
        refine: all of it, or nothing; None does what is named, or all if nothing is.
        *named: whether each step is named, in their order.
    """
    from qsr.jobs.refinement import Refining

    if refine is False and any(named):
        raise UsageError("leave --no-refine out to do the steps that are named, and no others")
    if refine or (refine is None and not any(named)):
        return None
    tuned, weights_rounded, ranges_fitted, biases_corrected = named
    return Refining(
        tuned=tuned,
        weights_rounded=weights_rounded,
        ranges_fitted=ranges_fitted,
        biases_corrected=biases_corrected,
    )


def _page(report: "RepdataReport", origin: "Origin") -> "Page":
    from qsr.jobs.search_page import search_page

    return search_page(report, _all_words(report), origin)


def _print(report: "RepdataReport") -> None:
    from qsr.jobs.steps import FITTED

    io = report.scheme.io.upper()
    rows = [
        ["FP32, rounded to 8 bits", "", f"{report.fp32_psnr_db:.3f}", "", ""],
        _row(f"{io}, all {report.candidates} candidates together", report.baseline),
    ]
    if not _same(report.chosen, report.baseline):
        refined = ", refined" if report.chosen.refined else ""
        label = f"{io}, chosen: {_described(report.chosen)}{refined}"
        rows.append(_row(label, report.chosen))
    elif not _same(report.tried, report.baseline) and report.singles is None:
        rows.append(_row(f"{io}, best tried: {_described(report.tried)}", report.tried))
    if report.singles is not None:
        for label, score in (
            ("best", report.singles.best),
            ("median", report.singles.median),
            ("worst", report.singles.worst),
        ):
            if not _same(score, report.chosen):
                rows.append(_row(f"{io}, {label} single: {score.images[0]}", score))
    print_table(
        f"{report.model}, RGB: {report.selection_images} images chose, "
        f"{report.confirmation_images} others confirm",
        ["model", _CHOOSING[report.objective], "PSNR (dB)", "drop (dB)", "worst drop"],
        rows,
    )
    for line in _all_words(report):
        typer.echo(line)
    many = "" if len(report.chosen.images) <= _SHOWN else " (all named in summary.json)"
    fitted = any(step.step == FITTED and step.kept for step in report.refinements)
    others = "; their ranges were then replaced by fitted ones" if fitted else ""
    typer.echo(f"chosen representative data: {_described(report.chosen)}{many}{others}")
    removed = ", ".join(report.removed)
    folded = f", without {removed}, which copied bytes alone" if removed else ""
    typer.echo(f"integer model: {report.integer_model}{folded}")
    on = f"workers: {report.workers}" if report.workers else "on the cluster"
    resumed = f", models resumed: {report.resumed_models}" if report.resumed_models else ""
    typer.echo(f"run folder: {report.run_folder}  ({report.seconds:.0f} s, {on}{resumed})")
    print_next(
        "next, see where the integer model differs",
        *("qsr", "compare", "fp32", report.scheme.io, "--run", report.run_folder),
    )
    print_next(
        "and look at it on photographs of your own",
        *("qsr", "upscale", report.integer_model, "PHOTO...", "-o", "upscaled"),
    )


def _all_words(report: "RepdataReport") -> list[str]:
    """Say everything that there is to say, the verdict first."""
    from qsr.jobs.repdata_report import steps_around

    steps = steps_around(report)
    return [*_words(report), *map(words_of, steps), *report.notes]


def _words(report: "RepdataReport") -> list[str]:
    """Say what was found, and how sure it is."""
    gain, images = report.gain_db, report.confirmation_images
    interval = f"{gain.confidence:.0%} interval {gain.low:+.4f} to {gain.high:+.4f}"
    measured = f"of mean PSNR ({interval}) on {images} images that chose nothing"
    model = "the refined model" if report.chosen.refined else "the chosen model"
    if _same(report.chosen, report.baseline):
        verdict = "nothing that was tried beats all candidates together"
    elif images < _FEW_IMAGES:
        verdict = (
            f"{gain.mean:+.4f} dB against all together, on {images} images that chose nothing: too "
            "few to tell whether it is better"
        )
    elif gain.low > 0:
        verdict = f"{model} is better than all together by {gain.mean:.4f} dB {measured}"
    elif gain.high < 0:
        verdict = (
            f"{model} is worse than all together by {-gain.mean:.4f} dB {measured}: the "
            "images that chose are too few, or of another kind"
        )
    else:
        verdict = (
            f"{model} is not shown to be better than all together: {gain.mean:+.4f} dB {measured}"
        )
    lines = [verdict]
    lines.append(
        f"{report.trials} trials and all together: {report.distinct_models} different models, "
        f"{report.measured_models} measured on all {report.selection_images} choosing images"
    )
    if report.racing is not None and report.racing.dropped:
        lines.append(
            f"{report.racing.dropped} were dropped after at most {report.racing.tiles} tiles, by "
            f"comparing pairs, each at {1 - report.racing.error:.1%} confidence: of many nearly "
            "equal ones not always the very best is left; ~ marks estimates; --exact measures all"
        )
    if report.shared_images:
        lines.append(
            f"{len(report.shared_images)} validation images are candidates too, or copies of some "
            f"that chose ({_few(report.shared_images)}): they confirm nothing"
        )
    return lines


def _row(label: str, score: "ModelScore") -> list[str]:
    if isnan(score.objective_db):
        return [label, "cannot run", "", "", ""]
    return [
        label,
        f"{'~' if score.estimated else ''}{score.objective_db:.3f}",
        _decibels(score.psnr_db, 3),
        _decibels(score.drop_db, 4),
        _decibels(score.worst_drop_db, 3),
    ]


def _decibels(value: float | None, places: int) -> str:
    return "" if value is None else f"{value:.{places}f}"


def _same(score: "ModelScore", other: "ModelScore") -> bool:
    """Whether two are made from the same."""
    made = [(one.images, one.statistic, one.tuned_tensors, one.refined) for one in (score, other)]
    return made[0] == made[1]


def _described(score: "ModelScore") -> str:
    """Say what a model's ranges were made from."""
    images = (
        f"{len(score.images)} images" if len(score.images) > _SHOWN else ", ".join(score.images)
    )
    made = images if score.statistic == "extremes" else f"{score.statistic} of {images}"
    return f"{made}, {score.tuned_tensors} tensors tuned" if score.tuned_tensors else made


def _few(names: tuple[str, ...]) -> str:
    more = ", ..." if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more}"
