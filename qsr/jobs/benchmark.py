"""Times of models, taken in turns on this host or on a phone, and their challenge scores."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from qsr.benchmark import (
    CHALLENGE_LR_SIZE,
    Delegate,
    Latency,
    Phone,
    ToolSettings,
    attached_phone,
    check_settings,
    check_size,
    host_name,
    host_times,
    phone_times,
    summary,
    time_ratio,
)
from qsr.data.decoded import decode
from qsr.data.pairs import Pair, find_pairs
from qsr.errors import UsageError
from qsr.evaluation import PsnrScore
from qsr.jobs.benchmark_report import BenchmarkReport, ModelTime, OnPhone
from qsr.jobs.evaluate import common_scale
from qsr.jobs.images import LEAST_LR_TO_SCORE, check_sets, check_there, usable
from qsr.jobs.models import load_any
from qsr.jobs.progress import Progress, silent
from qsr.metrics import challenge_score
from qsr.tflite.runtime import ModelFacts, inspect_model


@dataclass(frozen=True)
class _Model:
    """A model, loaded."""

    name: str
    content: bytes
    facts: ModelFacts


@dataclass(frozen=True)
class _Times:
    """Times of one model, wherever they were taken."""

    times_ms: tuple[float, ...]
    latency: Latency
    on_phone: OnPhone | None = None


def benchmark_models(
    models: Sequence[str],
    data: Path | None = None,
    *,
    lr_size: tuple[int, int] = CHALLENGE_LR_SIZE,
    threads: int = 1,
    warm_ups: int = 2,
    runs: int = 20,
    adb: bool = False,
    serial: str | None = None,
    tool: Path | None = None,
    delegate: Delegate = "xnnpack",
    tool_options: Sequence[str] = (),
    skip_bad_images: bool = False,
    on_progress: Progress = silent,
) -> BenchmarkReport:
    """Take the times of models in turns.

    A model is taken as it is: what its operators cost, they cost. PSNR is measured on this host,
    also beside times on a phone.

    Args:
        models: each a path that :func:`load_any` takes, or the name of a network of the zoo, which
            is a float model. The same model may be given twice: their ratio shows the noise.
        data: folder to measure PSNR on, of which the validation split is taken if there are
            several; None measures none, and gives no challenge scores.
        lr_size: height and width of the picture, in pixels.
        threads: of the interpreter.
        warm_ups: runs before those that count.
        runs: runs that count, of each model.
        adb: take the times on a phone, by :mod:`qsr.benchmark.phone`.
        serial: of the phone, if several are attached.
        tool: ``benchmark_model`` for the phone's processor, to be copied there; None for one that
            lies there already.
        delegate: what runs the models on the phone.
        tool_options: further options of ``benchmark_model``.
        skip_bad_images: leave unusable images out instead of stopping.
        on_progress: called while working.

    Returns:
        The times, and what follows from them.

    Raises:
        DeviceError: the phone cannot be reached, or a model cannot be run there.
        ImageError: the folder or an image is unusable.
        ModelError: a model is unusable, takes no picture of that size, or, with images, enlarges by
            another factor than the others.
        UsageError: a number is too small, or options do not fit together.
    """
    settings = ToolSettings(
        lr_size=lr_size,
        threads=threads,
        warm_ups=warm_ups,
        runs=runs,
        delegate=delegate,
        options=tuple(tool_options),
    )
    check_settings(settings)
    if not adb and (serial or tool or tool_options or delegate != "xnnpack"):
        raise UsageError(
            "--serial, --benchmark-binary, --delegate and --benchmark-option are about a phone; "
            "give --adb, too"
        )
    check_there([tool])
    if data is not None:
        check_sets([data], split="valid")
    phone = attached_phone(serial) if adb else None
    device = host_name() if phone is None else phone.model()
    loaded = _loaded(models, lr_size, on_progress)
    pairs, skipped = _checked_pairs(
        loaded, data, skip_bad_images=skip_bad_images, on_progress=on_progress
    )
    times = (
        _on_host(loaded, settings, on_progress)
        if phone is None
        else _on_phone(loaded, phone, settings, tool, on_progress)
    )
    no_score = _no_score(loaded, data, lr_size)
    found: list[ModelTime] = []
    for model, taken, db in zip(loaded, times, _psnr(loaded, pairs, on_progress), strict=True):
        scored = model.facts.quantized and db is not None and not no_score
        found.append(
            ModelTime(
                model=model.name,
                input_dtype=model.facts.input_dtype,
                quantized=model.facts.quantized,
                file_bytes=len(model.content),
                times_ms=taken.times_ms,
                latency=taken.latency,
                ratio=time_ratio(taken.times_ms, times[0].times_ms) if found else None,
                psnr_rgb_db=db,
                challenge_score=challenge_score(db, taken.latency.median_ms)
                if db is not None and scored
                else None,
                on_phone=taken.on_phone,
            )
        )
    return BenchmarkReport(
        models=tuple(found),
        device=device,
        phone=None if phone is None else phone.serial,
        delegate=delegate,
        lr_size=lr_size,
        threads=threads,
        warm_ups=warm_ups,
        runs=runs,
        data=None if data is None else str(data),
        images=len(pairs),
        skipped=skipped,
        no_score=no_score,
    )


def _loaded(
    models: Sequence[str], lr_size: tuple[int, int], on_progress: Progress
) -> tuple[_Model, ...]:
    """Load models, and check that they take a picture of that size."""
    found = []
    for done, name in enumerate(models, start=1):
        content = load_any(name)
        facts = inspect_model(content, source=name)
        check_size(facts, lr_size, name)
        found.append(_Model(name, content, facts))
        on_progress("load models", done, len(models))
    return tuple(found)


def _checked_pairs(
    models: Sequence[_Model], data: Path | None, *, skip_bad_images: bool, on_progress: Progress
) -> tuple[tuple[Pair, ...], tuple[str, ...]]:
    """Look at every image that is to be scored on."""
    if data is None:
        return (), ()
    scale = common_scale({model.name: model.facts for model in models}, 1)
    return usable(
        find_pairs(data, scale, "valid"),
        least_lr=max([LEAST_LR_TO_SCORE, *(model.facts.smallest_side for model in models)]),
        skip_bad=skip_bad_images,
        stage=f"check {data.name}",
        on_progress=on_progress,
    )


def _on_host(
    models: Sequence[_Model], settings: ToolSettings, on_progress: Progress
) -> list[_Times]:
    times = host_times(
        [(model.name, model.content) for model in models],
        lr_size=settings.lr_size,
        threads=settings.threads,
        warm_ups=settings.warm_ups,
        rounds=settings.runs,
        on_round=partial(on_progress, "take times"),
    )
    return [_Times(taken, summary(taken)) for taken in times]


def _on_phone(
    models: Sequence[_Model],
    phone: Phone,
    settings: ToolSettings,
    tool: Path | None,
    on_progress: Progress,
) -> list[_Times]:
    times = phone_times(
        [(model.name, model.content) for model in models],
        phone,
        settings,
        tool=tool,
        on_round=partial(on_progress, f"take times on {phone.serial}"),
    )
    return [
        _Times(
            taken.times_ms,
            taken.latency(),
            OnPhone(
                are_medians=taken.are_medians, delegated=taken.delegated, command=taken.command
            ),
        )
        for taken in times
    ]


def _psnr(
    models: Sequence[_Model], pairs: Sequence[Pair], on_progress: Progress
) -> list[float | None]:
    """Measure the mean PSNR of each model."""
    if not pairs:
        return [None] * len(models)
    found: list[float | None] = []
    with TemporaryDirectory(prefix="qsr-") as scratch:
        images = decode(pairs, Path(scratch) / "images")
        for done, model in enumerate(models, start=1):
            scores = PsnrScore(images, model.facts)(model.content)
            found.append(sum(scores) / len(scores))
            on_progress("measure PSNR", done, len(models))
    return found


def _no_score(models: Sequence[_Model], data: Path | None, lr_size: tuple[int, int]) -> str:
    """Return why no challenge score can be given; empty if one can."""
    height, width = CHALLENGE_LR_SIZE
    if data is None:
        return "it needs PSNR; give images with --data"
    if tuple(lr_size) != CHALLENGE_LR_SIZE:
        return f"it is for inputs of {width}x{height} pixels"
    if not any(model.facts.quantized for model in models):
        return "it is for integer models"
    return ""
