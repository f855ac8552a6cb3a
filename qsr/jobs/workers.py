"""How many processes a job uses."""

import os

from qsr.errors import UsageError


def checked_workers(workers: int | None) -> int:
    """Return the number of processes: as many as there are cores if None was asked for.

    Raises:
        UsageError: fewer than one.
    """
    if workers is None:
        if hasattr(os, "sched_getaffinity"):
            return len(os.sched_getaffinity(0))  # a container may have fewer than there are
        return os.cpu_count() or 1
    if workers < 1:
        raise UsageError(f"--workers must be at least 1, not {workers}")
    return workers
