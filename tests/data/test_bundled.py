"""scikit-image's photographs as candidate and validation images."""

from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image

from qsr.data import bundled
from qsr.data.bundled import CROP_SIZE, PHOTOGRAPHS, write_bundled
from qsr.errors import ImageError

READ = {
    "astronaut": skimage.data.astronaut,
    "chelsea": skimage.data.chelsea,
    "coffee": skimage.data.coffee,
    "hubble_deep_field": skimage.data.hubble_deep_field,
    "motorcycle_left": lambda: skimage.data.stereo_motorcycle()[0],
    "rocket": skimage.data.rocket,
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """The two folders, written once."""
    return write_bundled(tmp_path_factory.mktemp("bundled") / "made/if/missing")


@pytest.fixture(scope="module")
def crops(folders):
    """Every crop by its file: ``(192, 192, 3)`` ``uint8``."""
    return {path: np.asarray(Image.open(path)) for side in folders for path in side.iterdir()}


def place(crop, photograph):
    """Return the (top, left) at which a crop lies in its photograph, found by its pixels."""
    height, width = photograph.shape[0] - CROP_SIZE, photograph.shape[1] - CROP_SIZE
    corner = (photograph[: height + 1, : width + 1] == crop[0, 0]).all(axis=-1)
    corner &= (photograph[-height - 1 :, -width - 1 :] == crop[-1, -1]).all(axis=-1)
    (found,) = [
        (top, left)
        for top, left in np.argwhere(corner)
        if np.array_equal(photograph[top : top + CROP_SIZE, left : left + CROP_SIZE], crop)
    ]
    return tuple(int(pixels) for pixels in found)


def test_counts(folders):
    """There are 17 candidates and 16 validation images, of six photographs on each side."""
    names = [sorted(path.stem for path in side.iterdir()) for side in folders]
    assert [side.name for side in folders] == ["candidates", "validation"]
    assert [len(side) for side in names] == [17, 16]
    for side in names:
        assert {name.rsplit("_", 1)[0] for name in side} == set(READ)
    assert not set(names[0]) & set(names[1])


def test_pixels(crops):
    """Each crop is a whole square of its photograph, and no two share a pixel."""
    taken = {}
    for path, crop in crops.items():
        assert crop.shape == (CROP_SIZE, CROP_SIZE, 3)
        assert crop.dtype == np.uint8
        name = path.stem.rsplit("_", 1)[0]
        taken.setdefault(name, []).append(place(crop, READ[name]()))
    for places in taken.values():
        for index, (top, left) in enumerate(places):
            for other_top, other_left in places[:index]:
                assert max(abs(top - other_top), abs(left - other_left)) >= CROP_SIZE


def test_chessboard(folders):
    """Neighbouring crops of a photograph are never on the same side."""
    for number, side in enumerate(folders):
        for path in side.iterdir():
            row, column = map(int, path.stem[-2:])
            assert (row + column) % 2 == number


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_scales(scale):
    """Nothing has to be cut off for any of the customary scales."""
    assert CROP_SIZE % scale == 0


def test_again(folders):
    """What is already there is kept, and what is missing is made again."""
    kept, missing = folders[0] / "coffee_00.png", folders[1] / "coffee_01.png"
    before = missing.read_bytes()
    kept.write_bytes(b"mine")
    missing.unlink()
    assert write_bundled(folders[0].parent) == folders
    assert kept.read_bytes() == b"mine"
    assert missing.read_bytes() == before
    kept.unlink()
    write_bundled(folders[0].parent)
    assert kept.stat().st_size > 1000


def test_photograph_missing(tmp_path, monkeypatch):
    """A photograph that scikit-image does not have is named."""
    monkeypatch.setattr(bundled, "PHOTOGRAPHS", (*PHOTOGRAPHS[:1], "not_there.png"))
    with pytest.raises(ImageError, match=r"not_there.png: no such file"):
        write_bundled(tmp_path)


@pytest.mark.parametrize("below", ["", "below"])
def test_no_folder(tmp_path, below):
    """A file in the place of the folder is named."""
    (tmp_path / "file").write_bytes(b"mine")
    with pytest.raises(ImageError, match=f"file/?{below}: cannot be made"):
        write_bundled(tmp_path / "file" / below)


def test_no_space(tmp_path, monkeypatch):
    """A crop that cannot be written is named, and leaves nothing half-written."""

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(ImageError, match=r"astronaut_00.png: cannot be written \(No space left"):
        write_bundled(tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
