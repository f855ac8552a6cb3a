"""How long models take on this host, through LiteRT and XNNPACK."""

import platform
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from time import perf_counter

import numpy as np

from qsr.benchmark.times import CHALLENGE_LR_SIZE, Latency, in_turns, summary
from qsr.errors import ModelError, UsageError
from qsr.tflite.runtime import RGB_CHANNELS, Image, ModelFacts, Runner

WARM_UPS = 2
"""Runs before those that count."""

_CPU_FACTS = Path("/proc/cpuinfo")


def host_times(
    models: Sequence[tuple[str, bytes]],
    *,
    lr_size: tuple[int, int] = CHALLENGE_LR_SIZE,
    threads: int = 1,
    warm_ups: int = WARM_UPS,
    rounds: int = 20,
    on_round: Callable[[int, int], None] | None = None,
) -> list[tuple[float, ...]]:
    """Take the time of models on one picture in one piece, from its bytes to the output tensor.

    In each round every model runs once, and each round begins with another model, so that what
    slows this host down for a while slows all of them.

    Args:
        models: what errors call each, and the content of its ``.tflite`` file.
        lr_size: height and width of the picture, in pixels.
        threads: threads of the interpreter.
        warm_ups: runs of each model before, which do not count.
        rounds: number of rounds.
        on_round: called with (done, total) after each round.

    Returns:
        Of each model, its time in ms in each round.

    Raises:
        ModelError: a model cannot be run, or not on a picture of that size.
        UsageError: ``threads``, ``rounds`` or a side is below 1, or ``warm_ups`` below 0.
    """
    if min(*lr_size, threads, rounds, warm_ups + 1) < 1:
        raise UsageError(
            f"threads ({threads}), rounds ({rounds}) and the picture's sides ({lr_size[1]}x"
            f"{lr_size[0]}) must be at least 1, and warm-up runs ({warm_ups}) at least 0"
        )
    shape = (*lr_size, RGB_CHANNELS)
    picture = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    runners = [Runner(model, threads=threads, source=name) for name, model in models]
    for (name, _), runner in zip(models, runners, strict=True):
        check_size(runner.facts, lr_size, name)
        for _ in range(warm_ups):
            runner.run(picture)
    taken = in_turns([partial(_run_ms, runner, picture) for runner in runners], rounds, on_round)
    return [tuple(times) for times in taken]


def latency(
    models: Mapping[str, bytes],
    *,
    lr_size: tuple[int, int] = CHALLENGE_LR_SIZE,
    threads: int = 1,
    rounds: int = 20,
    on_round: Callable[[int, int], None] | None = None,
) -> dict[str, Latency]:
    """Summarize what :func:`host_times` takes.

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
    times = host_times(
        list(models.items()), lr_size=lr_size, threads=threads, rounds=rounds, on_round=on_round
    )
    return {name: summary(taken) for name, taken in zip(models, times, strict=True)}


def check_size(facts: ModelFacts, lr_size: tuple[int, int], name: str) -> None:
    """Check that a model takes pictures of a size.

    Args:
        facts: of the model.
        lr_size: height and width of the picture, in pixels.
        name: what errors call the model.

    Raises:
        ModelError: it takes pictures of another size alone.
    """
    fixed = facts.fixed_size
    if fixed is not None and fixed != tuple(lr_size):
        raise ModelError(
            f"{name}: takes pictures of {fixed[1]}x{fixed[0]} pixels alone, not of "
            f"{lr_size[1]}x{lr_size[0]}; convert it for any size, or take its time on its own"
        )


def host_name() -> str:
    """Return what this host's processor calls itself, or its architecture."""
    try:
        lines = _CPU_FACTS.read_text(encoding="utf-8").splitlines()
    except OSError:  # no Linux
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()


def _run_ms(runner: Runner, picture: Image) -> float:
    started = perf_counter()
    runner.run(picture)
    return (perf_counter() - started) * 1e3
