"""Tasks on an executor."""

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from qsr.calibration.executor import completed


def test_every_worker_is_used():
    """Sixteen workers are at work at once: each waits until all are."""
    together = threading.Barrier(16)
    tasks = [(number, partial(together.wait, timeout=20)) for number in range(16)]
    with ThreadPoolExecutor(16) as executor:
        assert {number for number, _ in completed(tasks, executor)} == set(range(16))
