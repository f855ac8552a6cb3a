"""Pictures whose output spans black to white, by what the interpreter alone gives for them."""

import numpy as np
import pytest

from qsr.errors import ImageError
from qsr.quantization.clip_free import full_range_intensity
from qsr.tflite.fold_unclip import without_output_clip


@pytest.mark.parametrize("network", ["trained_xcat", "abpn_of_any_size", "espcn", "fsrcnn"])
def test_black_to_white(network, request, photographs, run_bare):
    """With its intensity, each photograph's output without a clip ends at black and at white."""
    model = without_output_clip(request.getfixturevalue(network))
    white = 255 if network.startswith("abpn") else 1
    for name, lr in photographs.items():
        intensity = full_range_intensity(model, lr, name=name)
        assert intensity.gain > 0
        augmented = intensity.of(lr)
        assert augmented.dtype == np.float32
        output = run_bare(model, augmented[None] / np.float32(255 / white), fast=True)
        ends = np.array([output.min(), output.max()]) * 255 / white
        np.testing.assert_allclose(ends, (0, 255), atol=0.011)


def test_contrast_does_not_matter(trained_xcat, photographs):
    """A picture and the same at half the contrast end up the same."""
    model = without_output_clip(trained_xcat)
    lr = photographs["chelsea"] // 2 * 2
    faint = (lr // 2 + 40).astype(np.uint8)
    first, second = (full_range_intensity(model, one).of(one) for one in (lr, faint))
    np.testing.assert_allclose(first, second, atol=0.5)


@pytest.mark.parametrize("value", [0, 90, 255])
@pytest.mark.parametrize("network", ["nearest", "trained_xcat"])
def test_one_colour(network, value, request):
    """A picture of one colour has no such intensity, whatever borders make of it, and is named."""
    model = without_output_clip(request.getfixturevalue(network))
    flat = np.full((20, 24, 3), value, np.uint8)
    with pytest.raises(ImageError, match=r"sky\.png: no scaling .* too little contrast"):
        full_range_intensity(model, flat, name="sky.png")


def test_most_contrast_needed(nearest):
    """Values that differ by one step can be brought to black and white, and that is the most."""
    lr = np.full((20, 24, 3), 90, np.uint8)
    lr[4:8] = 91
    intensity = full_range_intensity(nearest, lr)
    assert (intensity.gain, intensity.offset) == pytest.approx((255, -255 * 90))


@pytest.fixture(scope="module")
def nearest():
    """A float network x3 that repeats each pixel."""
    import tensorflow as tf
    import tf_keras

    from qsr.tflite.convert import convert_keras

    picture = tf_keras.Input((None, None, 3))
    model = tf_keras.Model(picture, tf.nn.depth_to_space(tf.concat([picture] * 9, axis=-1), 3))
    return convert_keras(model)
