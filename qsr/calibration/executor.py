"""Work on any ``concurrent.futures.Executor``, and the local processes that are the default one."""

import multiprocessing
import os
import pickle
import shutil
import signal
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    wait,
)
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing.connection import wait as wait_for_any
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from qsr.errors import StudyError

Key = TypeVar("Key")
Shared = TypeVar("Shared")
Argument = TypeVar("Argument")
Result = TypeVar("Result")

AHEAD = max(32, 2 * (os.cpu_count() or 1))
"""Tasks under way at most, unless an executor says otherwise: two for each core, and enough for a
larger pool of the caller's. What a task carries is small, an LR image or an integer model."""


@contextmanager
def local_processes(workers: int) -> Iterator[Executor | None]:
    """Give an executor of that many processes, or None for one worker: this process itself.

    Processes are spawned, not forked: TensorFlow and TFLite hold threads that a fork would break.
    Workers leave ``Ctrl-C`` to this process and end when it ends, even if it is killed.
    """
    if workers <= 1:
        yield None
        return
    with TemporaryDirectory(prefix="qsr-shared-", ignore_cleanup_errors=True) as folder:
        pool = _LocalProcesses(workers, Path(folder))
        others = set(multiprocessing.active_children())
        try:
            yield pool
        except BaseException:
            pool.leave_reading_to_workers()
            pool.shutdown(wait=False, cancel_futures=True)
            for worker in set(multiprocessing.active_children()) - others:
                worker.terminate()  # what is under way is lost anyway; nobody waits for it
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


class SharedValue(ABC):
    """Stands, in a task, for a value that an executor gives to every worker once."""

    @abstractmethod
    def value(self) -> Any:
        """Return the value; called in the worker."""


class _LocalProcesses(ProcessPoolExecutor):
    """A pool of spawned processes that read what they share from files, once each."""

    def __init__(self, workers: int, folder: Path) -> None:
        super().__init__(
            workers,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_become_worker,
            initargs=(folder,),
        )
        self._folder = folder
        self._shared: dict[int, tuple[Any, _SharedFile]] = {}

    def share(self, value: Any) -> SharedValue:
        """Write a value for the workers, unless it is there already.

        Raises:
            StudyError: there is no room for it.
        """
        if id(value) not in self._shared:  # the value is held, so that its id stays its own
            path = self._folder / f"{len(self._shared)}.pickle"
            try:
                with path.open("wb") as file:
                    pickle.dump(value, file)
            except OSError as error:
                raise StudyError(
                    f"{self._folder}: cannot be written for the workers to read "
                    f"({error.strerror}); make room there, or name another folder in TMPDIR"
                ) from error
            self._shared[id(value)] = value, _SharedFile(path)
        return self._shared[id(value)][1]

    def leave_reading_to_workers(self) -> None:
        """Close this process's own end of the pipe that workers read tasks from.

        Once they have ended nobody reads it, and the thread that writes a task larger than a pipe
        holds fails instead of waiting for ever, and this process for it. Python does so itself
        since 3.11.5 (github.com/python/cpython/issues/94777), in a thread of its own: there, two
        that close it at the same time would fail.
        """
        if sys.version_info >= (3, 11, 5):
            return
        queue = getattr(self, "_call_queue", None)
        if queue is not None:  # else it is shut down already
            queue._reader.close()  # noqa: SLF001


@dataclass(frozen=True)
class _SharedFile(SharedValue):
    """A value that every worker reads from a file when it first needs it."""

    path: Path

    def value(self) -> Any:
        """Return the value; read once per process."""
        return _unpickled(self.path)


@lru_cache(maxsize=4)
def _unpickled(path: Path) -> Any:
    with path.open("rb") as file:
        return pickle.load(file)  # noqa: S301 (written by the parent process)


def completed(
    function: Callable[[Shared, Argument], Result],
    shared: Shared,
    arguments: Iterable[tuple[Key, Argument]],
    executor: Executor | None,
) -> Iterator[tuple[Key, Result]]:
    """Call ``function(shared, argument)`` for each argument, a few at a time.

    An executor with a method ``share(value)`` is given ``shared`` once, and each task gets what
    that returns in its place: so it travels once per worker, not once per task. One with an
    attribute ``ahead`` says by it how many tasks may be under way. Both of qsr's own share values.

    Args:
        function: a function of a module, so that it can be named to another process.
        shared: what every task needs, such as a model or images.
        arguments: a key, which stays here, and what the task alone needs. Drawn lazily, so that
            the arguments need not all fit into memory.
        executor: where to run them; None runs each here, in order.

    Yields:
        The key of a task and its result, in the order of completion.

    Raises:
        StudyError: a worker died, or the executor dropped a task.
    """
    if executor is None:
        for key, argument in arguments:
            yield key, function(shared, argument)
        return
    handle = executor.share(shared) if hasattr(executor, "share") else shared
    running: dict[Future[Result], Key] = {}
    try:
        with _failures_in_words():
            for key, argument in arguments:
                running[executor.submit(_call, function, handle, argument)] = key
                while len(running) >= getattr(executor, "ahead", AHEAD):
                    yield from _finished(running)
            while running:
                yield from _finished(running)
    finally:
        # A process pool cancels its own: if its workers end while futures that others cancelled are
        # waiting, the thread that manages it fails, and its shutdown never ends (Python 3.11).
        if not isinstance(executor, ProcessPoolExecutor):
            for future in running:
                future.cancel()


@contextmanager
def _failures_in_words() -> Iterator[None]:
    """Say what became of an executor that cannot go on."""
    try:
        yield
    except StudyError:  # some are BrokenExecutor too, in words of their own
        raise
    except BrokenExecutor as error:
        raise StudyError(
            "a worker process was killed, most likely for want of memory; what is finished is "
            "kept: run the same command again, with fewer --workers"
        ) from error
    except CancelledError as error:
        raise StudyError(
            "the executor dropped a task; what is finished is kept: run the same command again"
        ) from error


def _call(function: Callable[[Any, Any], Result], shared: Any, argument: Any) -> Result:
    """Run a task in a worker."""
    return function(shared.value() if isinstance(shared, SharedValue) else shared, argument)


def _finished(running: dict[Future[Result], Key]) -> Iterator[tuple[Key, Result]]:
    """Wait until at least one task is done; yield and forget all that are."""
    for future in wait(running, return_when=FIRST_COMPLETED).done:
        key = running.pop(future)
        yield key, future.result()


def _become_worker(folder: Path) -> None:
    """Prepare a worker process: deaf to Ctrl-C, and gone when its parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, args=(folder,), daemon=True).start()


def _end_with_parent(folder: Path) -> None:
    """Wait for the parent's end; one that was killed has left the shared values behind."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait_for_any([parent.sentinel])
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(1)
