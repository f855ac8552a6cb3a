"""Tasks on an executor."""

import threading
from concurrent.futures import ThreadPoolExecutor

from qsr.calibration.executor import completed


def test_every_worker_is_used():
    """Sixteen workers are at work at once: each waits until all are."""
    together = threading.Barrier(16)
    with ThreadPoolExecutor(16) as executor:
        done = completed(
            threading.Barrier.wait, together, ((number, 20) for number in range(16)), executor
        )
        assert {number for number, _ in done} == set(range(16))
