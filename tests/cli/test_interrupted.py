"""A search that is stopped in the middle, by Ctrl-C or by a kill, and gone on with."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from statistics import mean

import pytest
import skimage.data
from PIL import Image, ImageOps

QSR = """
import signal, sys
from qsr.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests may ignore it
main(sys.argv[1:])
"""
CANDIDATES = 10


@pytest.fixture(scope="module")
def slow(tmp_path_factory, network):
    """The words of a search whose trials take long enough to be stopped in between."""
    root = tmp_path_factory.mktemp("slow")
    for side in ("candidates", "validation", "confirmation"):
        (root / side).mkdir()
    coffee = Image.fromarray(skimage.data.coffee())
    for index in range(CANDIDATES):
        crop = coffee.crop((40 * index, 100, 40 * index + 48, 148))
        crop.save(root / f"candidates/{index:02}.png")
    for index in range(2):
        crop = coffee.crop((60 * index, 200, 60 * index + 60, 260))
        crop.save(root / f"confirmation/{index}.png")
    retina = Image.open(Path(skimage.data.__file__).parent / "retina.jpg")
    retina.save(root / "validation/retina.png")
    ImageOps.mirror(retina).save(root / "validation/mirrored.png")
    words = ["search-repdata", str(network), "--no-refine"]
    for side in ("candidates", "validation", "confirmation"):
        words += [f"--{side}", str(root / side)]
    return words


@pytest.fixture
def stopped(slow, tmp_path):
    """Start a search as a terminal does, and send a signal after two measurements of a kind."""

    def stop(words, kind, number, *, whole_group):
        out = tmp_path / "a run"
        process = subprocess.Popen(  # noqa: S603 (this interpreter, our own words)
            [sys.executable, "-c", QSR, *slow, *words, "--out", str(out)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        journal = out / "study.jsonl"
        try:
            give_up = time.monotonic() + 120
            while len(measured(journal, kind)) < 2:
                assert process.poll() is None
                assert time.monotonic() < give_up
                time.sleep(0.005)
            (os.killpg if whole_group else os.kill)(process.pid, number)
            # Every worker holds the other end of these pipes: this returns when the last is gone.
            said = process.communicate(timeout=30)
        except BaseException:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # its own group: nobody is left behind
            raise
        return process.returncode, *said, journal

    return stop


@pytest.fixture
def gone_on_with(qsr, slow):
    """Run the search again and see that it ends up as one that nobody stopped."""

    def again(journal, *words):
        before = journal.read_bytes()
        before = before[: before.rfind(b"\n") + 1]
        known = len(measured(journal, "selection"))
        words = [*slow, *words, "--workers", "1", "--out", journal.parent, "--json"]
        report = json.loads(qsr(*words).out)
        assert report["resumed_models"] == known
        assert journal.read_bytes().startswith(before)
        after = measured(journal, "selection")
        assert len(after) == len(dict(after)) == report["measured_models"]
        assert report["distinct_models"] == CANDIDATES + 1
        best = max(mean(scores) for _, scores in after)
        assert report["chosen"]["objective_db"] == pytest.approx(best, abs=1e-9)
        assert not list(journal.parent.glob(".decoded*"))
        return report

    return again


@pytest.mark.parametrize(
    ("workers", "whole_group", "kind"),
    [(2, True, "selection"), (1, False, "selection"), (2, True, "screen"), (1, True, "screen")],
)
def test_interrupted(*, stopped, gone_on_with, slow, workers, whole_group, kind):
    """Ctrl-C ends it soon, leaves no process, and prints the command that goes on."""
    words = [*(["--exact"] if kind == "selection" else []), "--workers", str(workers)]
    code, out, err, journal = stopped(words, kind, signal.SIGINT, whole_group=whole_group)
    assert (code, out) == (130, "")
    assert len(measured(journal, kind)) < CANDIDATES
    *progress, last = err.splitlines()
    assert shlex.split(last.removeprefix("qsr: stopped. To go on: ")) == [
        *("qsr", *slow, *words, "--out", str(journal.parent)),
    ]
    assert all(line.count(": ") == 1 for line in progress)
    report = gone_on_with(journal, *words[:-2])
    assert (report["racing"] is None) == (kind == "selection")


@pytest.mark.parametrize("workers", [1, 2])
def test_terminated(stopped, gone_on_with, slow, workers):
    """So does a plain kill, without a word from Python's own processes."""
    words = ["--exact", "--workers", str(workers)]
    code, out, err, journal = stopped(words, "selection", signal.SIGTERM, whole_group=False)
    assert (code, out) == (143, "")
    *progress, last = err.splitlines()
    assert shlex.split(last.removeprefix("qsr: terminated. To go on: ")) == [
        *("qsr", *slow, *words, "--out", str(journal.parent)),
    ]
    assert all(line.count(": ") == 1 for line in progress)
    gone_on_with(journal, "--exact")


def test_killed(stopped, gone_on_with):
    """A kill leaves no worker either, and nothing that was finished is measured again."""
    words = ["--exact", "--workers", "2"]
    code, *_, journal = stopped(words, "selection", signal.SIGKILL, whole_group=False)
    assert code == -signal.SIGKILL
    assert len(measured(journal, "selection")) < CANDIDATES
    gone_on_with(journal, "--exact")


def measured(journal, kind):
    """Return a journal's whole lines about some kind of items as (model, scores), in order."""
    if not journal.exists():
        return []
    entries = [json.loads(line) for line in journal.read_bytes().split(b"\n")[1:-1]]
    return [
        (entry["model"], entry["scores"])
        for entry in entries
        if entry.get("items", "").startswith(kind)
    ]
