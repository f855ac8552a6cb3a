"""Local worker processes behind the standard ``concurrent.futures.Executor``."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import wait as wait_for_any
from typing import TypeVar

from qsr.errors import StudyError

Key = TypeVar("Key")
Result = TypeVar("Result")

_AHEAD = max(32, 2 * (os.cpu_count() or 1))
"""Tasks under way at most: two for each core, and enough for a larger pool of the caller's. What a
task carries is small, an LR image or an integer model."""


@contextmanager
def local_processes(workers: int) -> Iterator[Executor | None]:
    """Give an executor of that many processes, or None for one worker: this process itself.

    Processes are spawned, not forked: TensorFlow and TFLite hold threads that a fork would break.
    Workers leave ``Ctrl-C`` to this process and end when it ends, even if it is killed.
    """
    if workers <= 1:
        yield None
        return
    pool = ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_become_worker,
    )
    others = set(multiprocessing.active_children())
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for worker in set(multiprocessing.active_children()) - others:
            worker.terminate()  # what is under way is lost anyway; nobody waits for it
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def completed(
    tasks: Iterable[tuple[Key, Callable[[], Result]]], executor: Executor | None
) -> Iterator[tuple[Key, Result]]:
    """Run tasks, a few at a time, and yield their results as they are ready.

    Args:
        tasks: a key, which stays here, and a callable, which travels to the worker. Drawn lazily,
            so that what a task carries need not all fit into memory.
        executor: where to run them; None runs each here, in order.

    Yields:
        The key of a task and its result, in the order of completion.

    Raises:
        StudyError: a worker process died.
    """
    if executor is None:
        for key, task in tasks:
            yield key, task()
        return
    running: dict[Future[Result], Key] = {}
    try:
        for key, task in tasks:
            running[executor.submit(task)] = key
            if len(running) >= _AHEAD:
                yield from _finished(running)
        while running:
            yield from _finished(running)
    except BrokenProcessPool as error:
        raise StudyError(
            "a worker process was killed, most likely for want of memory; what is finished is "
            "kept: run the same command again, with fewer --workers"
        ) from error
    finally:
        # A process pool cancels its own: if its workers end while futures that others cancelled are
        # waiting, the thread that manages it fails, and its shutdown never ends (Python 3.11).
        if not isinstance(executor, ProcessPoolExecutor):
            for future in running:
                future.cancel()


def _finished(running: dict[Future[Result], Key]) -> Iterator[tuple[Key, Result]]:
    """Wait until at least one task is done; yield and forget all that are."""
    for future in wait(running, return_when=FIRST_COMPLETED).done:
        key = running.pop(future)
        yield key, future.result()


def _become_worker() -> None:
    """Prepare a worker process: deaf to Ctrl-C, and gone when its parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait_for_any([parent.sentinel])
        os._exit(1)
