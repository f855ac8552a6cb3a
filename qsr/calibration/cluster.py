"""Work on an existing Dask cluster, behind the standard ``concurrent.futures.Executor``.

What tasks share is sent to one worker; each fetches it once and keeps it on its own account:
Dask drops copies of data that nobody asks for at the moment (its active memory manager, on by
default), and would send them again and again. So each worker holds the value under a key of its
own; one that has not got it yet, as it joined later or was restarted, says so when a task needs it,
and that task waits until it has.
"""

import asyncio
import importlib
import json
import logging
import pickle
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import (
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ThreadPoolExecutor,
)
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit
from uuid import uuid4
from weakref import WeakValueDictionary

from qsr.calibration.executor import AHEAD, SharedValue
from qsr.calibration.provenance import versions
from qsr.errors import StudyError, UsageError

if TYPE_CHECKING:
    from distributed import Client
    from distributed import Future as DaskFuture

Argument = TypeVar("Argument")
Result = TypeVar("Result")

_LOG = logging.getLogger(__name__)

PATIENCE_SECONDS = 60.0
"""How long work waits for a worker when the last one is gone: a restart takes a few seconds."""

_CONNECT_SECONDS = 5.0
_CHECK_SECONDS = 60.0
_POLL_SECONDS = 1.0
_CLOSE_SECONDS = 1.0
_ATTEMPTS = 5
_SCHEMES = ("tcp", "tls", "ws", "wss", "ucx")


class ClusterLostError(StudyError, BrokenExecutor):
    """A Dask cluster that cannot go on with the work."""


@contextmanager
def cluster(address: str, *, patience_seconds: float = PATIENCE_SECONDS) -> Iterator[Executor]:
    """Connect to a Dask cluster that runs already, and give an executor of its workers.

    The executor has a method ``share(value)``, which ``collect`` and ``search`` use: the model and
    the validation images travel once per worker. Tasks of a worker that dies run on another one.
    The cluster is left as it was: it keeps nothing, and its workers go on.

    Its computers need share no files with this one. So a score, its arguments and what they refer
    to must be complete in themselves: images as arrays, not as paths. Workers need the same
    versions of qsr, ai-edge-litert, TensorFlow and NumPy as this computer, because results depend
    on them; the scheduler needs none of these.

    Args:
        address: of the scheduler, such as ``tcp://10.0.0.5:8786``. For ``tls://``, Dask reads the
            certificates from its own configuration.
        patience_seconds: how long to wait for a worker when the last one is gone.

    Yields:
        The executor. Its futures raise ``ClusterLostError``, a ``StudyError`` and a
        ``BrokenExecutor``, when the scheduler is gone, when no worker came back in time, and when
        the same task has killed several workers.

    Raises:
        StudyError: nothing answers at the address; there is no worker; or one lacks a package or
            has another version of it.
        UsageError: the address is none, or ``qsr[dask]`` is not installed.
    """
    try:
        import dask
        import distributed  # noqa: F401 (the pages of it that are needed are imported below)
    except ModuleNotFoundError as error:
        raise UsageError(
            'a Dask cluster needs packages that are not here: pip install "qsr[dask]"'
        ) from error
    _check_address(address)
    # An LR image of 8K photographs travels with its task. Dask would rather have it scattered; but
    # what is scattered is lost with its worker, and what a task carries is not.
    with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 TiB"}):
        client = _connected(address)
        executor = None
        # Tasks that are given up with the client have nobody who would ask how they ended.
        client.loop.asyncio_loop.set_exception_handler(_ignore_given_up)
        try:
            _await_worker(client, address)
            _in_loop(client, _refuse_unfit(client, address), _CHECK_SECONDS)
            executor = ClusterExecutor(client, address, patience_seconds)
            yield executor
        finally:
            if executor is not None:
                executor.shutdown(wait=False, cancel_futures=True)
            with suppress(OSError, TimeoutError):
                client.close(timeout=_CLOSE_SECONDS)


