"""The command line in this process, and folders and models on disk, as a user has them."""

from dataclasses import dataclass

import pytest
import skimage.data
from PIL import Image

from qsr.cli import main


@dataclass(frozen=True)
class Said:
    """What a command said before it left."""

    code: int
    out: str
    err: str

    @property
    def failure(self):
        """The one line that says what is wrong; the lines before it tell of progress alone."""
        assert self.code in {1, 2}
        assert not self.out
        *before, last = self.err.splitlines()
        assert not [line for line in before if line.startswith(("qsr: ", "Traceback", "  "))]
        assert last.startswith("qsr: ")
        return last


@pytest.fixture
def qsr(capsys):
    """Run a command in this process: ``qsr("evaluate", "xcat", ...) -> Said``."""

    def run(*words):
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main([str(word) for word in words])
        out, err = capsys.readouterr()
        return Said(left.value.code or 0, out, err)

    return run


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """Three folders of HR crops: four ``candidates``, four ``validation`` images, and ``empty``."""
    root = tmp_path_factory.mktemp("photos")
    crops = {
        "candidates/astronaut": skimage.data.astronaut()[0:60, 170:230],
        "candidates/chelsea": skimage.data.chelsea()[90:150, 110:176],
        "candidates/coffee": skimage.data.coffee()[100:160, 200:260],
        "candidates/rocket": skimage.data.rocket()[150:204, 300:366],
        "validation/astronaut": skimage.data.astronaut()[100:160, 170:230],
        "validation/chelsea": skimage.data.chelsea()[160:220, 200:269],
        "validation/coffee": skimage.data.coffee()[200:254, 300:360],
        "validation/rocket": skimage.data.rocket()[220:280, 300:366],
    }
    for name, crop in crops.items():
        path = root / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(crop).save(path)
    (root / "empty").mkdir()
    return root


@pytest.fixture(scope="session")
def network(tmp_path_factory, trained_xcat):
    """The float ``.tflite`` file of an XCAT x3."""
    path = tmp_path_factory.mktemp("network") / "network.tflite"
    path.write_bytes(trained_xcat)
    return path


@pytest.fixture
def on_photos(photos):
    """The options that every search needs, but for the run folder; nothing is refined."""
    return (
        *("--candidates", photos / "candidates", "--validation", photos / "validation"),
        *("--no-refine", "--workers", "1"),
    )


@pytest.fixture
def searched(qsr, network, on_photos, tmp_path):
    """The folder of a finished search."""
    assert qsr("search-repdata", network, *on_photos, "--out", tmp_path / "run").code == 0
    return tmp_path / "run"
