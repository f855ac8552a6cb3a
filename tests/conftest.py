"""Photographs and networks that many tests share; networks are built and converted once."""

import json
import os
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from ai_edge_litert.interpreter import Interpreter, OpResolverType

FIXED_SIZE = (40, 48)


@pytest.fixture(scope="session")
def photographs():
    """Crops of four photographs, of four sizes and with no white: ``(h, w, 3)`` ``uint8``."""
    return {
        "astronaut": skimage.data.astronaut()[20:60, 170:218],
        "chelsea": skimage.data.chelsea()[90:123, 110:167],
        "coffee": skimage.data.coffee()[100:148, 200:240],
        "rocket": skimage.data.rocket()[150:181, 300:331],
    }


@pytest.fixture(scope="session")
def xcat_keras():
    """An XCAT with fresh weights of a fixed seed: small noise on nearest neighbour."""
    import tf_keras

    from qsr.models.zoo import build

    tf_keras.utils.set_random_seed(7)
    return build("xcat")


@pytest.fixture(scope="session")
def xcat(xcat_keras):
    """Its float ``.tflite`` file."""
    return _converted(xcat_keras)


@pytest.fixture(scope="session")
def trained_xcat_keras():
    """An XCAT whose every trainable value, biases too, was moved from where it starts."""
    from qsr.models.zoo import build

    model = build("xcat")
    _fill(model, seed=11, gain=0.5)
    return model


@pytest.fixture(scope="session")
def trained_xcat(trained_xcat_keras):
    """Its float ``.tflite`` file."""
    return _converted(trained_xcat_keras)


@pytest.fixture(scope="session")
def espcn_keras():
    """An ESPCN of another project: x2, 5x5 tanh, 3x3, depth-to-space, no clip, 0..1."""
    import tensorflow as tf
    import tf_keras

    picture = tf_keras.Input((None, None, 3))
    features = tf_keras.layers.Conv2D(16, 5, padding="same", activation="tanh")(picture)
    features = tf_keras.layers.Conv2D(12, 3, padding="same", name="last_conv")(features)
    model = tf_keras.Model(picture, tf.nn.depth_to_space(features, 2))
    _fill(model, seed=12, gain=0.1)
    kernel, bias, last_kernel, last_bias = model.get_weights()
    kernel[2, 2, :, :3] += 0.4 * np.eye(3)  # where tanh is nearly straight
    last_kernel[1, 1, :3] += np.tile(np.eye(3), 4) / 0.4
    model.set_weights([kernel, bias, last_kernel, last_bias])
    return model


@pytest.fixture(scope="session")
def espcn(espcn_keras):
    """Its float ``.tflite`` file."""
    return _converted(espcn_keras)


@pytest.fixture(scope="session")
def abpn_keras():
    """An ABPN of another project: x3, anchor of repeated pictures, clip at 255, of one size."""
    return _abpn(FIXED_SIZE)


@pytest.fixture(scope="session")
def abpn(abpn_keras):
    """Its float ``.tflite`` file; it takes 48x40 pixels alone, and white is 255."""
    return _converted(abpn_keras)


@pytest.fixture(scope="session")
def abpn_of_any_size():
    """The float ``.tflite`` file of the same network with the same weights for any size."""
    return _converted(_abpn((None, None)))


@pytest.fixture(scope="session")
def fsrcnn_keras():
    """An FSRCNN of another project: x2, 5x5 PReLU, 4x4 transposed convolution, no clip, 0..1."""
    import tf_keras

    picture = tf_keras.Input((None, None, 3))
    features = tf_keras.layers.Conv2D(12, 5, padding="same")(picture)
    features = tf_keras.layers.PReLU(shared_axes=[1, 2])(features)
    upscaled = tf_keras.layers.Conv2DTranspose(3, 4, strides=2, padding="same")(features)
    model = tf_keras.Model(picture, upscaled)
    _fill(model, seed=14, gain=0.1)
    kernel, bias, slope, last_kernel, last_bias = model.get_weights()
    kernel[2, 2, :, :3] += np.eye(3)
    tent = np.array([0.25, 0.75, 0.75, 0.25])  # bilinear interpolation by two
    last_kernel[..., :3] += np.multiply.outer(np.outer(tent, tent), np.eye(3))
    model.set_weights([kernel, bias, slope, last_kernel, last_bias])
    return model


@pytest.fixture(scope="session")
def fsrcnn(fsrcnn_keras):
    """Its float ``.tflite`` file."""
    return _converted(fsrcnn_keras)


@pytest.fixture(scope="session")
def small_green():
    """A float network x3 that repeats pixels through three features; green is a quarter there.

    Features of black are not 0, so that no grid but that of the picture holds them exactly.
    """
    import tensorflow as tf
    import tf_keras

    picture = tf_keras.Input((None, None, 3))
    features = tf_keras.layers.Conv2D(3, 1, activation="relu")(picture)
    result = tf_keras.layers.Conv2D(27, 1)(features)
    model = tf_keras.Model(picture, tf.nn.depth_to_space(result, 3))
    smaller, black = np.diag([1, 1 / 4, 1]), np.full(3, 0.1)
    larger = np.tile(np.linalg.inv(smaller), 9)
    model.set_weights([smaller[None, None], black, larger[None, None], -black @ larger])
    return _converted(model)


