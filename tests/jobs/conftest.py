"""Folders of photograph crops and models on disk, as a user has them."""

import json
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image

from qsr.calibration.provenance import image_hash
from qsr.data.pairs import Pair
from qsr.jobs.refinement import Refining
from qsr.jobs.search_repdata import search_repdata


@pytest.fixture(scope="session")
def images(tmp_path_factory):
    """Folders of HR crops: five ``candidates``, three ``validation`` images, five ``scored``."""
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
    crops |= {
        "scored/astronaut": crops["validation/astronaut"],
        "scored/chelsea": crops["validation/chelsea"],
        "scored/coffee": crops["validation/coffee"],
        "scored/motorcycle": skimage.data.stereo_motorcycle()[0][200:260, 400:460],
        "scored/rocket": skimage.data.rocket()[220:280, 300:366],
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
    """A finished search without refinement: its report; its folder is ``report.run_folder``."""
    return search_repdata(
        str(network),
        candidates=images / "candidates",
        validation=images / "scored",
        out=tmp_path_factory.mktemp("run"),
        refining=Refining(),
        workers=1,
    )


@pytest.fixture(scope="session")
def lr_and_hr():
    """Read an HR file and make its LR picture: ``path -> (lr, hr)``."""

    def load(path, scale=3):
        return Pair(path.stem, path, None, scale).load()

    return load


@pytest.fixture(scope="session")
def trials():
    """Read what a run's journal holds in full: images and mean PSNR of each proposal."""

    def read(folder):
        lines = (Path(folder) / "study.jsonl").read_text().splitlines()[1:]
        entries = [json.loads(line) for line in lines]
        scores = {
            entry["model"]: float(np.mean(list(map(float, entry["scores"]))))
            for entry in entries
            if entry.get("items") == "selection"
        }
        lists, found = [], []
        for entry in entries:
            if "proposal" in entry:
                images = entry["proposal"]["images"]
                if isinstance(images, int):
                    images = lists[images]
                elif images not in lists:
                    lists.append(images)
                if entry["model"] in scores:
                    found.append((tuple(images), scores[entry["model"]]))
        return found

    return read


@pytest.fixture(scope="session")
def halves(lr_and_hr):
    """Name the images of a folder that choose, and those that confirm: the lower hashes."""

    def named(folder):
        hashes = {path.stem: image_hash(lr_and_hr(path)[0]) for path in sorted(folder.iterdir())}
        ranked = sorted(hashes, key=hashes.__getitem__)
        confirming = set(ranked[: len(ranked) // 2])
        return [name for name in hashes if name not in confirming], sorted(confirming)

    return named


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
