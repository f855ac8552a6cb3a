"""Tasks on an executor."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from qsr.calibration.executor import completed, local_processes
from qsr.errors import StudyError


def test_every_worker_is_used():
    """Sixteen workers are at work at once: each waits until all are."""
    together = threading.Barrier(16)
    with ThreadPoolExecutor(16) as executor:
        done = completed(
            threading.Barrier.wait, together, ((number, 20) for number in range(16)), executor
        )
        assert {number for number, _ in done} == set(range(16))


def test_executor_that_drops_a_task():
    """A task that the executor itself cancelled ends the work in words."""
    with pytest.raises(StudyError, match="dropped a task; what is finished is kept"):
        list(completed(max, 1, [("a", 2)], Dropping()))


def test_says_how_many_tasks():
    """An executor that says so has that many tasks under way, and no more."""
    with Counting() as executor:
        assert len(list(completed(max, 1, enumerate(range(20)), executor))) == 20
    assert executor.most == 3


class TestLocalProcesses:
    """Values shared with local processes."""

    @pytest.fixture
    def temporary(self, tmp_path, monkeypatch):
        """Where temporary files go."""
        folder = tmp_path / "temporary"
        folder.mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(folder))
        return folder

    def test_travels_once(self, temporary, tmp_path):
        """Each worker unpickles a value once, however often it is shared; then its file is gone."""
        value = Traveller(tmp_path)
        with local_processes(2) as executor:
            for _ in range(2):
                done = dict(completed(add, value, enumerate(range(10)), executor))
                assert done == {number: number + 1 for number in range(10)}
            assert len(list(temporary.rglob("*.pickle"))) == 1
        arrived = [path.read_text() for path in tmp_path.glob("*.arrivals")]
        assert 1 <= len(arrived) <= 2
        assert set(arrived) == {"once "}
        assert list(temporary.iterdir()) == []

    @pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
    def test_files_gone_after_an_error(self, temporary, tmp_path, error):
        """Files are gone when the caller ends early."""
        with pytest.raises(error), local_processes(2) as executor:  # noqa: PT012
            next(completed(add, Traveller(tmp_path), enumerate(range(10)), executor))
            raise error
        assert list(temporary.iterdir()) == []

    def test_no_room(self, temporary):
        """A folder that cannot be written to is named."""
        with local_processes(2) as executor:
            for folder in temporary.iterdir():
                shutil.rmtree(folder)
            with pytest.raises(StudyError, match=rf"^{temporary}.*make room.*TMPDIR$"):
                list(completed(add, 1, enumerate(range(2)), executor))

    def test_files_gone_after_a_kill(self, tmp_path):
        """Workers whose parent was killed delete the files that it left."""
        temporary = tmp_path / "temporary"
        temporary.mkdir()
        script = (
            "from qsr.calibration.executor import completed, local_processes\n"
            "if __name__ == '__main__':\n"
            "    with local_processes(2) as executor:\n"
            "        next(completed(max, 1, enumerate(range(9)), executor))\n"
            "        print('ready', flush=True)\n"
            "        input()\n"
        )
        program = tmp_path / "program.py"
        program.write_text(script)
        with subprocess.Popen(  # noqa: S603 (our own script)
            [sys.executable, program],
            env={**os.environ, "TMPDIR": str(temporary)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as process:
            assert process.stdout.readline() == b"ready\n"
            assert list(temporary.rglob("*.pickle"))
            process.send_signal(signal.SIGKILL)
            process.wait()
        give_up = time.monotonic() + 20
        while list(temporary.rglob("*.pickle")):
            assert time.monotonic() < give_up
            time.sleep(0.02)


class Traveller:
    """A value, one, that notes where it is unpickled."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.number = 1

    def __setstate__(self, state):
        """Note the process that it came to."""
        self.__dict__.update(state)
        with (self.folder / f"{os.getpid()}.arrivals").open("a") as arrived:
            arrived.write("once ")


class Dropping(ThreadPoolExecutor):
    """An executor that cancels what it is given."""

    def submit(self, *_task):
        """Return a future that will never have a result."""
        future = Future()
        future.set_exception(CancelledError())
        return future


class Counting(ThreadPoolExecutor):
    """An executor that counts the tasks under way, and wants three."""

    ahead = 3
    most = 0

    def __init__(self):
        super().__init__(1)
        self.given = []

    def submit(self, *task):
        """Count the tasks that were not finished when this one came."""
        future = super().submit(slowly, *task)
        self.given.append(future)
        self.most = max(self.most, sum(not other.done() for other in self.given))
        return future


def slowly(*task):
    """Run a task after a while."""
    time.sleep(0.01)
    function, *arguments = task
    return function(*arguments)


def add(value, number):
    """Return the sum of a shared value and a number."""
    return value.number + number