class ClusterExecutor(Executor):
    """Runs functions on the workers of a Dask cluster.

    Attributes:
        ahead: how many tasks to keep under way: two for each thread of the workers, and no fewer
            than on this computer.
    """

    def __init__(self, client: "Client", address: str, patience_seconds: float) -> None:
        self.ahead = AHEAD
        self._client = client
        self._address = address
        self._patience_seconds = patience_seconds
        self._versions = json.dumps(versions())
        self._fit: set[str] = set()
        self._shared: dict[int, tuple[_Held, _OnWorker]] = {}
        self._values: dict[str, _Held] = {}
        self._sent: dict[str, DaskFuture] = {}
        self._keepers: dict[tuple[str, str], DaskFuture] = {}
        self._under_way: set[Future[Any]] = set()
        self._closed = False
        self._lost: ClusterLostError | None = None
        self._placing: defaultdict[tuple[str, str], asyncio.Lock] = defaultdict(asyncio.Lock)
        self._end = asyncio.Event()
        self._watching = asyncio.run_coroutine_threadsafe(self._watch(), client.loop.asyncio_loop)

    def share(self, value: Any) -> SharedValue:
        """Send a value to every worker, unless it is there already.

        Raises:
            ClusterLostError: no worker is left to take it.
        """
        if id(value) not in self._shared:  # the value is held, so that its id stays its own
            held = _Held(uuid4().hex, value)
            self._values[held.token] = held
            _in_loop(self._client, self._unless_lost(self._send_to_all, held))
            self._shared[id(value)] = held, _OnWorker(held.token)
        return self._shared[id(value)][1]

    def submit(self, fn: Callable[..., Result], /, *args: Any, **kwargs: Any) -> Future[Result]:
        """Run a function on some worker.

        Raises:
            ClusterLostError: the cluster is lost.
        """
        import cloudpickle  # which also takes along what a script or a notebook defines

        if self._closed:
            raise RuntimeError("this executor was shut down")
        if self._lost is not None:
            raise self._lost
        task = cloudpickle.dumps((fn, args, kwargs))
        future: Future[Result] = asyncio.run_coroutine_threadsafe(
            self._unless_lost(self._outcome, task), self._client.loop.asyncio_loop
        )
        self._under_way.add(future)
        future.add_done_callback(self._under_way.discard)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 (as in the standard library)
        """Take no more tasks; wait for those under way, or cancel them."""
        self._closed = True
        under_way = list(self._under_way)
        if cancel_futures:
            for future in under_way:
                future.cancel()
        if wait:
            for future in under_way:
                with suppress(CancelledError):
                    future.exception()
        self._watching.cancel()

    async def _outcome(self, task: bytes) -> Any:
        """Run a task until a worker has finished it, whatever becomes of the other workers."""
        from distributed.client import FutureCancelledError

        dropped = 0
        needs: dict[str, DaskFuture] = {}  # what a worker must fetch back from its disk, by worker
        asked: set[str] = set()
        while dropped < _ATTEMPTS:
            try:
                answer = await self._answer(
                    _by_value("run_task"),
                    self._versions,
                    task,
                    *needs.values(),
                    workers=list(needs) or None,
                )
                if not isinstance(answer, NotHere):
                    return answer
                keeper = await self._keeper(answer.token, answer.worker)
                needs = {answer.worker: keeper} if answer.worker in asked else {}
                asked.add(answer.worker)
            except FutureCancelledError:  # with a worker that was to keep what the task needs
                self._refuse_lost_scheduler()
                dropped += 1
                needs = {}
                await asyncio.sleep(_POLL_SECONDS / 4)
        raise ClusterLostError(
            f"{self._address}: Dask dropped the same task {dropped} times, as workers came and "
            "went; what is finished is kept: run the same command again"
        )

    async def _answer(
        self, function: Callable[..., Any], *args: Any, workers: list[str] | None
    ) -> Any:
        """Run a function once and return what it returned."""
        from distributed import KilledWorker

        future = self._client.submit(
            function, *args, key=f"qsr-{uuid4().hex}", workers=workers, pure=False
        )
        try:
            return await self._client.gather(future, asynchronous=True)
        except KilledWorker as error:
            raise ClusterLostError(
                f"{self._address}: {error.allowed_failures + 1} workers died at the same task, the "
                f"last one at {error.last_worker.address}, most likely for want of memory; what is "
                "finished is kept: give the workers more memory or fewer threads and run the same "
                "command again"
            ) from error
        except ImportError:
            await _refuse_unfit(self._client, self._address)
            raise
        except OSError as error:
            if future.status == "error":  # it is the task's own
                raise
            raise self._scheduler_lost() from error
        finally:
            future.release()  # Dask forgets it, and does not start it if it has not yet

    async def _send_to_all(self, held: "_Held") -> None:
        """Send a value to one worker, and have each of those that there are fetch and keep it."""
        workers = set(await self._client.nthreads())
        if not workers <= self._fit:  # Dask waits for ever for a worker that cannot unpickle it
            await _refuse_unfit(self._client, self._address)
            self._fit |= workers
        self._sent[held.token] = await self._scattered(held, list(workers))
        for worker in workers:
            self._place(held.token, worker)

    async def _scattered(self, held: "_Held", workers: list[str]) -> "DaskFuture":
        """Send a value to one of some workers, or to any that is left when they are gone.

        Not to all of them at once: Dask may drop such copies before their workers keep them.
        """
        for attempt in range(_ATTEMPTS):
            self._refuse_lost_scheduler()
            key = f"qsr-shared-{uuid4().hex}"
            left = [worker for worker in workers if worker in await self._client.nthreads()]
            if left:
                with suppress(OSError, KeyError, ValueError):  # OSError: TimeoutError is one too
                    sent = await self._client.scatter(
                        {key: held}, workers=[left[attempt % len(left)]], asynchronous=True
                    )
                    return sent[key]
            workers = list(self._fit)
            await asyncio.sleep(_POLL_SECONDS)
        raise self._no_worker(_ATTEMPTS * _POLL_SECONDS)

    async def _keeper(self, token: str, worker: str) -> "DaskFuture":
        """Wait until a worker keeps a value."""
        async with self._placing[token, worker]:
            if self._keepers.get((token, worker)) is None:
                if self._sent[token].status in _GONE:  # the last copy went with its worker
                    held = self._values[token]
                    self._sent[token] = await self._scattered(held, [worker])
                self._place(token, worker)
            keeper = self._keepers[token, worker]
            try:
                await self._answer(_by_value("there"), keeper, workers=[worker])
            except CancelledError:
                if self._keepers.get((token, worker)) is keeper:
                    del self._keepers[token, worker]
                raise
            return keeper

    def _place(self, token: str, worker: str) -> None:
        """Have a worker keep a value, under a key that is on that worker and nowhere else."""
        self._keepers[token, worker] = self._client.submit(
            _by_value("kept"),
            self._sent[token],
            key=f"qsr-kept-{uuid4().hex}",
            workers=[worker],
            pure=False,
        )

    async def _watch(self) -> None:
        """Notice what Dask would wait out for ever: no worker is left, or no scheduler."""
        clock = asyncio.get_running_loop().time
        seen = clock()
        warned = False
        while True:
            await asyncio.sleep(_POLL_SECONDS)
            try:
                threads = await asyncio.wait_for(self._client.nthreads(), self._patience_seconds)
                # Tasks that wait for what a dead worker kept are cancelled with it, and asked anew.
                gone = [key for key in self._keepers if key[1] not in threads]
                keepers = [self._keepers.pop(key) for key in gone]
                await self._client.cancel(keepers, asynchronous=True)
            except Exception as error:  # noqa: BLE001 (whatever it is, nobody else would notice)
                self._give_up(self._scheduler_lost(), error)
                return
            self.ahead = max(AHEAD, 2 * sum(threads.values()))
            if threads:
                seen = clock()
            elif clock() - seen > self._patience_seconds:
                self._give_up(self._no_worker(self._patience_seconds))
                return
            elif not warned:
                _LOG.warning(
                    "%s: no worker is left; waiting %.0f s for one",
                    self._address,
                    self._patience_seconds,
                )
            warned = not threads

    def _give_up(self, lost: ClusterLostError, cause: BaseException | None = None) -> None:
        lost.__cause__ = cause
        self._lost = lost
        self._end.set()

    async def _unless_lost(
        self, work: Callable[[Argument], Awaitable[Result]], argument: Argument
    ) -> Result:
        """Wait for work, but no longer than there is a cluster."""
        working = asyncio.ensure_future(work(argument))
        ending = asyncio.ensure_future(self._end.wait())
        try:
            await asyncio.wait({working, ending}, return_when=asyncio.FIRST_COMPLETED)
            if self._lost is not None and not working.done():
                raise self._lost
            return await working
        finally:
            ending.cancel()
            working.cancel()

    def _refuse_lost_scheduler(self) -> None:
        if self._client.status != "running":
            raise self._scheduler_lost()

    def _scheduler_lost(self) -> ClusterLostError:
        return ClusterLostError(
            f"{self._address}: the connection to the Dask scheduler was lost; what is finished is "
            "kept: when it is back, run the same command again"
        )

    def _no_worker(self, seconds: float) -> ClusterLostError:
        return ClusterLostError(
            f"{self._address}: the Dask cluster has had no worker for {seconds:.0f} s; what is "
            "finished is kept: start workers and run the same command again"
        )


