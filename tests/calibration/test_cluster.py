"""Work on a Dask cluster: the same result as here, whatever becomes of its workers."""

import gc
import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import dask
import distributed
import numpy as np
import pytest
import skimage.data
from search_script import HashScore, summary

from qsr import calibration as cal
from qsr.calibration import cluster as cluster_module
from qsr.calibration.cluster import ClusterLostError, cluster
from qsr.calibration.executor import completed
from qsr.errors import ModelError, StudyError, UsageError

# Dask leaves sockets and pipes of a closed cluster to the garbage collector, which then warns.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")

NAMES = tuple(f"crop{index}" for index in range(8))


@pytest.fixture(scope="module")
def crops():
    """Eight crops of one photograph, each a little brighter than the one before."""
    crop = skimage.data.chelsea()[100:120, 100:124]
    return {name: crop // (9 - index) for index, name in enumerate(NAMES)}


@pytest.fixture(scope="module")
def table(espcn, crops):
    """Their ranges, measured in this process."""
    return cal.collect(espcn, crops)


@pytest.fixture
def calls(tmp_path):
    """Where workers leave what they did."""
    folder = tmp_path / "calls"
    folder.mkdir()
    return folder


@pytest.fixture
def journal(tmp_path):
    """Where the journal is kept."""
    return tmp_path / "study.jsonl"


@pytest.fixture
def start():
    """Start a cluster of worker processes that stay dead when they die."""
    started = []

    def started_with(workers):
        local = local_cluster(workers)
        started.append(local)
        for nanny in local.workers.values():
            nanny.close_gracefully()  # tells it not to start a worker that died again
        return local

    yield started_with
    for local in started:
        local.close()
    gc.collect()


@pytest.fixture(scope="module")
def two():
    """A cluster of two worker processes that are restarted when they die."""
    with local_cluster(2) as local:
        yield local
    gc.collect()


@pytest.fixture
def worker_elsewhere(tmp_path):
    """Start a worker as its own program, where ``setup`` runs first."""
    processes = []

    def started(address, setup=""):
        processes.append(
            dask_program(
                "worker", address, "--no-nanny", "--name", "hal", setup=setup, folder=tmp_path
            )
        )
        return processes[-1]

    yield started
    for process in processes:
        process.kill()
        process.communicate()


class TestResults:
    """What a cluster finds."""

    def test_same_table(self, two, espcn, crops, table):
        """Ranges measured on two workers are those measured here."""
        with cluster(two.scheduler_address) as executor:
            elsewhere = cal.collect(espcn, crops, executor=executor)
        assert elsewhere.images == table.images
        assert elsewhere.image_hashes == table.image_hashes
        np.testing.assert_array_equal(elsewhere.minimum, table.minimum)
        np.testing.assert_array_equal(elsewhere.maximum, table.maximum)

    def test_same_study(self, two, espcn, table, calls, journal):
        """A search on two workers gives the study of one in this process."""
        whole = cal.search(espcn, table, HashScore(calls))
        clear(calls)
        with cluster(two.scheduler_address) as executor:
            study = cal.search(
                espcn, table, HashScore(calls, 0.2), executor=executor, journal=journal
            )
        assert summary(study) == summary(whole)
        assert {int(file.stem) for file in calls.iterdir()} == set(pids(two))
        assert_each_model_once(journal, study)

    def test_error_of_a_task(self, two, espcn, table):
        """What a score raises on a worker reaches the caller as it is."""
        with (
            pytest.raises(ModelError, match="cannot be scored"),
            cluster(two.scheduler_address) as executor,
        ):
            cal.search(espcn, table, unscorable, executor=executor)

    def test_large_argument(self, two):
        """An image of an 8K photograph travels with its task, without a warning."""
        image = np.ones((2160, 3840, 3), np.uint8)
        with cluster(two.scheduler_address) as executor:
            assert list(completed(add_sum, 1, [("8K", image)], executor)) == [
                ("8K", image.size + 1)
            ]

    def test_more_threads_more_tasks(self, two, monkeypatch):
        """As many tasks are under way as the workers' threads ask for."""
        monkeypatch.setattr(cluster_module, "AHEAD", 3)
        with cluster(two.scheduler_address) as executor:
            wait_until(lambda: executor.ahead == 2 * 2)


class TestShared:
    """Values that tasks share."""

    def test_travels_once(self, two, calls):
        """A value comes to each worker once, and stays when Dask drops the copies it made."""
        value = Traveller(calls)
        with cluster(two.scheduler_address) as executor:
            assert_all_done(value, executor)
            assert arrivals(calls) == dict.fromkeys(pids(two), 1)
            executor._client.amm.run_once()
            wait_until(lambda: not two.scheduler.replicated_tasks)
            assert_all_done(value, executor)
        assert arrivals(calls) == dict.fromkeys(pids(two), 1)

    def test_new_worker(self, two, calls):
        """A worker that joins later gets the value once, and the others do not get it again."""
        value = Traveller(calls)
        with cluster(two.scheduler_address) as executor:
            assert_all_done(value, executor)
            executor._client.amm.run_once()
            two.scale(3)
            wait_until(lambda: len(two.scheduler.workers) == 3)
            try:
                assert_all_done(value, executor, used=3)
                assert arrivals(calls) == dict.fromkeys(pids(two), 1)
            finally:
                two.scale(2)
                wait_until(lambda: len(two.scheduler.workers) == 2)

    def test_two_values(self, two, calls, tmp_path):
        """Two values are not taken for one another, and one that is shared again is not sent."""
        other = tmp_path / "other"
        other.mkdir()
        values = [Traveller(calls), Traveller(other)]
        with cluster(two.scheduler_address) as executor:
            for value in (*values, *values):
                assert_all_done(value, executor)
        assert arrivals(calls) == arrivals(other) == dict.fromkeys(pids(two), 1)

    def test_copies_dropped_at_once(self, start, tmp_path):
        """A value comes to each worker once, however soon Dask drops copies it made."""
        folders = [tmp_path / str(index) for index in range(20)]
        with dask.config.set({"distributed.scheduler.active-memory-manager.interval": "1ms"}):
            local = start(2)
        with cluster(local.scheduler_address) as executor:
            for folder in folders:
                folder.mkdir()
                assert_all_done(Traveller(folder), executor)
        once = dict.fromkeys(pids(local), 1)
        assert [arrivals(folder) for folder in folders] == [once] * len(folders)

    def test_back_from_disk(self, two, calls):
        """A worker short of memory, that put the value on its disk, goes on with it."""
        with cluster(two.scheduler_address) as executor:
            value = Traveller(calls)
            assert_all_done(value, executor)
            executor._client.run(forget_shared)
            assert_all_done(value, executor)

    def test_nothing_stays(self, two, calls):
        """When the work is done the cluster holds nothing of it."""
        with cluster(two.scheduler_address) as executor:
            assert_all_done(Traveller(calls), executor)
            assert two.scheduler.tasks
        wait_until(lambda: not two.scheduler.tasks)


class TestDeaths:
    """Workers and schedulers that end in the middle."""

    def test_one_killed(self, start, espcn, table, calls, journal):
        """When one of two workers is killed, the other does its work; each trial counts once."""
        whole = cal.search(espcn, table, HashScore(calls))
        clear(calls)
        local = start(2)
        with cluster(local.scheduler_address) as executor:
            study = cal.search(
                espcn, table, DeadlyScore(calls, deaths=1), executor=executor, journal=journal
            )
        assert summary(study) == summary(whole)
        assert_each_model_once(journal, study)
        assert len(local.scheduler.workers) == len(deaths(calls)) == 1

    def test_every_worker_restarted(self, two, espcn, table, calls, journal):
        """When every worker is killed and restarted, they get the value anew and go on."""
        whole = cal.search(espcn, table, HashScore(calls))
        clear(calls)
        before = set(pids(two))
        with cluster(two.scheduler_address) as executor:
            study = cal.search(
                espcn, table, DeadlyScore(calls, deaths=2), executor=executor, journal=journal
            )
        assert summary(study) == summary(whole)
        assert_each_model_once(journal, study)
        assert deaths(calls) == before

    def test_no_worker_left(self, start, espcn, table, calls, journal):
        """When no worker comes back the search ends in words and keeps what is finished."""
        whole = cal.search(espcn, table, HashScore(calls))
        local = start(2)
        clear(calls)
        score = DeadlyScore(calls, deaths=2, journal=journal)
        with (
            pytest.raises(StudyError, match=r"no worker for 2 s; what is finished is kept: start"),
            cluster(local.scheduler_address, patience_seconds=2) as executor,
        ):
            cal.search(espcn, table, score, executor=executor, journal=journal)
        kept = len(measured(journal))
        assert 1 <= kept < len(NAMES)
        resumed = cal.search(espcn, table, HashScore(calls), journal=journal)
        assert resumed.resumed == kept
        assert summary(resumed) == summary(whole)

    def test_deadly_task(self, two, espcn, table, calls, monkeypatch):
        """A task that kills each worker it runs on ends the search in words about memory."""
        monkeypatch.setattr(two.scheduler, "allowed_failures", 0)
        with (
            pytest.raises(StudyError, match=r"1 workers died at the same task.* memory"),
            cluster(two.scheduler_address) as executor,
        ):
            cal.search(espcn, table, DeadlyScore(calls, deaths=99), executor=executor)
        wait_until(lambda: len(two.scheduler.workers) == 2)

    def test_scheduler_gone(self, start, calls):
        """When the scheduler ends, work ends in words, and no further task is taken."""
        local = start(1)
        with cluster(local.scheduler_address) as executor:
            done = completed(slowly, Traveller(calls), enumerate(range(40)), executor)
            next(done)
            local.close()
            with pytest.raises(StudyError, match="connection to the Dask scheduler was lost"):
                list(done)
            with pytest.raises(ClusterLostError, match="was lost"):
                wait_until(lambda: executor.submit(abs, -1).result() == 2)


class TestCaller:
    """What becomes of a cluster when its caller ends."""

    @pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
    def test_interrupted(self, two, calls, error):
        """Tasks that have not started never do; the cluster runs on; nobody is connected to it."""
        before = pids(two)
        with pytest.raises(error), cluster(two.scheduler_address) as executor:  # noqa: PT012
            for _ in completed(slowly, Traveller(calls), enumerate(range(30)), executor):
                raise error
        assert executor._client.status == "closed"
        with pytest.raises(RuntimeError, match="shut down"):
            executor.submit(abs, -1)
        wait_until(lambda: not two.scheduler.tasks)
        assert len(list(calls.glob("*.done"))) < 10
        assert pids(two) == before
        with cluster(two.scheduler_address) as executor:
            assert executor.submit(abs, -1).result() == 1

    def test_shutdown_waits(self, two, calls):
        """Like any executor it waits for its tasks, if asked to, and cancels none of them."""
        with cluster(two.scheduler_address) as executor:
            futures = [executor.submit(slowly, Traveller(calls), number) for number in range(3)]
            executor.shutdown()
            assert [future.result(timeout=0) for future in futures] == [0, 1, 2]

    def test_cancelled(self, two, calls):
        """A cancelled task is not started."""
        with cluster(two.scheduler_address) as executor:
            futures = [executor.submit(slowly, Traveller(calls), number) for number in range(9)]
            assert futures[-1].cancel()
            assert [future.result() for future in futures[:-1]] == list(range(8))
        assert not (calls / "8.done").exists()


class TestRefusals:
    """Clusters that cannot be worked on."""

    @pytest.mark.parametrize(
        "address",
        [
            "",
            "nonsense",
            "10.0.0.5",
            "tcp://",
            ":8786",
            "tcp://10.0.0.5:99999",
            "tcp://a b:8786",
            "http://127.0.0.1:8787/status",
        ],
    )
    def test_no_address(self, address):
        """What is no address of a scheduler is refused by its name."""
        with pytest.raises(UsageError, match="is no address of a Dask scheduler") as refused:
            enter(address)
        assert repr(address) in str(refused.value)

    def test_no_certificates(self):
        """An encrypted address is refused where Dask has no certificates."""
        with pytest.raises(UsageError, match=r"^tls://127\.0\.0\.1:9: .* needs certificates"):
            enter("tls://127.0.0.1:9")

    @pytest.mark.parametrize("listens", [False, True])
    def test_no_scheduler(self, monkeypatch, listens):
        """Where nothing listens, or something that never answers, the address is named soon."""
        monkeypatch.setattr(cluster_module, "_CONNECT_SECONDS", 0.5)
        with socket.socket() as server:
            server.bind(("127.0.0.1", 0))
            if listens:
                server.listen()
            port = server.getsockname()[1]
            with pytest.raises(StudyError, match=rf"^tcp://127.0.0.1:{port}: no Dask scheduler"):
                enter(f"tcp://127.0.0.1:{port}")

    def test_worker_address(self, two):
        """The address of a worker is told from that of the scheduler."""
        with pytest.raises(UsageError, match="is a Dask Worker; give the scheduler's address"):
            enter(next(iter(two.scheduler.workers)))

    def test_no_worker(self, start, monkeypatch):
        """A cluster without a worker is refused with how to start one."""
        monkeypatch.setattr(cluster_module, "_CONNECT_SECONDS", 0.5)
        local = start(0)
        with pytest.raises(StudyError, match="no worker; start some with `dask worker tcp://"):
            enter(local.scheduler_address)

    @pytest.mark.parametrize(
        ("setup", "said"),
        [
            (
                "hide('qsr')",
                r"worker hal at tcp://\S+ has no qsr\S*; .*\"qsr==.*\"ai-edge-litert==",
            ),
            ("hide('ai_edge_litert')", r"worker hal at tcp://\S+ has no ai_edge_litert; install"),
            (
                "other_version('ai-edge-litert')",
                r"hal at tcp://\S+ has ai-edge-litert 0\.9, not \S+; .* install \"ai-edge-l[^ ]*$",
            ),
        ],
    )
    def test_unfit_worker(self, start, worker_elsewhere, setup, said):
        """A worker that lacks a package, or has another version, is refused by its name."""
        local = start(0)
        worker_elsewhere(local.scheduler_address, setup)
        wait_until(lambda: local.scheduler.workers)
        with pytest.raises(StudyError, match=said) as refused:
            enter(local.scheduler_address)
        assert "\n" not in str(refused.value)

    @pytest.mark.parametrize("setup", ["hide('qsr')", "other_version('numpy')"])
    @pytest.mark.parametrize("shared_before", [False, True])
    def test_unfit_worker_joins(self, *, two, worker_elsewhere, calls, setup, shared_before):
        """A worker that joins later and is unfit gives no result; it is named."""
        value = Traveller(calls)
        with cluster(two.scheduler_address) as executor:
            if shared_before:
                executor.share(value)
            hal = worker_elsewhere(two.scheduler_address, setup)
            wait_until(lambda: len(two.scheduler.workers) == 3)
            with pytest.raises(StudyError, match="the worker hal at tcp://"):
                list(completed(slowly, value, enumerate(range(30)), executor))
        hal.kill()
        wait_until(lambda: len(two.scheduler.workers) == 2)

    def test_not_installed(self, monkeypatch):
        """Without the extra, one line says how to install it."""
        monkeypatch.setitem(sys.modules, "dask", None)
        with pytest.raises(UsageError, match=r'pip install "qsr\[dask\]"$'):
            enter("tcp://127.0.0.1:8786")

    def test_not_imported(self):
        """Dask is not loaded until a cluster is asked for."""
        script = (
            "import sys, qsr.calibration.cluster; "
            "assert not {'dask', 'distributed', 'cloudpickle'} & set(sys.modules)"
        )
        subprocess.run([sys.executable, "-c", script], check=True)  # noqa: S603 (our own script)


def test_scheduler_without_qsr(worker_elsewhere, tmp_path, calls, monkeypatch):
    """The scheduler itself needs neither qsr nor NumPy."""
    monkeypatch.setattr(cluster_module, "_CONNECT_SECONDS", 60)  # until the worker is there
    file = tmp_path / "scheduler.json"
    scheduler = dask_program(
        *("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"),
        *("--scheduler-file", file),
        setup="hide('qsr'); hide('numpy')",
        folder=tmp_path / "scheduler",
    )
    try:
        wait_until(file.exists)
        address = json.loads(file.read_text())["address"]
        worker_elsewhere(address)
        with cluster(address) as executor:
            assert_all_done(Traveller(calls), executor, used=1)
            assert executor.submit(np.sum, np.ones(3)).result() == 3
    finally:
        scheduler.kill()
        scheduler.communicate()


class Traveller:
    """A value that notes where it is unpickled."""

    def __init__(self, folder):
        self.folder = folder

    def __setstate__(self, state):
        """Note the process that it came to."""
        self.__dict__.update(state)
        with (self.folder / f"{os.getpid()}.arrivals").open("a") as arrived:
            arrived.write("once\n")


@dataclass(frozen=True)
class DeadlyScore:
    """HashScore, but from the third call on it kills its process, so many times in all.

    With a journal it waits until that holds the score of an earlier call.
    """

    folder: Path
    deaths: int
    journal: Path | None = None

    def __call__(self, model):
        """Return what HashScore does, or die."""
        score = HashScore(self.folder, 0.1)(model)
        calls = sum(len(file.read_text().splitlines()) for file in self.folder.glob("*.calls"))
        if calls >= 3 and len(deaths(self.folder)) < self.deaths:
            if self.journal is not None:
                wait_until(lambda: measured(self.journal))
            (self.folder / f"{os.getpid()}.death").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return score


def deaths(folder):
    """Return the numbers of the processes that killed themselves."""
    return {int(file.stem) for file in folder.glob("*.death")}


def slowly(value, number):
    """Give a number back after a while, and leave a file."""
    time.sleep(0.2)
    (value.folder / f"{number}.done").touch()
    return number


def add_sum(value, image):
    """Return the sum of an image and a value."""
    return value + int(image.sum())


def where(value, number):
    """Return the number of the process, after long enough that every worker gets a task."""
    time.sleep(0.05)
    assert value.folder.exists()
    return os.getpid() if number >= 0 else 0


def unscorable(model):
    """Refuse every model."""
    raise ModelError(f"cannot be scored: {len(model)} bytes")


def forget_shared():
    """Do to a worker's values what spilling them to disk does: they are in memory no more."""
    cluster_module._here.clear()


def assert_all_done(value, executor, *, used=2):
    """Run tasks that share a value, until so many workers have had some."""
    processes = set()
    for _ in range(20):
        done = dict(completed(where, value, enumerate(range(12)), executor))
        assert set(done) == set(range(12))
        processes |= set(done.values())
        if len(processes) == used:
            break
    assert len(processes) == used


def arrivals(folder):
    """Return how many times the value came to each process."""
    files = folder.glob("*.arrivals")
    return {int(file.stem): len(file.read_text().splitlines()) for file in files}


def pids(local):
    """Return the numbers of a cluster's worker processes."""
    wait_until(lambda: len(local.scheduler.workers) == len(local.workers))
    nannies = [nanny for nanny in local.workers.values() if nanny.process is not None]
    return [nanny.process.pid for nanny in nannies if nanny.process.pid is not None]


def clear(folder):
    """Forget the calls so far."""
    for file in folder.iterdir():
        file.unlink()


def measured(journal):
    """Return the hash of the model of each measurement in a journal."""
    entries = [json.loads(line) for line in journal.read_text().splitlines()]
    return [entry["model"] for entry in entries if "scores" in entry]


def assert_each_model_once(journal, study):
    """Check that the journal holds every model of the study, each measured once."""
    assert sorted(measured(journal)) == sorted({trial.model_hash for trial in study.trials})


def enter(address):
    """Connect and do nothing."""
    with cluster(address):
        pass


def local_cluster(workers):
    """Return a cluster of worker processes on this computer."""
    return distributed.LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        processes=True,
        dashboard_address=":0",
        silence_logs="CRITICAL",
    )


SETUP = """
import importlib.metadata, sys
def hide(package):
    sys.modules[package] = None
def other_version(package):
    true = importlib.metadata.version
    importlib.metadata.version = lambda name: "0.9" if name == package else true(name)
"""


def dask_program(*words, setup, folder):
    """Start one of Dask's own programs, in which some lines run first."""
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(f"{SETUP}\n{setup}\n")
    words = [*words, *(["--no-dashboard", "--nthreads", "1"] if words[0] == "worker" else [])]
    return subprocess.Popen(  # noqa: S603 (this interpreter, our own words)
        [sys.executable, "-m", "dask", *words],
        env={**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{Path(__file__).parent}"},
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def wait_until(condition, *, seconds=60):
    """Wait until the condition holds, and fail if it does not in time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)
