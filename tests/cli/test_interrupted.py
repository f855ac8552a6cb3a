"""A search that is stopped in the middle, by Ctrl-C or by a kill, and gone on with."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import skimage.data
from PIL import Image

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
    for side in ("candidates", "validation"):
        (root / side).mkdir()
    coffee = Image.fromarray(skimage.data.coffee())
    for index in range(CANDIDATES):
        crop = coffee.crop((40 * index, 100, 40 * index + 48, 148))
        crop.save(root / f"candidates/{index:02}.png")
    for index in range(2):
        retina = Path(skimage.data.__file__).parent / "retina.jpg"
        shutil.copy(retina, root / f"validation/{index}.jpg")
    words = ["search-repdata", str(network)]
    for side in ("candidates", "validation"):
        words += [f"--{side}", str(root / side)]
    return words


@pytest.fixture
def stopped(slow, tmp_path):
    """Start a search as a terminal does, and send a signal after two trials."""

    def stop(workers, number, *, whole_group):
        out = tmp_path / "a run"
        process = subprocess.Popen(  # noqa: S603 (this interpreter, our own words)
            [sys.executable, "-c", QSR, *slow, "--workers", str(workers), "--out", str(out)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        journal = out / "study.jsonl"
        try:
            give_up = time.monotonic() + 120
            while len(trials(journal)) < 2:
                assert process.poll() is None
                assert time.monotonic() < give_up
                time.sleep(0.005)
            (os.killpg if whole_group else os.kill)(process.pid, number)
            # Every worker holds the other end of these pipes: this returns when the last is gone.
            said = process.communicate(timeout=30)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)  # its own group: a failure leaves nobody behind
            raise
        return process.returncode, *said, journal

    return stop


@pytest.fixture
def gone_on_with(qsr, slow):
    """Run the search again and see that it ends up as one that nobody stopped."""

    def again(journal, before):
        words = [*slow, "--workers", "1", "--out", journal.parent, "--json"]
        report = json.loads(qsr(*words).out)
        assert report["resumed_trials"] == len(before)
        after = trials(journal)
        assert after[: len(before)] == before
        assert len(after) == len(set(after)) == CANDIDATES + 1
        best = max(after, key=lambda trial: trial[1])
        assert report["chosen"]["psnr_db"] == best[1]
        assert not (journal.parent / ".decoded").exists()

    return again


@pytest.mark.parametrize(("workers", "whole_group"), [(2, True), (1, False)])
def test_interrupted(stopped, gone_on_with, slow, workers, whole_group):
    """Ctrl-C ends it soon, leaves no process, and prints the command that goes on."""
    code, out, err, journal = stopped(workers, signal.SIGINT, whole_group=whole_group)
    assert (code, out) == (130, "")
    before = trials(journal)
    assert len(before) < CANDIDATES
    *progress, last = err.splitlines()
    assert shlex.split(last.removeprefix("qsr: stopped. To go on: ")) == [
        *("qsr", *slow, "--workers", str(workers), "--out", str(journal.parent)),
    ]
    assert all(line.count(": ") == 1 for line in progress)
    gone_on_with(journal, before)


def test_killed(stopped, gone_on_with):
    """A kill leaves no worker either, and nothing that was finished is tried again."""
    code, *_, journal = stopped(2, signal.SIGKILL, whole_group=False)
    assert code == -signal.SIGKILL
    before = trials(journal)
    assert len(before) < CANDIDATES
    gone_on_with(journal, before)


def trials(journal):
    """Return the whole lines of a journal as (images, score), in the order of the file."""
    if not journal.exists():
        return []
    lines = journal.read_bytes().split(b"\n")[1:-1]
    return [(tuple(entry["images"]), entry["score"]) for entry in map(json.loads, lines)]