def _ignore_given_up(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Report what goes wrong in the client's loop, but for what ended because the client did."""
    from distributed.client import AllExit

    if not isinstance(context.get("exception"), AllExit | OSError | asyncio.CancelledError):
        loop.default_exception_handler(context)


_GONE = ("cancelled", "lost", "error")


class _Held:
    """A value that tasks share; in a worker it is found by its token as long as Dask holds it."""

    def __init__(self, token: str, value: Any) -> None:
        self.token = token
        self.value = value
        _here[token] = self

    def __reduce__(self) -> tuple[type["_Held"], tuple[str, Any]]:
        return _Held, (self.token, self.value)


_here: WeakValueDictionary[str, _Held] = WeakValueDictionary()
"""The values that this process was sent. Dask holds them, and drops them when the client is gone,
even if it was killed."""


class _NotHereError(Exception):
    """A task asks for a value that its worker does not have."""


@dataclass(frozen=True)
class _OnWorker(SharedValue):
    """Stands for a value that was sent to the workers."""

    token: str

    def value(self) -> Any:
        """Return the value that this worker was sent."""
        held = _here.get(self.token)
        if held is None:
            raise _NotHereError(self.token)
        return held.value


@dataclass(frozen=True)
class NotHere:
    """The answer of a worker that has not been sent a value yet.

    Attributes:
        token: names the value.
        worker: address of the worker.
    """

    token: str
    worker: str


def run_task(here: str, task: bytes, *keepers: _Held) -> Any:
    """Run a task in a worker.

    Args:
        here: versions of the packages where the task comes from, as JSON.
        task: function, arguments and keyword arguments, pickled.
        keepers: values that it shares with others; Dask has brought them here.

    Raises:
        ImportError: this worker has other versions.
    """
    from distributed import get_worker

    if json.loads(here) != versions():
        raise ImportError("other versions of packages than where the task comes from")
    for held in keepers:
        _here[held.token] = held
    function, args, kwargs = pickle.loads(task)  # noqa: S301 (written by our own client)
    try:
        return function(*args, **kwargs)
    except _NotHereError as missing:
        return NotHere(str(missing), get_worker().address)


def kept(held: _Held) -> _Held:
    """Keep a value in a worker, which has it already, under one more key."""
    return held


def there(_held: _Held) -> None:
    """Do nothing in a worker, once it keeps a value."""


def installed() -> dict[str, str]:
    """Return the versions that a worker has; what cannot be imported raises."""
    importlib.import_module("ai_edge_litert.interpreter")
    return versions()


def _by_value(name: str) -> Callable[..., Any]:
    """Return a function of this module in a form that is pickled as code, not by its name.

    So the scheduler, which unpickles what it hands on, needs no qsr; and a worker that has none
    says so when it runs it.
    """
    module = __name__

    def call(*args: Any) -> Any:
        import importlib

        return getattr(importlib.import_module(module), name)(*args)

    return call


def _in_loop(client: "Client", work: Any, timeout: float | None = None) -> Any:
    """Wait for a coroutine in the client's thread."""
    running = asyncio.run_coroutine_threadsafe(work, client.loop.asyncio_loop)
    try:
        return running.result(timeout)
    except TimeoutError as error:
        if running.done():
            raise
        raise StudyError("the workers of the Dask cluster do not answer; restart them") from error
    finally:
        running.cancel()


def _check_address(address: str) -> None:
    """Check that an address can be one of a scheduler."""
    try:
        parts = urlsplit(address if "://" in address else f"tcp://{address}")
        plausible = parts.scheme in _SCHEMES and parts.hostname and parts.port
    except ValueError:
        plausible = False
    if not plausible or any(letter.isspace() for letter in address):
        raise UsageError(
            f"{address!r} is no address of a Dask scheduler; give one like tcp://10.0.0.5:8786, "
            "which the scheduler prints when it starts (not its dashboard's)"
        )


def _connected(address: str) -> "Client":
    """Connect to the scheduler."""
    from distributed import Client

    try:
        # Dask's client would wait for ever for an answer of something that is no scheduler.
        with ThreadPoolExecutor(1) as pool:  # a notebook's own thread runs a loop already
            kind = pool.submit(lambda: asyncio.run(_kind(address))).result()
        if kind != "Scheduler":
            raise UsageError(f"{address}: that is a Dask {kind}; give the scheduler's address")
        return Client(address, timeout=_CONNECT_SECONDS, set_as_default=False)
    except (TypeError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(
            f"{address}: Dask cannot connect to such an address ({reason}); a tls:// or wss:// "
            "one needs certificates in Dask's configuration (distributed.comm.tls)"
        ) from error
    except OSError as error:
        raise StudyError(
            f"{address}: no Dask scheduler answers there within {_CONNECT_SECONDS:.0f} s; start "
            "one with `dask scheduler`, or correct the address"
        ) from error


async def _kind(address: str) -> str:
    """Ask what kind of server listens."""
    from distributed import Security, rpc

    async def ask() -> str:
        arguments = Security().get_connection_args("client")
        async with rpc(address, timeout=_CONNECT_SECONDS, connection_args=arguments) as server:
            return str((await server.identity())["type"])

    return await asyncio.wait_for(ask(), _CONNECT_SECONDS)


def _await_worker(client: "Client", address: str) -> None:
    try:
        client.wait_for_workers(1, timeout=_CONNECT_SECONDS)
    except TimeoutError as error:
        raise StudyError(
            f"{address}: the Dask cluster has no worker; start some with `dask worker {address}`"
        ) from error


async def _refuse_unfit(client: "Client", address: str) -> None:
    """Check that every worker has what results depend on, in the versions that are here."""
    found = await client.run(_by_value("installed"), on_error="return")
    names = await client.run(lambda dask_worker: str(dask_worker.name), on_error="ignore")
    for worker, there in found.items():
        reason, packages = _unfit(there)
        if packages:
            needed = " ".join(f'"{package}=={versions()[package]}"' for package in packages)
            raise StudyError(
                f"{address}: the worker {names.get(worker, '')} at {worker} {reason}; install "
                f"there: pip install {needed}"
            )


def _unfit(there: dict[str, str] | Exception) -> tuple[str, list[str]]:
    """Return what is wrong with the packages of a worker, and which to install there."""
    here = versions()
    if isinstance(there, OSError):
        return "is gone", []  # it died since; its tasks run elsewhere
    if isinstance(there, ImportError):
        return f"has no {there.name or there}", list(here)
    if isinstance(there, Exception):
        return f"cannot load qsr ({there})", list(here)
    others = [package for package in here if there.get(package) != here[package]]
    differences = [f"{name} {there.get(name)}, not {here[name]}" for name in others]
    return f"has {', '.join(differences)}", others
