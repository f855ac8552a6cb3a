"""How long models take on this host."""

import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np

from qsr.errors import ModelError, UsageError
from qsr.tflite.runtime import RGB_CHANNELS, Runner

CHALLENGE_LR_SIZE = (360, 640)
"""Height and width of the input in the Mobile AI challenges: x3 gives Full HD."""

_WARM_UPS = 2
_CPU_FACTS = Path("/proc/cpuinfo")


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Time that a model takes for one picture, over the rounds of a benchmark.

    Attributes:
        median_ms: half of the rounds took less.
        lower_quartile_ms: a quarter of the rounds took less.
        upper_quartile_ms: a quarter of the rounds took more.
        fastest_ms: the shortest.
        rounds: number of them.
    """

    median_ms: float
    lower_quartile_ms: float
    upper_quartile_ms: float
    fastest_ms: float
    rounds: int


def latency(
    models: Mapping[str, bytes],
    *,
    lr_size: tuple[int, int] = CHALLENGE_LR_SIZE,
    threads: int = 1,
    rounds: int = 20,
    on_round: Callable[[int, int], None] | None = None,
) -> dict[str, Latency]:
    """Take the time of models on one picture in one piece, from its bytes to the output tensor.

    In each round every model runs once, and each round begins with another model, so that what
    slows this host down for a while slows all of them. Some runs before do not count.

    Args:
        models: content of ``.tflite`` files, by what they and errors are called.
        lr_size: height and width of the picture, in pixels.
        threads: threads of the interpreter.
        rounds: number of rounds.
        on_round: called with (done, total) after each round.

    Returns:
        The same names, in their order.

    Raises:
        ModelError: a model cannot be run, or not on a picture of that size.
        UsageError: ``threads``, ``rounds`` or a side is below 1.
    """
    if min(*lr_size, threads, rounds) < 1:
        raise UsageError(
            f"threads ({threads}), rounds ({rounds}) and the picture's sides ({lr_size[1]}x"
            f"{lr_size[0]}) must be at least 1"
        )
    shape = (*lr_size, RGB_CHANNELS)
    picture = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    runners = {name: Runner(model, threads=threads, source=name) for name, model in models.items()}
    for name, runner in runners.items():
        fixed = runner.facts.fixed_size
        if fixed is not None and fixed != tuple(lr_size):
            raise ModelError(
                f"{name}: takes pictures of {fixed[1]}x{fixed[0]} pixels alone, not of "
                f"{lr_size[1]}x{lr_size[0]}; convert it for any size, or take its time on its own"
            )
        for _ in range(_WARM_UPS):
            runner.run(picture)
    names = list(runners)
    taken: dict[str, list[float]] = {name: [] for name in names}
    for done in range(rounds if names else 0):
        first = done % len(names)
        for name in names[first:] + names[:first]:
            started = perf_counter()
            runners[name].run(picture)
            taken[name].append((perf_counter() - started) * 1e3)
        if on_round is not None:
            on_round(done + 1, rounds)
    return {name: _latency(times) for name, times in taken.items()}


def host_name() -> str:
    """Return what this host's processor calls itself, or its architecture."""
    try:
        lines = _CPU_FACTS.read_text(encoding="utf-8").splitlines()
    except OSError:  # no Linux
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()


def _latency(times_ms: list[float]) -> Latency:
    lower, median, upper = (float(value) for value in np.percentile(times_ms, [25, 50, 75]))
    return Latency(
        median_ms=median,
        lower_quartile_ms=lower,
        upper_quartile_ms=upper,
        fastest_ms=min(times_ms),
        rounds=len(times_ms),
    )
