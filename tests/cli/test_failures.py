"""How a failure reaches a person, whatever it is."""

import errno
import os
import re
import shlex
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from qsr.cli import main
from qsr.errors import ImageError, QsrError, UsageError

QSR = "import sys; from qsr.cli import main; main(sys.argv[1:])"


def started(*words, **options):
    """Start ``qsr`` as a process of its own."""
    return subprocess.Popen([sys.executable, "-c", QSR, *map(str, words)], **options)  # noqa: S603


@pytest.fixture
def failing(monkeypatch):
    """Make ``qsr evaluate`` raise."""

    def make(error):
        def fail(*_, **__):
            raise error

        monkeypatch.setattr("qsr.jobs.evaluate.evaluate_with_costs", fail)

    return make


class TestKinds:
    """Exceptions and what becomes of them."""

    @pytest.mark.parametrize(
        ("error", "code", "line"),
        [
            (ImageError("a.png: no\nimage"), 1, "a.png: no image"),
            (UsageError("give two"), 2, "give two"),
            (MemoryError(), 1, "out of memory; use fewer --workers or smaller images"),
            (OSError(errno.ENOSPC, "No space left", "/a/b"), 1, "/a/b: No space left"),
            (OSError(errno.ENOSPC, "No space left"), 1, "No space left"),
            (
                ValueError("odd"),
                1,
                "unexpected ValueError: odd (a fault of qsr; --debug shows where it comes from)",
            ),
        ],
        ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
    )
    def test_one_line(self, qsr, failing, error, code, line):
        """Each is one line and an exit code, with no traceback."""
        failing(error)
        said = qsr("evaluate", "xcat")
        assert (said.code, said.err, said.out) == (code, f"qsr: {line}\n", "")

    @pytest.mark.parametrize("error", [QsrError("wrong"), ValueError("odd")])
    @pytest.mark.parametrize("place", [0, 1, 2])
    def test_debug(self, failing, error, place):
        """With --debug anywhere on the line, the exception itself comes through."""
        failing(error)
        words = ["evaluate", "xcat"]
        words.insert(place, "--debug")
        with pytest.raises(type(error), match=str(error)):
            main(words)

    @pytest.fixture
    def killed(self, monkeypatch):
        """Make ``qsr evaluate`` send this process SIGTERM, and come to nothing after it."""

        def kill(*_, **__):
            os.kill(os.getpid(), signal.SIGTERM)
            raise UsageError("not stopped")

        monkeypatch.setattr("qsr.jobs.evaluate.evaluate_with_costs", kill)
        before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
        yield
        signal.signal(signal.SIGTERM, before)

    @pytest.mark.usefixtures("killed")
    def test_terminated(self, qsr):
        """A plain kill exits with 143 and the command that goes on; the next one is as usual."""
        said = qsr("evaluate", "my net.tflite")
        assert (said.code, said.out) == (143, "")
        text = said.err.removeprefix("qsr: terminated. To go on: ")
        assert shlex.split(text) == ["qsr", "evaluate", "my net.tflite"]
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL

    @pytest.mark.usefixtures("killed")
    def test_termination_is_the_callers(self, qsr):
        """Whoever has SIGTERM ignored or handled keeps it so."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        assert "not stopped" in qsr("evaluate", "xcat").failure
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN

    @pytest.mark.usefixtures("killed")
    def test_in_a_thread(self, qsr, failing):
        """In a thread, which cannot handle signals, commands run as ever."""
        failing(UsageError("give two"))
        with ThreadPoolExecutor(1) as thread:
            assert thread.submit(qsr, "evaluate", "xcat").result().failure == "qsr: give two"

    def test_interrupted(self, qsr, failing):
        """Ctrl-C exits with 130 and the command that goes on, ready to be pasted."""
        failing(KeyboardInterrupt())
        words = ["evaluate", "my net.tflite", "--data", "photos & more"]
        said = qsr(*words)
        assert (said.code, said.out) == (130, "")
        text = said.err.removeprefix("qsr: stopped. To go on: ")
        assert shlex.split(text) == ["qsr", *words]

    @pytest.mark.parametrize(("step", "call"), [("_size", 1), ("os.dup2", 2)])
    def test_interrupted_while_capturing(self, photos, step, call):
        """The line is seen if Ctrl-C comes just as capturing standard error begins or ends."""
        script = f"""
import qsr.quiet
step, calls = qsr.quiet.{step}, []
def interrupted(*words):
    calls.append(words)
    if len(calls) == {call}:
        raise KeyboardInterrupt
    return step(*words)
