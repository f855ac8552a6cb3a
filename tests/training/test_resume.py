"""A training that was stopped and goes on ends up as one that was not."""

import json
import os
import pickle
import signal
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from qsr.models.zoo import load, save
from qsr.training.train import train


def assert_same(result, out, whole):
    """Compare with the undisturbed run: weights within float noise, and the log."""
    ours, theirs = (load(run.model).get_weights() for run in (result, whole.result))
    for weight, expected in zip(ours, theirs, strict=True):
        assert np.abs(weight - expected).max() < 1e-5
    assert result.validation_psnr_db == pytest.approx(whole.result.validation_psnr_db, abs=1e-3)
    lines, expected = (
        [json.loads(line) for line in text.splitlines()]
        for text in ((out / "log.jsonl").read_text(), whole.log)
    )
    for line in (*lines, *expected):
        assert line.pop("seconds") > 0
    assert lines == [pytest.approx(line, abs=1e-3) for line in expected]


class Stop(Exception):  # noqa: N818
    """Raised by a callback, as Ctrl-C would be."""


def stop_at(step):
    """Make a callback that stops training there."""

    def stop(progress):
        if progress.step == step:
            raise Stop

    return stop


def test_stopped(tiny, images, tmp_path, whole):
    """After an exception between two checkpoints, training goes on from the first of them."""
    out = tmp_path / "run"
    with pytest.raises(Stop):
        train(tiny, *images, out, checkpoint_steps=100, on_progress=stop_at(150))
    assert not (out / "model.keras").exists()
    reports = []
    result = train(tiny, *images, out, checkpoint_steps=100, on_progress=reports.append)
    assert result.resumed_from == 100
    assert [report.step for report in reports] == [150, 200]
    assert_same(result, out, whole)


KILLED = """
import os, pickle, signal, sys
from pathlib import Path
from qsr.training.train import train

def kill(progress):
    if progress.step == 150:
        os.kill(os.getpid(), signal.SIGKILL)

recipe, training, validation = pickle.loads(Path(sys.argv[1]).read_bytes())
train(recipe, training, validation, Path(sys.argv[2]), checkpoint_steps=100, on_progress=kill)
"""


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_killed(tiny, images, tmp_path, whole):
    """After the process was killed between two checkpoints, another goes on from the first."""
    out = tmp_path / "run"
    (tmp_path / "arguments").write_bytes(pickle.dumps((tiny, *images)))
    command = [sys.executable, "-c", KILLED, tmp_path / "arguments", out]
    killed = subprocess.run(command, capture_output=True, check=False, timeout=240)  # noqa: S603
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    result = train(tiny, *images, out, checkpoint_steps=100)
    assert result.resumed_from == 100
    assert_same(result, out, whole)


def test_killed_between_log_and_checkpoint(tiny, images, tmp_path, whole, monkeypatch):
    """A line of the log whose checkpoint was never saved, or half a line, is not kept."""
    out = tmp_path / "run"
    save = tf.train.CheckpointManager.save

    def save_first(manager, step):
        if step == 200:
            raise Stop
        return save(manager, step)

    with monkeypatch.context() as patch:
        patch.setattr(tf.train.CheckpointManager, "save", save_first)
        with pytest.raises(Stop):
            train(tiny, *images, out, checkpoint_steps=100)
    assert len((out / "log.jsonl").read_text().splitlines()) == 2
    with (out / "log.jsonl").open("a") as log:
        log.write('{"step": 20')
    result = train(tiny, *images, out, checkpoint_steps=100)
    assert result.resumed_from == 100
    assert_same(result, out, whole)


def test_stopped_before_model(tiny, images, tmp_path, whole, monkeypatch):
    """After the last checkpoint, a run that could not write its network does so the next time."""
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr("qsr.training.train.save", stop_at_model)
        with pytest.raises(Stop):
            train(tiny, *images, out, checkpoint_steps=100)
    result = train(tiny, *images, out, checkpoint_steps=100)
    assert result.resumed_from == 200
    assert_same(result, out, whole)


def stop_at_model(network, path):
    """Stand in for the writing of networks, of which the last one fails."""
    if path.name == "model.keras":
        raise Stop
    save(network, path)
