"""Folders of photograph crops and models on disk, as a user has them."""

import numpy as np
import pytest
import skimage.data
from PIL import Image

from qsr.data.pairs import Pair
from qsr.jobs.search_repdata import search_repdata


@pytest.fixture(scope="session")
def images(tmp_path_factory):
    """Two folders of HR crops: five ``candidates`` and three ``validation`` images."""
    root = tmp_path_factory.mktemp("images")
    crops = {
        "candidates/astronaut": skimage.data.astronaut()[0:60, 170:230],
        "candidates/chelsea": skimage.data.chelsea()[90:150, 110:176],
        "candidates/coffee": skimage.data.coffee()[100:160, 200:260],
        "candidates/motorcycle": skimage.data.stereo_motorcycle()[0][100:160, 300:360],
        "candidates/rocket": skimage.data.rocket()[150:204, 300:366],
        "validation/astronaut": skimage.data.astronaut()[100:160, 170:230],
        "validation/chelsea": skimage.data.chelsea()[160:220, 200:269],
        "validation/coffee": skimage.data.coffee()[200:254, 300:360],
    }
    for name, crop in crops.items():
        path = root / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(crop).save(path)
    return root


@pytest.fixture(scope="session")
def network(tmp_path_factory, trained_xcat):
    """The float ``.tflite`` file of an XCAT x3."""
    path = tmp_path_factory.mktemp("network") / "network.tflite"
    path.write_bytes(trained_xcat)
    return path


@pytest.fixture(scope="session")
def run(tmp_path_factory, network, images):
    """A finished search: its report; its folder is ``report.run_folder``."""
    return search_repdata(
        str(network),
        candidates=images / "candidates",
        validation=images / "validation",
        out=tmp_path_factory.mktemp("run"),
        workers=1,
    )


@pytest.fixture(scope="session")
def lr_and_hr():
    """Read an HR file and make its LR picture: ``path -> (lr, hr)``."""

    def load(path, scale=3):
        return Pair(path.stem, path, None, scale).load()

    return load


@pytest.fixture
def progress():
    """A progress function that keeps what it was told in ``progress.stages``."""

    def keep(stage, done, total, note=""):
        keep.stages.append((stage, done, total, note))

    keep.stages = []
    return keep


@pytest.fixture(scope="session")
def black():
    """A picture without any light: ``(60, 60, 3)`` ``uint8``."""
    return np.zeros((60, 60, 3), np.uint8)


@pytest.fixture(scope="session")
def nearest_neighbour(tmp_path_factory):
    """The ``.tflite`` file of a network x3 that repeats each pixel."""
    import tensorflow as tf
    import tf_keras

    from qsr.tflite.convert import convert_keras

    picture = tf_keras.Input((None, None, 3))
    model = tf_keras.Model(picture, tf.nn.depth_to_space(tf.concat([picture] * 9, axis=-1), 3))
    path = tmp_path_factory.mktemp("nearest") / "nearest.tflite"
    path.write_bytes(convert_keras(model))
    return path