qsr.quiet.{step} = interrupted
{QSR}
"""
        words = ["evaluate", "xcat", "--data", str(photos / "validation")]
        process = subprocess.run(  # noqa: S603 (this interpreter, our own words)
            [sys.executable, "-c", script, *words],
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
        last = process.stderr.splitlines()[-1]
        assert shlex.split(last.removeprefix("qsr: stopped. To go on: ")) == ["qsr", *words]


class TestStreams:
    """Output that nobody reads, or that cannot be written."""

    @pytest.mark.parametrize("more", [None, "--json", "--scale"])
    def test_nobody_reads(self, photos, more):
        """When the reader has left, as head does, the command leaves without a complaint."""
        words = ("evaluate", "bicubic", "--data", photos / "validation")
        words = {None: ("--help",), "--json": (*words, more), "--scale": (*words, more, 2)}[more]
        reader, writer = os.pipe()
        os.close(reader)
        process = started(*words, stdout=writer, stderr=subprocess.PIPE, text=True)
        os.close(writer)
        said = process.communicate(timeout=60)[1].splitlines()
        assert [line for line in said if not re.fullmatch(r".*: \d/\d", line)] == []
        assert process.returncode == 141

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
    def test_no_space(self):
        """Results that cannot be written are a failure, in one line."""
        with Path("/dev/full").open("w") as full:
            process = started("--help", stdout=full, stderr=subprocess.PIPE, text=True)
        assert process.communicate(timeout=60)[1] == "qsr: No space left on device\n"
        assert process.returncode == 1

    @pytest.mark.parametrize("descriptor", [1, 2])
    def test_closed(self, photos, descriptor):
        """A command works without standard output or standard error."""
        words = ("evaluate", "bicubic", "--json", "--data", str(photos / "validation"))
        process = subprocess.Popen(  # noqa: S603 (this interpreter, our own words)
            ["/bin/sh", "-c", f'exec "$@" {descriptor}>&-', "", sys.executable, "-c", QSR, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0
        assert (bool(out), bool(err)) == (descriptor == 2, descriptor == 1)

    def test_any_bytes(self, photos, tmp_path):
        """A file name that is no text is printed all the same."""
        photo = os.fsencode(tmp_path) + b"/no\xfftext.png"
        try:
            Path(os.fsdecode(photo)).write_bytes((photos / "validation/coffee.png").read_bytes())
        except OSError:
            pytest.skip("this file system takes names that are text alone")
        process = started(
            *("evaluate", "bicubic", "--data", tmp_path),
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONIOENCODING": "ascii"},
        )
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        assert b"bicubic" in out


class TestNoSpace:
    """A disk that fills up, at any moment of a search."""

    @pytest.mark.parametrize(
        ("target", "at", "named"),
        [
            ("pathlib.Path.write_bytes", 1, "model_fp32.tflite: cannot be written"),
            ("numpy.savez", 1, "ranges.npz: cannot be written"),
            ("os.fsync", 7, "study.jsonl: cannot be written"),
            ("os.fsync", 9, "study.jsonl: cannot be written"),
            ("pathlib.Path.write_bytes", 3, "model_uint8.tflite: cannot be written"),
            ("pathlib.Path.write_text", 3, "ranges_chosen.json: cannot be written"),
            ("pathlib.Path.write_text", 4, "summary.json: cannot be written"),
        ],
    )
    def test_search(self, *, qsr, network, on_photos, tmp_path, monkeypatch, target, at, named):
        """The file is named, what is finished is kept, and with room the search is finished."""
        words = ("search-repdata", network, *on_photos, "--out", tmp_path / "run")
        monkeypatch.setattr("qsr.calibration.journal._SYNC_EVERY_SECONDS", -1.0)  # every line
        with monkeypatch.context() as patch:
            fill_up(patch, target, at)
            line = qsr(*words).failure
        assert named in line
        assert "No space left on device" in line
        assert not list(tmp_path.rglob(".model*"))
        said = qsr(*words)
        assert said.code == 0
        lines = (tmp_path / "run/study.jsonl").read_text().splitlines()
        assert len(lines) == len(set(lines)) == 1 + 5 + 5 + 2  # models, scores, confirmations
        assert not list((tmp_path / "run").glob("*unfinished*"))

    def test_file_size(self, qsr, network, on_photos, tmp_path):
        """So it is when the system itself stops a file that grows."""
        import resource

        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20000, before[1]))
        try:
            said = qsr("search-repdata", network, *on_photos, "--out", tmp_path / "run")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert "model_fp32.tflite: cannot be written (File too large)" in said.failure
        assert not (tmp_path / "run/model_fp32.tflite").exists()


def fill_up(patch, target, at):
    """Let the ``at``-th call of a function find the disk full."""
    module, _, name = target.rpartition(".")
    owner = {"pathlib.Path": Path, "os": os}.get(module) or sys.modules[module]
    works = getattr(owner, name)
    calls = []

    def full(*positional, **named):
        calls.append(1)
        if len(calls) == at:
            raise OSError(errno.ENOSPC, "No space left on device")
        return works(*positional, **named)

    patch.setattr(owner, name, full)
