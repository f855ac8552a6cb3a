"""What a user may call a model."""

import contextlib
import io
import warnings

import numpy as np
import pytest

from qsr.errors import ModelError
from qsr.jobs.models import load_any, load_float, short_name


@pytest.fixture(scope="module")
def saved(tmp_path_factory, xcat_keras):
    """One network in every form that Keras 2 writes; the form to its path."""
    import tensorflow as tf

    folder = tmp_path_factory.mktemp("saved")
    paths = {form: folder / f"network.{form}" for form in ("keras", "h5", "saved_model")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # HDF5 is an old format: that is why it is here
        xcat_keras.save(paths["h5"])
    xcat_keras.save(paths["keras"])
    tf.saved_model.save(xcat_keras, str(paths["saved_model"]))
    return paths


@pytest.fixture(scope="module", params=["keras", "h5"])
def keras3_path(request, tmp_path_factory):
    """A network x2 that Keras 3 wrote: a convolution that copies, and repeated pixels."""
    import keras

    picture = keras.Input((None, None, 3))
    kernel = np.zeros((3, 3, 3, 3), np.float32)
    kernel[1, 1] = np.eye(3)
    convolution = keras.layers.Conv2D(3, 3, padding="same", use_bias=False)
    enlarged = keras.layers.UpSampling2D(2)(convolution(picture))
    convolution.set_weights([kernel])
    path = tmp_path_factory.mktemp("keras3") / f"network.{request.param}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Keras 3 says while it writes is not at stake
        keras.Model(picture, enlarged).save(path)
    return path


class TestForms:
    """Forms that are taken."""

    @pytest.mark.parametrize("form", ["keras", "h5", "saved_model"])
    def test_keras2(self, saved, form, xcat, run_bare, photographs):
        """A network gives the same picture from whatever file it is loaded."""
        picture = photographs["coffee"][None].astype(np.float32) / 255
        loaded = run_bare(load_float(str(saved[form])), picture)
        assert np.abs(loaded - run_bare(xcat, picture)).max() < 1e-6

    def test_keras3(self, keras3_path, run_bare, photographs):
        """A network of Keras 3 is loaded, and nothing is printed: output belongs to the report."""
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            model = load_float(str(keras3_path))
        picture = photographs["coffee"][None].astype(np.float32) / 255
        enlarged = run_bare(model, picture)
        assert enlarged == pytest.approx(picture.repeat(2, axis=1).repeat(2, axis=2), abs=1e-6)
        assert not printed.getvalue()

    def test_name(self):
        """A network of the zoo is loaded by its name, with the weights that ship."""
        assert load_float("xcat")[4:8] == b"TFL3"

    @pytest.mark.parametrize(
        ("model", "name"), [("xcat", "xcat"), ("a/b/net.tflite", "net"), ("a/saved/", "saved")]
    )
    def test_short_name(self, model, name):
        """A run folder is called after the network or the file."""
        assert short_name(model) == name


class TestRefused:
    """Files that are no float model."""

    @pytest.mark.parametrize("name", ["net.keras", "net.h5", "net.tflite"])
    @pytest.mark.parametrize("content", [b"", b"text", "half"])
    def test_damaged(self, saved, xcat, tmp_path, name, content):
        """A file that is empty, cut short or something else is named."""
        path = tmp_path / name
        if content == "half":
            form = path.suffix[1:]
            whole = xcat if form == "tflite" else saved[form].read_bytes()
            content = whole[: len(whole) // 2]
        path.write_bytes(content)
        with pytest.raises(ModelError) as error:
            load_float(str(path))
        assert str(error.value).startswith(f"{path}: ")

    def test_no_keras_loaded(self, tmp_path, monkeypatch):
        """What no Keras wrote is refused at once, without a word of Keras's own."""
        path = tmp_path / "net.keras"
        path.write_bytes(b"PK\3\4 cut short")
        monkeypatch.setattr("qsr.models.zoo.import_tensorflow", None)
        with pytest.raises(ModelError, match="damaged, or no Keras model; save or copy it again"):
            load_any(str(path))

    def test_missing(self):
        """A name that is neither a file nor a network is answered with what can be given."""
        with pytest.raises(ModelError, match=r"xcatt: no such file.*one of: .*xcat"):
            load_any("xcatt")

    def test_folder(self, tmp_path):
        """A folder without a SavedModel is refused; it may have been meant for an option."""
        with pytest.raises(ModelError, match="no SavedModel; give folders of images with an"):
            load_any(str(tmp_path))

    def test_nan(self, xcat_keras, tmp_path):
        """NaN among the weights is found in a ``.keras`` file, and counted."""
        import tf_keras

        from qsr.models.zoo import load

        xcat_keras.save(tmp_path / "net.keras")
        model = load(tmp_path / "net.keras")
        weight = model.get_layer("last_conv").kernel
        values = weight.numpy()
        values[0, 0, 0, :2] = np.nan
        weight.assign(values)
        model.save(tmp_path / "net.keras")
        assert isinstance(model, tf_keras.Model)
        with pytest.raises(ModelError, match=rf"net.keras: 2 of {values.size} values of .*NaN"):
            load_float(str(tmp_path / "net.keras"))
