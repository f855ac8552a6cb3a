"""``qsr benchmark``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from qsr.cli.intervals import with_interval
from qsr.cli.options import Json, SkipBadImages
from qsr.cli.output import counted, print_json, print_skipped, print_table, shown_progress
from qsr.cli.sizes import height_and_width

if TYPE_CHECKING:
    from qsr.jobs.benchmark_report import BenchmarkReport, ModelTime

_BYTES_PER_KB = 1000


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("benchmark")(benchmark)


def benchmark(
    models: Annotated[
        list[str],
        typer.Argument(
            help="Each a .tflite path, or whatever else qsr evaluate takes, which is a float "
            "model then; the first is what the times of the others are compared with."
        ),
    ],
    data: Annotated[
        Path | None,
        typer.Option(help="Measure PSNR on these images, and give challenge scores."),
    ] = None,
    size: Annotated[
        str, typer.Option(help="Width and height of the input, in pixels.")
    ] = "640x360",
    threads: Annotated[int, typer.Option(help="Threads of the interpreter.")] = 1,
    warm_up: Annotated[int, typer.Option(help="Runs before those that count.")] = 2,
    runs: Annotated[int, typer.Option(help="Runs of each model that count.")] = 20,
    adb: Annotated[
        bool, typer.Option("--adb", help="Take the times on the phone that is attached.")
    ] = False,
    serial: Annotated[
        str | None,
        typer.Option(
            help="The phone's serial number, as adb devices lists it, if several are attached.",
            show_default=False,
        ),
    ] = None,
    benchmark_binary: Annotated[
        Path | None,
        typer.Option(
            help="TFLite's benchmark_model for the phone's processor; by default the one on the "
            "phone, /data/local/tmp/benchmark_model.",
            show_default=False,
        ),
    ] = None,
    delegate: Annotated[
        Literal["xnnpack", "cpu", "gpu", "nnapi", "hexagon", "none"],
        typer.Option(
            help="What runs the models on the phone; cpu: TFLite's own kernels; none: what "
            "--benchmark-option says."
        ),
    ] = "xnnpack",
    benchmark_option: Annotated[
        list[str] | None,
        typer.Option(
            help="Passed on to benchmark_model, such as --nnapi_accelerator_name=NAME; may be "
            "given again.",
            show_default=False,
        ),
    ] = None,
    skip_bad_images: SkipBadImages = False,
    json: Json = False,
) -> None:
    """Take the times of models in turns, on this host or on a phone.

    Here through LiteRT and XNNPACK; with --adb through TFLite's benchmark_model, by these command
    lines, again and again for each model in turn:

    \b
    adb push benchmark_model MODEL.tflite /data/local/tmp
    adb shell chmod 755 /data/local/tmp/benchmark_model
    adb shell /data/local/tmp/benchmark_model
        --graph=/data/local/tmp/MODEL.tflite --num_threads=1
        --warmup_runs=2 --warmup_min_secs=0 --num_runs=4 --min_secs=0
        --input_layer=input --input_layer_shape=1,360,640,3
        --use_xnnpack=true
    """  # noqa: D301 (the backspace keeps the lines apart)
    from qsr.jobs.benchmark import benchmark_models

    with shown_progress() as progress:
        report = benchmark_models(
            models,
            data,
            lr_size=height_and_width(size),
            threads=threads,
            warm_ups=warm_up,
            runs=runs,
            adb=adb,
            serial=serial,
            tool=benchmark_binary,
            delegate=delegate,
            tool_options=benchmark_option or (),
            skip_bad_images=skip_bad_images,
            on_progress=progress,
        )
    print_skipped(report.skipped)
    if json:
        print_json(report)
    else:
        _print(report)


def _print(report: "BenchmarkReport") -> None:
    height, width = report.lr_size
    through = "LiteRT, XNNPACK" if report.phone is None else f"benchmark_model, {report.delegate}"
    columns = ["model", "input", "size\n(kB)", "median\n(ms)", "quartiles\n(ms)"]
    columns += ["times the first\n[95 %]"]
    if report.data is not None:
        columns += ["PSNR RGB\n(dB)"]
    if not report.no_score:
        columns += ["challenge\nscore"]
    print_table(
        f"{report.device}, {through}, {counted(report.threads, 'thread')}: input {width}x{height}",
        columns,
        [_row(model, report) for model in report.models],
    )
    for line in _notes(report):
        typer.echo(line)


def _row(model: "ModelTime", report: "BenchmarkReport") -> list[str]:
    ratio, taken = model.ratio, model.latency
    row = [
        model.model,
        model.input_dtype,
        f"{model.file_bytes / _BYTES_PER_KB:.1f}",
        f"{taken.median_ms:.2f}",
        f"{taken.lower_quartile_ms:.2f}..{taken.upper_quartile_ms:.2f}",
        "" if ratio is None else with_interval(ratio.median, ratio.low, ratio.high, 3),
    ]
    if model.psnr_rgb_db is not None:
        row.append(f"{model.psnr_rgb_db:.3f}")
    if not report.no_score:
        row.append("" if model.challenge_score is None else f"{model.challenge_score:.2f}")
    return row


def _notes(report: "BenchmarkReport") -> list[str]:
    """Say what a reader has to know of the times and the scores, one line each."""
    ran = f"each model ran {counted(report.runs, 'time')}, in turns with the others"
    notes = [f"{ran}; a ratio is the median of those of the rounds"]
    if report.data is not None:
        notes.append(f"PSNR: mean over {counted(report.images, 'image')} of {report.data}")
    if report.no_score:
        notes.append(f"no challenge score: {report.no_score}")
    elif not all(model.quantized for model in report.models):
        notes.append("challenge scores are of integer models")
    for model in report.models:
        if model.on_phone is not None:
            notes += _notes_on_phone(model)
    return notes


def _notes_on_phone(model: "ModelTime") -> list[str]:
    how = model.on_phone
    assert how is not None  # noqa: S101 (the caller has looked)
    notes = [f"{model.model}: {how.command}"]
    if how.delegated == "partially":
        notes.append(f"{model.model}: the delegate takes a part of it, the processor the rest")
    if not how.are_medians:
        notes.append(f"{model.model}: this benchmark_model prints means, no medians")
    return notes
