"""TFLite's own benchmark tool, ``benchmark_model``: its command line, and what it prints.

Its options and its lines are described at
https://github.com/tensorflow/tensorflow/tree/master/tensorflow/lite/tools/benchmark
"""

import re
import shlex
from dataclasses import dataclass
from typing import Literal, get_args

from qsr.errors import DeviceError, UsageError

Delegate = Literal["xnnpack", "cpu", "gpu", "nnapi", "hexagon", "none"]
"""What runs a model: ``cpu`` is TFLite's own kernels, ``none`` what the tool does by itself."""

_DELEGATE_OPTIONS: dict[Delegate, tuple[str, ...]] = {
    "xnnpack": ("--use_xnnpack=true",),
    "cpu": ("--use_xnnpack=false",),
    "gpu": ("--use_gpu=true",),
    "nnapi": ("--use_nnapi=true",),
    "hexagon": ("--use_hexagon=true",),
    "none": (),
}

_APPLIED = re.compile(
    r"Explicitly applied .* delegate, and the model graph will be (completely|partially)"
)
_NOT_APPLIED = re.compile(r"Though .* delegate is explicitly applied, the model graph will not be")
_STATISTICS = re.compile(r"^(?:INFO: )?count=(\d+)(.*)$", re.MULTILINE)
_STATISTIC = re.compile(r"(\w+)=([-+.\deE]+)")
_FINISHED = "Inference timings in us"
_ERROR = "ERROR: "
_MOST_ERRORS = 3
_LAST_WORDS = "Benchmarking failed."
_US_PER_MS = 1e3


@dataclass(frozen=True, kw_only=True)
class ToolSettings:
    """What ``benchmark_model`` is asked for.

    Attributes:
        lr_size: height and width of the input, in pixels.
        threads: of the interpreter.
        warm_ups: runs before those that count.
        runs: runs that count.
        delegate: what runs the model.
        options: further options, as the tool takes them.
    """

    lr_size: tuple[int, int]
    threads: int
    warm_ups: int
    runs: int
    delegate: Delegate = "xnnpack"
    options: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ToolTimes:
    """What ``benchmark_model`` says of one model.

    Attributes:
        median_ms: median of the runs, or their mean where an older tool prints no median.
        is_median: which of them it is.
        fastest_ms: the shortest run.
        runs: number of runs.
        delegated: how much of the model the delegate took; None if the tool says nothing of it.
    """

    median_ms: float
    is_median: bool
    fastest_ms: float
    runs: int
    delegated: Literal["completely", "partially", "not at all"] | None


def check_settings(settings: ToolSettings) -> None:
    """Check what ``benchmark_model`` is asked for.

    Raises:
        UsageError: a number is too small, or there is no such delegate.
    """
    if min(*settings.lr_size, settings.threads, settings.runs, settings.warm_ups + 1) < 1:
        raise UsageError(
            f"threads ({settings.threads}), runs ({settings.runs}) and the picture's sides "
            f"({settings.lr_size[1]}x{settings.lr_size[0]}) must be at least 1, and warm-up runs "
            f"({settings.warm_ups}) at least 0"
        )
    if settings.delegate not in get_args(Delegate):
        raise UsageError(
            f"no delegate named {settings.delegate!r}; give one of: {', '.join(get_args(Delegate))}"
        )


def tool_command(tool: str, graph: str, settings: ToolSettings) -> str:
    """Return the command line that takes the time of a model, for a shell.

    The least seconds that the tool would run for are 0, so that it makes as many runs as it is
    told. The name of the input is free: the tool goes by their order.

    Args:
        tool: path of ``benchmark_model``.
        graph: path of the ``.tflite`` file.
        settings: what it is asked for.
    """
    height, width = settings.lr_size
    words = (
        tool,
        f"--graph={graph}",
        f"--num_threads={settings.threads}",
        f"--warmup_runs={settings.warm_ups}",
        "--warmup_min_secs=0",
        f"--num_runs={settings.runs}",
        "--min_secs=0",
        "--input_layer=input",
        f"--input_layer_shape=1,{height},{width},3",
        *_DELEGATE_OPTIONS[settings.delegate],
        *settings.options,
    )
    return shlex.join(words)


def read_output(text: str) -> ToolTimes:
    """Read what ``benchmark_model`` prints.

    Args:
        text: both of its streams. Statistics of the warm-up come first; those that count last.

    Raises:
        DeviceError: it did not finish.
    """
    found = _STATISTICS.findall(text)
    count, printed = found[-1] if _FINISHED in text and found else ("0", "")
    numbers = {name: float(value) / _US_PER_MS for name, value in _STATISTIC.findall(printed)}
    if "curr" not in numbers:
        raise DeviceError(failure(text))
    only = numbers["curr"]  # all that is printed of runs that took the same time
    return ToolTimes(
        median_ms=numbers.get("median", numbers.get("avg", only)),
        is_median="median" in numbers or "avg" not in numbers,
        fastest_ms=numbers.get("min", only),
        runs=int(count),
        delegated=_delegated(text),
    )


def failure(text: str) -> str:
    """Return the reason that ``benchmark_model``, or the shell that started it, gives for failing.

    Args:
        text: what was printed.
    """
    lines = [line.strip() for line in text.splitlines()]
    told = [line for line in lines if line and line.removeprefix(_ERROR) != _LAST_WORDS]
    errors = [line.removeprefix(_ERROR) for line in told if line.startswith(_ERROR)]
    named = [line for line in told[-1:] if line.removeprefix(_ERROR) not in errors[-_MOST_ERRORS:]]
    return " ".join([*errors[-_MOST_ERRORS:], *named]) or "it said nothing"


def takes_delegate(delegate: Delegate) -> bool:
    """Whether the tool is to say what the delegate took of a model."""
    return bool(_DELEGATE_OPTIONS[delegate]) and delegate != "cpu"


def _delegated(text: str) -> Literal["completely", "partially", "not at all"] | None:
    """Return how much of a model the delegate took, as the tool says."""
    applied = _APPLIED.findall(text)
    if applied:
        return "completely" if applied[-1] == "completely" else "partially"
    return "not at all" if _NOT_APPLIED.search(text) else None