@pytest.fixture(scope="session")
def uneven_fsrcnn():
    """A float FSRCNN x3 that repeats pixels, plus noise; its channels differ in size up to 100x."""
    import tf_keras

    from qsr.models.fsrcnn import FsrcnnConfig, build_fsrcnn

    model = build_fsrcnn(FsrcnnConfig(channels=8, shrunk_channels=6, mapping_convs=2))
    random = np.random.default_rng(5)
    *body, deconv = (layer for layer in model.layers if "conv" in layer.name)
    for layer in body:
        kernel, bias = layer.get_weights()
        kernel = random.normal(0, 0.1 / np.sqrt(kernel[..., 0].size), kernel.shape)
        middle = kernel.shape[0] // 2
        kernel[middle, middle, :3] = np.eye(3, len(bias))
        layer.set_weights([kernel, random.normal(0, 0.03, bias.shape)])
    kernel, bias = deconv.get_weights()
    kernel = random.normal(0, 0.005, kernel.shape)
    kernel[3:6, 3:6, :, :3] += np.eye(3)
    deconv.set_weights([kernel, bias + 0.02])
    for layer in model.layers:
        if isinstance(layer, tf_keras.layers.PReLU):
            layer.set_weights([random.uniform(-0.2, 1.1, layer.get_weights()[0].shape)])
    for first, second in pairwise([*body, deconv]):
        (kernel, bias), (next_kernel, next_bias) = first.get_weights(), second.get_weights()
        factors = 10 ** random.uniform(-1, 1, len(bias))
        first.set_weights([kernel * factors, bias * factors])
        axis = (1, 1, 1, -1) if second is deconv else (1, 1, -1, 1)
        second.set_weights([next_kernel / factors.reshape(axis), next_bias])
    return _converted(model)


@pytest.fixture(scope="session")
def run_bare():
    """Run a model as it is: ``(model, input) -> output``.

    On TFLite's own kernels, or with ``fast`` on XNNPACK's, as the interpreter does by default; they
    differ in the last bits of a float and, seldom, by one in an integer.
    """

    def run(model, values, *, fast=False):
        interpreter = Interpreter(
            model_content=model,
            experimental_op_resolver_type=OpResolverType.AUTO
            if fast
            else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
        index = interpreter.get_input_details()[0]["index"]
        interpreter.resize_tensor_input(index, values.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(index, values)
        interpreter.invoke()
        return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])

    return run


@pytest.fixture
def stand_in_phone(tmp_path, monkeypatch):
    """Put a stand-in for adb on the PATH: ``stand_in_phone(**setup) -> StandIn``.

    One phone, ``A1``, is attached unless ``phones`` names others and their states; ``times_us`` are
    those of the runs of each model, by round.
    """
    folder = tmp_path / "stand-in"
    programs = folder / "bin"
    programs.mkdir(parents=True)
    for name in ("adb", "benchmark_model"):
        script = Path(__file__).parent / f"stand_in_phone/{name}.py"
        path = (programs if name == "adb" else folder) / name
        path.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S -E "{script}" "$@"\n')
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("STAND_IN_PHONE", str(folder))
    monkeypatch.delenv("ANDROID_SERIAL", raising=False)

    def set_up(**setup):
        setup = {"phones": {"A1": "device"}, **setup}
        (folder / "setup.json").write_text(json.dumps(setup))
        return StandIn(folder)

    return set_up


@dataclass(frozen=True)
class StandIn:
    """The stand-in for a phone: what it was asked for.

    Attributes:
        folder: where it keeps everything.
    """

    folder: Path

    @property
    def tool(self):
        """The stand-in for benchmark_model, on this host."""
        return self.folder / "benchmark_model"

    @property
    def calls(self):
        """The command lines of adb so far."""
        return self._lines("calls.jsonl")

    @property
    def runs(self):
        """The options of benchmark_model so far, and the size of the model, in bytes."""
        return self._lines("runs.jsonl")

    @property
    def files(self):
        """The files that lie on the phone."""
        return sorted(path.name for path in (self.folder / "storage").rglob("*"))

    def _lines(self, name):
        path = self.folder / name
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _abpn(size):
    import tensorflow as tf
    import tf_keras

    picture = tf_keras.Input((*size, 3), batch_size=1)
    features = tf_keras.layers.Conv2D(8, 3, padding="same", activation="relu")(picture)
    features = tf_keras.layers.Conv2D(27, 3, padding="same")(features)
    anchored = features + tf.concat([picture] * 9, axis=3)
    upscaled = tf.nn.depth_to_space(anchored, 3)
    model = tf_keras.Model(picture, tf.clip_by_value(upscaled, 0.0, 255.0))
    _fill(model, seed=13, gain=0.5)
    return model


def _converted(model):
    from qsr.tflite.convert import convert_keras

    return convert_keras(model)


def _fill(model, *, seed, gain):
    """Set every trainable value, biases and slopes too, to noise; a layer changes size by gain."""
    random = np.random.default_rng(seed)
    for weight in model.trainable_weights:
        fan_in = np.prod(weight.shape[:-1]) if len(weight.shape) > 1 else 400
        weight.assign(random.normal(0, gain / np.sqrt(fan_in), weight.shape))
