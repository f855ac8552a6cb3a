"""Float models made from Keras models and SavedModels, against Keras itself."""

import numpy as np
import pytest

from qsr.errors import ModelError
from qsr.tflite.convert import convert_keras, convert_saved_model
from qsr.tflite.runtime import inspect_model


@pytest.mark.parametrize("network", ["xcat", "trained_xcat", "espcn", "fsrcnn"])
def test_keras_2(network, request, photographs, run_bare):
    """A converted Keras 2 model gives what the Keras model does, up to rounding."""
    keras_model, model = (request.getfixturevalue(name) for name in (f"{network}_keras", network))
    for image in photographs.values():
        values = image[None] / np.float32(255)
        np.testing.assert_allclose(run_bare(model, values), keras_model(values), atol=1e-5)


def test_keras_3(photographs, run_bare):
    """A model of Keras 3 converts too."""
    import keras

    keras.utils.set_random_seed(3)
    picture = keras.Input((None, None, 3))
    upscaled = keras.layers.Conv2DTranspose(3, 2, strides=2)(picture)
    model = keras.Model(picture, upscaled)
    _, bias = model.get_weights()
    model.set_weights([np.broadcast_to(np.eye(3), (2, 2, 3, 3)), bias])
    converted = convert_keras(model)
    assert inspect_model(converted).scale == 2
    values = photographs["rocket"][None] / np.float32(255)
    np.testing.assert_allclose(run_bare(converted, values), model(values), atol=1e-5)


def test_saved_model(espcn_keras, photographs, run_bare, tmp_path):
    """A SavedModel converts to what its Keras model gives."""
    espcn_keras.save(tmp_path / "saved", save_format="tf")
    converted = convert_saved_model(tmp_path / "saved")
    values = photographs["rocket"][None] / np.float32(255)
    np.testing.assert_allclose(run_bare(converted, values), espcn_keras(values), atol=1e-5)


def test_no_saved_model(tmp_path):
    """A folder that is no SavedModel is refused in one line that names it."""
    with pytest.raises(ModelError) as error:
        convert_saved_model(tmp_path)
    assert str(error.value).startswith(f"{tmp_path}: TensorFlow cannot convert it to .tflite: ")
    assert "\n" not in str(error.value)


def test_no_model():
    """What is no Keras model is refused in one line."""
    with pytest.raises(ModelError) as error:
        convert_keras("a model", source="some.keras")
    assert str(error.value).startswith("some.keras: TensorFlow cannot convert it to .tflite: ")
    assert "\n" not in str(error.value)
