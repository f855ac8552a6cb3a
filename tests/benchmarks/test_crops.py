"""The images of a benchmark."""

from itertools import combinations

import numpy as np
import pytest
import skimage.data
from crops import CropSet, plan_crops, prepare_crops, prepared_crops, split_photos
from PIL import Image

from qsr.data.pairs import find_pairs
from qsr.errors import StudyError, UsageError
from qsr.images import downscale_bicubic

SIZES = {"a.jpg": (2040, 1356), "b.jpg": (2041, 1141), "c.jpg": (2045, 1590)}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder of ten photographs that are large enough, and one that is not."""
    folder = tmp_path_factory.mktemp("photos")
    sources = (skimage.data.astronaut(), skimage.data.chelsea(), skimage.data.coffee())
    for index in range(10):
        source = np.roll(sources[index % 3], 20 * index, axis=1)
        Image.fromarray(source).resize((2043, 1142)).save(folder / f"{index}.jpg")
    Image.fromarray(sources[0]).save(folder / "small.png")
    return folder


def prepare(photos, wanted, **changed):
    """Prepare with what most tests need."""
    options = {"seed": 1, "threads": 2, "on_progress": progress}
    prepare_crops(photos, wanted, **(options | changed))


def progress(done, total):
    """Check what is told of progress."""
    assert 1 <= done <= total


def test_plan_is_distinct():
    """No two crops show the same part in the same orientation, and each is nearly the whole."""
    crops = plan_crops(SIZES, 90, seed=0)
    assert len(set(crops)) == 90
    for crop in crops:
        width, height = SIZES[crop.photo]
        assert crop.left >= 0
        assert crop.top >= 0
        assert crop.left + crop.width <= width
        assert crop.top + crop.height <= height
        assert crop.width % 3 == crop.height % 3 == 0
        assert min(crop.width / width, crop.height / height) > 0.94


def test_plan_is_reproducible():
    """A seed always gives the same crops, fewer of them are the first of more, and seeds differ."""
    crops = plan_crops(SIZES, 60, seed=3)
    assert plan_crops(SIZES, 60, seed=3) == crops
    assert plan_crops(SIZES, 25, seed=3) == crops[:25]
    assert plan_crops(SIZES, 60, seed=4) != crops


def test_first_crops_are_whole():
    """One photograph follows the other, whole and upright first, then in its other orientations."""
    crops = plan_crops(SIZES, 24, seed=0)
    assert [crop.photo for crop in crops[:3]] == list(SIZES)
    assert {crop.orientation for crop in crops[:3]} == {0}
    assert [(crop.width, crop.height) for crop in crops[:3]] == [
        (2040, 1356),
        (2040, 1140),
        (2043, 1590),
    ]
    assert {crop.orientation for crop in crops if crop.photo == "b.jpg"} == set(range(8))


def test_orientations():
    """The eight orientations of a crop are the eight symmetries of the rectangle's picture."""
    photo = np.arange(2040 * 1356 * 3, dtype=np.uint32).view(np.uint8)[: 2040 * 1356 * 3]
    photo = photo.reshape(1356, 2040, 3)
    whole = [crop.cut(photo) for crop in plan_crops({"a.jpg": (2040, 1356)}, 8, seed=0)]
    turned = [np.rot90(photo, quarter) for quarter in range(4)]
    expected = {picture.tobytes() for picture in (*turned, *(one[:, ::-1] for one in turned))}
    assert {picture.tobytes() for picture in whole} == expected


def test_kinds_are_disjoint():
    """No photograph gives images of two kinds, and every photograph gives some."""
    sizes = {f"{index:03d}": (2040, 1356) for index in range(65)}
    parts = split_photos(sizes)
    assert [len(part) for part in parts] == [39, 20, 6]
    assert set().union(*parts) == sizes.keys()


def test_files(photos, tmp_path):
    """The files are pairs that qsr finds, LR is made from the stored HR, and none shows another."""
    wanted = CropSet(tmp_path, candidates=4, validation=2, confirmation=1)
    prepare(photos, wanted)
    assert prepared_crops(tmp_path) == wanted
    found = []
    for folder, count in (("candidates", 4), ("validation", 2), ("confirmation", 1)):
        pairs = find_pairs(tmp_path / folder, 3)
        assert len(pairs) == count
        for pair in pairs:
            lr, hr = pair.load()
            height, width = lr.shape[:2]
            shrunk = Image.fromarray(hr).resize((width, height), Image.Resampling.BICUBIC)
            assert np.mean(np.abs(np.asarray(shrunk, float) - lr)) < 0.5
            assert np.array_equal(downscale_bicubic(hr, 3), lr)  # not of HR before it was a JPEG
            found.append(lr)
    assert all(not np.array_equal(a, b) for a, b in combinations(found, 2))


def test_goes_on(photos, tmp_path):
    """A file that is missing is told, and made again as it was; the others are left alone."""
    wanted = CropSet(tmp_path, candidates=3, validation=1, confirmation=1)
    prepare(photos, wanted)
    lost, kept = wanted.candidate_folder.lr(1), wanted.candidate_folder.lr(2)
    content, state = lost.read_bytes(), kept.stat().st_mtime_ns
    lost.unlink()
    with pytest.raises(StudyError, match=r"0001\.png: missing"):
        prepared_crops(tmp_path)
    prepare(photos, wanted)
    assert lost.read_bytes() == content
    assert kept.stat().st_mtime_ns == state


def test_other_crops_are_refused(photos, tmp_path):
    """A folder of other crops is not mixed with these, and the difference is named."""
    prepare(photos, CropSet(tmp_path, candidates=1, validation=1, confirmation=1))
    with pytest.raises(StudyError, match="other seed"):
        prepare(photos, CropSet(tmp_path, candidates=1, validation=1, confirmation=1), seed=2)
    with pytest.raises(StudyError, match="other candidates"):
        prepare(photos, CropSet(tmp_path, candidates=2, validation=1, confirmation=1))


def test_manifest_of_another_benchmark(photos, tmp_path):
    """A folder whose list of crops is of something else is refused, not filled up."""
    (tmp_path / "crops.json").write_text('{"seed": 1}')
    with pytest.raises(StudyError, match=r"crops\.json: not written by this"):
        prepare(photos, CropSet(tmp_path, candidates=1, validation=1, confirmation=1))


def test_too_few_photographs(tmp_path):
    """A folder without large photographs is refused, and the size is told."""
    Image.fromarray(skimage.data.astronaut()).save(tmp_path / "a.png")
    with pytest.raises(UsageError, match="2040x1140"):
        prepare(tmp_path, CropSet(tmp_path / "work", candidates=1, validation=1, confirmation=1))


def test_nothing_prepared(tmp_path):
    """A folder without images is refused, and the command that makes them is told."""
    with pytest.raises(StudyError, match="run prepare first"):
        prepared_crops(tmp_path)
