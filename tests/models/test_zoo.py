"""The table of networks, and model files."""

import zipfile

import numpy as np
import pytest
import skimage.data

from qsr.errors import ModelError, UsageError
from qsr.images import downscale_bicubic, upscale_bicubic
from qsr.metrics import psnr_db
from qsr.models.xcat import XcatConfig
from qsr.models.zoo import ZOO, build, load, pretrained_path, save
from qsr.tflite.runtime import to_bytes


@pytest.fixture(scope="module")
def model():
    """A small network."""
    return build("xcat", XcatConfig(blocks=1, x_channels=3, y_channels=1))


@pytest.mark.parametrize("name", ZOO)
def test_default(name, picture):
    """Each network is built without a config, and enlarges an RGB picture."""
    model = build(name)
    height, width = np.asarray(model(picture)).shape[1:3]
    assert (height / picture.shape[1]) == (width / picture.shape[2]) > 1


def test_config(model):
    """A config decides what is built."""
    assert model.get_layer("block1_x").filters == 3


@pytest.mark.parametrize("function", [build, pretrained_path])
def test_unknown(function):
    """An unknown name is an error that lists the valid ones."""
    with pytest.raises(UsageError, match=r"no network named .xcatt.; give one of: .*xcat"):
        function("xcatt")


def test_saved(model, picture, tmp_path):
    """A saved model is one file, and loaded it gives the same output to the last bit."""
    save(model, tmp_path / "a.keras")
    assert [path.name for path in tmp_path.iterdir()] == ["a.keras"]
    assert np.array_equal(load(tmp_path / "a.keras")(picture), model(picture))


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_keras_3(tmp_path, picture):
    """A file that Keras 3 wrote, with layers of its own, is loaded as well."""
    import keras

    model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(3, 3)])
    model.save(tmp_path / "a.keras")
    assert np.allclose(load(tmp_path / "a.keras")(picture), model(picture), atol=1e-6)


def test_failed_save(model, tmp_path, monkeypatch):
    """A disk that is full in the middle is an error, and the earlier file stays whole and alone."""
    path = tmp_path / "a.keras"
    path.write_bytes(b"earlier")

    def fail(unfinished):
        unfinished.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(model, "save", fail)
    with pytest.raises(ModelError, match=r"a\.keras: cannot be written: .*No space left"):
        save(model, path)
    assert path.read_bytes() == b"earlier"
    assert list(tmp_path.iterdir()) == [path]


def test_missing_folder(model, tmp_path):
    """A folder that is not there is an error that names the file."""
    with pytest.raises(ModelError, match=r"a\.keras: cannot be written"):
        save(model, tmp_path / "gone" / "a.keras")


@pytest.mark.parametrize("name", ["a.keras", "a.h5"])
def test_missing_file(tmp_path, name):
    """A missing file is an error that says so."""
    with pytest.raises(ModelError, match=rf"{name}: no such file$"):
        load(tmp_path / name)


@pytest.mark.parametrize("name", ["a.keras", "a.h5"])
def test_no_keras_file(tmp_path, name):
    """A file of other content is an error in one line that names it."""
    (tmp_path / name).write_bytes(b"not a model" * 100)
    with pytest.raises(ModelError, match=rf"{name}: damaged, or no Keras model") as caught:
        load(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_damaged_file(model, tmp_path):
    """A file that Keras wrote and that lost its config is an error with what both Keras say."""
    save(model, tmp_path / "a.keras")
    with (
        zipfile.ZipFile(tmp_path / "a.keras") as whole,
        zipfile.ZipFile(tmp_path / "b.keras", "w") as part,
    ):
        part.writestr("model.weights.h5", whole.read("model.weights.h5"))
    with pytest.raises(ModelError, match=r"b\.keras: cannot be loaded.*Keras 2.*Keras 3") as caught:
        load(tmp_path / "b.keras")
    assert "\n" not in str(caught.value)


def test_pretrained():
    """The weights that ship are the paper's network, and better than bicubic on photographs."""
    model = load(pretrained_path("xcat"))
    assert model.count_params() == 16519 + 81
    (kernel,) = model.get_layer("nearest_neighbor").get_weights()
    assert np.array_equal(kernel[0, 0], np.tile(np.eye(3), 9))
    for photograph in (skimage.data.chelsea(), skimage.data.astronaut()):
        hr = photograph[90:210, 150:300]
        lr = downscale_bicubic(hr, 3)
        sr = to_bytes(255 * np.asarray(model(lr[None].astype(np.float32) / 255))[0])
        assert psnr_db(sr, hr, shave=1) > psnr_db(upscale_bicubic(lr, 3), hr, shave=1) + 0.3
