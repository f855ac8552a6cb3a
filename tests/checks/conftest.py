"""Models with and without each sin, and pictures to measure on."""

import numpy as np
import pytest
import skimage.data

from qsr import calibration as cal
from qsr.checks.lint import lint
from qsr.checks.subject import Picture, Subject
from qsr.images import downscale_bicubic


@pytest.fixture(scope="session")
def pictures():
    """Crops of three photographs as pairs, 120x120 and 40x40 pixels."""
    crops = {
        "astronaut": skimage.data.astronaut()[20:140, 160:280],
        "chelsea": skimage.data.chelsea()[90:210, 110:230],
        "coffee": skimage.data.coffee()[100:220, 200:320],
    }
    return tuple(Picture(name, downscale_bicubic(hr, 3), hr) for name, hr in crops.items())


@pytest.fixture(scope="session")
def dull():
    """A grey ramp, nowhere darker than 60 and nowhere brighter than 190, as the only picture."""
    ramp = np.linspace(60, 190, 120).astype(np.uint8)
    hr = np.repeat(np.tile(ramp, (120, 1))[..., None], 3, axis=2)
    return (Picture("ramp", downscale_bicubic(hr, 3), hr),)


@pytest.fixture(scope="session")
def ranges(trained_xcat, pictures):
    """The true ranges of ``trained_xcat`` on the pictures."""
    return cal.collect(trained_xcat, {one.name: one.lr for one in pictures}).merged()


@pytest.fixture(scope="session")
def integer(trained_xcat, ranges):
    """The integer model of ``trained_xcat`` as qsr makes it."""
    return cal.quantize(trained_xcat, ranges)


@pytest.fixture(scope="session")
def found():
    """Check a model: ``found(model, pictures=(), ...) -> {code: [findings]}``."""

    def check(model, pictures=(), **options):
        by_code = {}
        for finding in lint(Subject(model, "model", tuple(pictures), **options)):
            by_code.setdefault(finding.code, []).append(finding)
        return by_code

    return check


@pytest.fixture(scope="session")
def network():
    """Make a float ``.tflite`` that enlarges x3: ``network(body, clipped=True, change=None)``.

    ``body`` takes the picture and gives features; a 3x3 convolution of little noise makes them the
    residual of nearest-neighbour upsampling. ``change`` may set weights before it is converted.
    """
    import tensorflow as tf
    import tf_keras

    from qsr.models.layers import ClippedReLU, DepthToSpace, NearestNeighborConv
    from qsr.tflite.convert import convert_keras

    def make(body, *, clipped=True, change=None):
        tf_keras.utils.set_random_seed(3)
        picture = tf_keras.Input((None, None, 3))
        residual = tf_keras.layers.Conv2D(27, 3, padding="same", name="residual")(body(picture))
        anchor = NearestNeighborConv(3, name="nearest")(picture)
        upscaled = DepthToSpace(3)(tf_keras.layers.Add(name="sum")([residual, anchor]))
        result = ClippedReLU()(upscaled) if clipped else upscaled
        model = tf_keras.Model(picture, result)
        last = model.get_layer("residual")
        last.set_weights([0.05 * weights for weights in last.get_weights()])
        if change is not None:
            change(model)
        tf.keras.backend.clear_session()
        return convert_keras(model)

    return make
