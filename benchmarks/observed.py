"""Runs a command and watches it: its time and the memory of its processes."""

import os
import resource
import subprocess
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import IO, Any

import psutil

from qsr.errors import QsrError

_SECONDS_BETWEEN_LOOKS = 0.2
_MIB = 2**20
_LAST_LINES = 5


@dataclass(frozen=True)
class PeakMemory:
    """The most memory that was seen in use, in MiB.

    Resident memory counts what is shared as well, such as pages of a memory-mapped file; private
    memory does not.

    Attributes:
        main_mib: resident, of the process that was started.
        worker_mib: resident, of the largest of its descendants.
        worker_private_mib: private, of the largest of its descendants.
        all_private_mib: private, of all of them at one moment.
        descendants: the largest number of them at one moment.
    """

    main_mib: float
    worker_mib: float
    worker_private_mib: float
    all_private_mib: float
    descendants: int

    def with_look(
        self, main: tuple[float, float], others: Sequence[tuple[float, float]]
    ) -> "PeakMemory":
        """Return the peaks after one look more.

        Args:
            main: resident and private memory of the process that was started, in MiB.
            others: the same of each of its descendants.
        """
        return PeakMemory(
            max(self.main_mib, main[0]),
            max(self.worker_mib, *(resident for resident, _ in others), 0.0),
            max(self.worker_private_mib, *(private for _, private in others), 0.0),
            max(self.all_private_mib, main[1] + sum(private for _, private in others)),
            max(self.descendants, len(others)),
        )


@dataclass(frozen=True)
class Observed:
    """A command that has ended.

    Attributes:
        command: its words.
        seconds: from its start to its end.
        foreign_share: share of the time of the cores in which others kept them busy: other
            processes, and other guests of the same machine. 0 on a quiet machine.
        memory: of its processes.
        output: what it printed to standard output.
    """

    command: tuple[str, ...]
    seconds: float
    foreign_share: float
    memory: PeakMemory
    output: str


def observe(command: Sequence[str], log: Path) -> Observed:
    """Run a command to its end.

    Args:
        command: its words.
        log: file that gets what it prints to standard error.

    Raises:
        QsrError: it cannot be started, or fails.
    """
    cores = sorted(os.sched_getaffinity(0))
    foreign_before = _foreign_seconds(cores)
    started = perf_counter()
    output: list[str] = []
    try:
        with log.open("w", encoding="utf-8") as errors:
            process = subprocess.Popen(  # noqa: S603 (the caller's own command)
                command, stdout=subprocess.PIPE, stderr=errors, text=True, errors="replace"
            )
    except OSError as error:
        raise QsrError(f"{command[0]}: cannot be started: {error.strerror}") from error
    assert process.stdout is not None  # noqa: S101 (it is a pipe)
    reader = threading.Thread(target=_collect, args=(process.stdout, output))
    reader.start()
    try:
        memory = _watch(process)
        finished = perf_counter()
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
        reader.join()
    if process.returncode != 0:
        last = " / ".join(log.read_text(encoding="utf-8").splitlines()[-_LAST_LINES:])
        raise QsrError(f"{' '.join(command[:3])} failed ({process.returncode}): {last}; see {log}")
    seconds = finished - started
    foreign = _foreign_seconds(cores) - foreign_before
    return Observed(
        tuple(command),
        seconds,
        max(0.0, foreign / (seconds * len(cores))),
        memory,
        "".join(output),
    )


def _collect(text: IO[str], output: list[str]) -> None:
    with text:
        output.append(text.read())


def _watch(process: subprocess.Popen[str]) -> PeakMemory:
    """Look at the memory of a process and its descendants until it ends."""
    main = psutil.Process(process.pid)
    peak = PeakMemory(0.0, 0.0, 0.0, 0.0, 0)
    while True:
        with suppress(psutil.NoSuchProcess):  # it may end at any moment
            peak = peak.with_look(
                _memory_mib(main), [_memory_mib(worker) for worker in main.children(recursive=True)]
            )
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=_SECONDS_BETWEEN_LOOKS)
            return peak


def _foreign_seconds(cores: Sequence[int]) -> float:
    """Return how long cores were busy since the system began, but not with ended children of ours.

    What this process itself uses counts as foreign: it is little.
    """
    each = psutil.cpu_times(percpu=True)
    busy = float(sum(sum(each[core]) - _idle(each[core]) for core in cores))
    ours = resource.getrusage(resource.RUSAGE_CHILDREN)
    return busy - ours.ru_utime - ours.ru_stime


def _idle(times: Any) -> float:
    """Return the seconds that count for nothing, or twice: guests are in user time already."""
    return float(times.idle + times.iowait + times.guest + times.guest_nice)


def _memory_mib(process: psutil.Process) -> tuple[float, float]:
    """Return the resident and the private memory of a process; none if it has just ended."""
    try:
        memory = process.memory_info()
    except psutil.NoSuchProcess:
        return 0.0, 0.0
    return memory.rss / _MIB, (memory.rss - memory.shared) / _MIB
