"""How long models take on a phone, through adb and TFLite's ``benchmark_model``.

These are the command lines, for one model::

    adb -s SERIAL push benchmark_model /data/local/tmp/qsr-1a2b3c4d/benchmark_model
    adb -s SERIAL shell chmod 755 /data/local/tmp/qsr-1a2b3c4d/benchmark_model
    adb -s SERIAL push model.tflite /data/local/tmp/qsr-1a2b3c4d/0.tflite
    adb -s SERIAL shell /data/local/tmp/qsr-1a2b3c4d/benchmark_model
        --graph=/data/local/tmp/qsr-1a2b3c4d/0.tflite --num_threads=1
        --warmup_runs=2 --warmup_min_secs=0 --num_runs=4 --min_secs=0
        --input_layer=input --input_layer_shape=1,360,640,3 --use_xnnpack=true
    adb -s SERIAL shell rm -rf /data/local/tmp/qsr-1a2b3c4d
"""

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory

from qsr.benchmark.adb import Phone
from qsr.benchmark.times import Latency, in_turns, summary
from qsr.benchmark.tool import (
    ToolSettings,
    ToolTimes,
    check_settings,
    failure,
    read_output,
    takes_delegate,
    tool_command,
)
from qsr.errors import DeviceError

ROUNDS = 6
"""Rounds of a benchmark on a phone: the fewest whose ratios have an interval of 95 %."""

_FOLDER = "/data/local/tmp"
TOOL_ON_PHONE = f"{_FOLDER}/benchmark_model"
"""Where TFLite's own instructions put the tool."""

_WITHIN_S = 1800.0  # the tool ends by itself after 150 s of warm-up and 150 s of runs


@dataclass(frozen=True, kw_only=True)
class PhoneTimes:
    """Times of one model on a phone.

    Attributes:
        times_ms: median of the runs of each round.
        fastest_ms: the shortest run of all.
        are_medians: False if the tool is too old to print medians: then they are means.
        delegated: how much of the model the delegate took, as the tool says; None if it does not.
        command: the command line on the phone.
    """

    times_ms: tuple[float, ...]
    fastest_ms: float
    are_medians: bool
    delegated: str | None
    command: str

    def latency(self) -> Latency:
        """Return their summary."""
        return replace(summary(self.times_ms), fastest_ms=self.fastest_ms)


def phone_times(
    models: Sequence[tuple[str, bytes]],
    phone: Phone,
    settings: ToolSettings,
    *,
    tool: Path | None = None,
    on_round: Callable[[int, int], None] | None = None,
) -> list[PhoneTimes]:
    """Take the time of models on a phone, in turns.

    The runs are divided into rounds, of which each begins with another model, so that a phone that
    gets warm slows all of them. What is copied to the phone is removed again.

    Args:
        models: what errors call each, and the content of its ``.tflite`` file.
        phone: where they run.
        settings: what is asked for; its runs are those of all rounds together, at least.
        tool: ``benchmark_model`` for the phone's processor, to be copied there; None for the one
            that lies at :data:`TOOL_ON_PHONE`.
        on_round: called with (done, total) after each round.

    Returns:
        The times of each model.

    Raises:
        DeviceError: the phone does not answer, there is no tool on it, it fails on a model, or
            nothing of a model runs on the delegate.
        UsageError: the settings are wrong.
    """
    check_settings(settings)
    rounds = min(ROUNDS, settings.runs)
    asked = replace(settings, runs=ceil(settings.runs / rounds))
    with _folder(phone) as folder, TemporaryDirectory(prefix="qsr-") as scratch:
        program = _tool(phone, folder, tool)
        commands = []
        for index, (_, content) in enumerate(models):
            local = Path(scratch) / f"{index}.tflite"
            local.write_bytes(content)
            phone.push(local, f"{folder}/{local.name}")
            commands.append(tool_command(program, f"{folder}/{local.name}", asked))
        measures = [
            partial(_measured, phone, command, name, asked)
            for (name, _), command in zip(models, commands, strict=True)
        ]
        taken = in_turns(measures, rounds, on_round)
    return [
        PhoneTimes(
            times_ms=tuple(one.median_ms for one in times),
            fastest_ms=min(one.fastest_ms for one in times),
            are_medians=all(one.is_median for one in times),
            delegated=times[0].delegated,
            command=command,
        )
        for command, times in zip(commands, taken, strict=True)
    ]


@contextmanager
def _folder(phone: Phone) -> Iterator[str]:
    """Give the name of a folder on the phone, which is removed at the end."""
    folder = f"{_FOLDER}/qsr-{secrets.token_hex(4)}"
    try:
        yield folder
    finally:
        with suppress(DeviceError):  # a phone that is gone was told of already
            phone.shell(f"rm -rf {folder}")


def _tool(phone: Phone, folder: str, tool: Path | None) -> str:
    """Return the path of the tool on the phone, where it is copied if there is one to copy."""
    if tool is not None:
        target = f"{folder}/benchmark_model"
        phone.push(tool, target)
        phone.shell(f"chmod 755 {target}")
        return target
    if "there" not in phone.shell(f"test -x {TOOL_ON_PHONE} && echo there").text.split():
        raise DeviceError(
            f"phone {phone.serial} has no {TOOL_ON_PHONE}; download TFLite's benchmark_model for "
            "its processor (https://ai.google.dev/edge/litert/models/measurement) and give it "
            "with --benchmark-binary"
        )
    return TOOL_ON_PHONE


def _measured(phone: Phone, command: str, name: str, settings: ToolSettings) -> ToolTimes:
    """Run the tool once."""
    answer = phone.shell(command, within_s=_WITHIN_S)
    if answer.code:
        raise DeviceError(
            f"{name}: benchmark_model fails on phone {phone.serial} with exit code {answer.code}: "
            f"{failure(answer.text)}"
        )
    try:
        times = read_output(answer.text)
    except DeviceError as error:
        raise DeviceError(
            f"{name}: benchmark_model took no times on phone {phone.serial}: {error}"
        ) from error
    if takes_delegate(settings.delegate) and times.delegated in {None, "not at all"}:
        raise DeviceError(
            f"{name}: nothing of it runs on {settings.delegate} on phone {phone.serial}, and its "
            "time would be that of the processor; give another --delegate"
        )
    return times
