"""Training on several devices: two logical CPUs stand in for GPUs."""

import json
import pickle
import subprocess
import sys
from dataclasses import replace

import pytest
import tensorflow as tf

from qsr.errors import UsageError
from qsr.training.steps import distribution

TWO_DEVICES = """
import json, pickle, sys
from pathlib import Path
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from qsr.models.zoo import load
from qsr.training.train import train
recipe, training, validation = pickle.loads(Path(sys.argv[1]).read_bytes())
out = Path(sys.argv[2])
differences = []
one = train(recipe, training, validation, out / "one", devices=["CPU:0"])
two = train(recipe, training, validation, out / "two", devices=["CPU:0", "CPU:1"])
weights = zip(load(one.model).get_weights(), load(two.model).get_weights(), strict=True)
print(json.dumps([float(abs(a - b).max()) for a, b in weights]))
"""


def test_two_devices(tiny, images, tmp_path):
    """A batch that two devices share gives the same network as on one, within float noise."""
    recipe = replace(tiny, training=replace(tiny.training, epochs=2, steps_per_epoch=10))
    (tmp_path / "arguments").write_bytes(pickle.dumps((recipe, *images)))
    command = [sys.executable, "-c", TWO_DEVICES, tmp_path / "arguments", tmp_path]
    run = subprocess.run(  # noqa: S603 (our own script)
        command, capture_output=True, text=True, check=False, timeout=240
    )
    assert run.returncode == 0, run.stderr
    differences = json.loads(run.stdout.splitlines()[-1])
    assert max(differences) < 1e-5


def test_uneven():
    """A batch that the devices cannot share equally is an error that names both numbers."""
    with pytest.raises(UsageError, match=r"batch_size \(16\) .* number of devices \(3\)"):
        distribution(["GPU:0", "GPU:1", "GPU:2"], 16)


@pytest.mark.parametrize(("found", "taken"), [(0, 1), (1, 1), (3, 2), (12, 8)])
def test_default(monkeypatch, found, taken):
    """As many GPUs are taken as can share a batch of 16 equally, by their full names."""
    names = [f"/device:GPU:{number}" for number in range(found)]
    devices = [tf.config.LogicalDevice(name, "GPU") for name in names]
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda _: devices)
    asked = []
    monkeypatch.setattr(tf.distribute, "MirroredStrategy", asked.append)
    strategy = distribution(None, 16)
    if taken > 1:
        assert asked == [names[:taken]]
    else:
        assert strategy.num_replicas_in_sync == 1
