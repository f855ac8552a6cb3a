"""A kept range table: what it holds is not measured again, and an interrupted run keeps it."""

from functools import partial

import numpy as np
import pytest

from qsr import calibration as cal
from qsr.calibration.ranges import RangeTable, load_table
from qsr.errors import ImageError, StudyError

FORGED = np.float32(-123.0)


@pytest.fixture
def store(tmp_path):
    """Where the table is kept."""
    return tmp_path / "ranges.npz"


@pytest.fixture
def forged(espcn, photographs, store):
    """Keep a table whose every minimum is a number that no measurement gives."""
    table = cal.collect(espcn, photographs, store=store)
    RangeTable(**{**vars(table), "minimum": np.full_like(table.minimum, FORGED)}).save(store)
    return table


def test_kept_rows_are_not_measured_again(espcn, photographs, store, forged):
    """A run that finds all rows in the store measures nothing and gives those rows."""
    measured = []
    table = cal.collect(espcn, photographs, store=store, on_image=measured.append)
    assert measured == []
    assert table.images == forged.images
    assert (table.minimum == FORGED).all()


def test_new_images_are_added(espcn, photographs, store):
    """A run with more images measures the new ones alone, and gives the rows in its own order."""
    some = {name: photographs[name] for name in ("rocket", "coffee")}
    first = cal.collect(espcn, some, store=store)
    assert first.images == ("rocket", "coffee")
    measured = []
    table = cal.collect(espcn, photographs, store=store, on_image=measured.append)
    assert measured == [1, 2]
    assert_same_table(table, cal.collect(espcn, photographs))
    assert_same_table(load_table(store), table)


def test_rows_of_other_images_stay(espcn, photographs, store):
    """A run on some of the images gives their rows alone, and the store keeps the others'."""
    whole = cal.collect(espcn, photographs, store=store)
    part = cal.collect(espcn, {"coffee": photographs["coffee"]}, store=store)
    assert part.images == ("coffee",)
    kept = load_table(store)
    assert set(kept.images) == set(photographs)
    assert_same_table(kept.subset(whole.images), whole)


def test_changed_pixels_are_measured_again(espcn, photographs, store, forged):
    """A kept row does not stand for other pixels of the same name."""
    changed = photographs["coffee"] // 2
    table = cal.collect(espcn, {**photographs, "coffee": changed}, store=store)
    row = table.images.index("coffee")
    truth = cal.collect(espcn, {"coffee": changed})
    np.testing.assert_array_equal(table.minimum[row], truth.minimum[0])
    np.testing.assert_array_equal(table.maximum[row], truth.maximum[0])
    assert table.image_hashes[row] == truth.image_hashes[0] != forged.image_hashes[row]
    others = [place for place in range(len(photographs)) if place != row]
    assert (table.minimum[others] == FORGED).all()
    assert_same_table(load_table(store).subset(table.images), table)


def test_interrupted(espcn, photographs, store):
    """Ctrl-C keeps the rows measured so far, and the next run measures the others alone."""

    def stop_after_two(done):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cal.collect(espcn, photographs, store=store, on_image=stop_after_two)
    assert load_table(store).images == tuple(photographs)[:2]
    measured = []
    table = cal.collect(espcn, photographs, store=store, on_image=measured.append)
    assert measured == [1, 2]
    assert_same_table(table, cal.collect(espcn, photographs))


def test_an_image_that_cannot_be_read(espcn, photographs, store):
    """An error in the middle of the images keeps the rows measured before it."""

    def images():
        yield "rocket", photographs["rocket"]
        raise ValueError("no image")

    with pytest.raises(ValueError, match="no image"):
        cal.collect(espcn, images(), store=store)
    assert load_table(store).images == ("rocket",)


@pytest.mark.parametrize("part", ["reader", "versions"])
def test_measured_otherwise(espcn, photographs, store, forged, part):
    """Rows of another reader or of other package versions are measured again."""
    other = {"reader": "converter", "versions": {"numpy": "1.0"}}[part]
    RangeTable(**{**vars(load_table(store)), part: other}).save(store)
    table = cal.collect(espcn, photographs, store=store)
    assert_same_table(table, forged)
    assert_same_table(load_table(store), forged)


@pytest.mark.usefixtures("forged")
def test_loaded_in_the_worker(espcn, photographs, store):
    """Images that functions load keep their rows if the pixels are the same, and only then."""
    changed = photographs["coffee"] // 2
    loaders = {name: partial(np.asarray, image) for name, image in photographs.items()}
    loaders["coffee"] = partial(np.asarray, changed)
    measured = []
    table = cal.collect(espcn, loaders, store=store, on_image=measured.append)
    assert measured == [1]
    row = table.images.index("coffee")
    np.testing.assert_array_equal(
        table.minimum[row], cal.collect(espcn, {"coffee": changed}).minimum[0]
    )
    assert (np.delete(table.minimum, row, axis=0) == FORGED).all()
    assert_same_table(load_table(store), table)


def test_more_tensors_than_wanted(espcn, photographs, store, forged):
    """Kept rows of more tensors are used without the others, and stay as they are."""
    known = [forged.tensors[0], forged.tensors[2]]
    content = store.read_bytes()
    table = cal.collect(espcn, photographs, store=store, known=known)
    assert table.tensors == tuple(name for name in forged.tensors if name not in known)
    assert (table.minimum == FORGED).all()
    np.testing.assert_array_equal(table.maximum, forged.columns(table.tensors).maximum)
    assert store.read_bytes() == content


def test_fewer_tensors_than_wanted(espcn, photographs, store):
    """Kept rows that lack a wanted tensor are measured again."""
    whole = cal.collect(espcn, photographs)
    part = cal.collect(espcn, photographs, store=store, known=[whole.tensors[1]])
    assert whole.tensors[1] not in part.tensors
    measured = []
    table = cal.collect(espcn, photographs, store=store, on_image=measured.append)
    assert len(measured) == len(photographs)
    assert_same_table(table, whole)
    assert_same_table(load_table(store), whole)


def test_other_tensors_than_wanted(espcn, photographs, store):
    """Kept rows of as many tensors, but not of these, are measured again."""
    whole = cal.collect(espcn, photographs)
    first, second = whole.tensors[1:3]
    cal.collect(espcn, photographs, store=store, known=[first])
    table = cal.collect(espcn, photographs, store=store, known=[second])
    assert_same_table(table, whole.columns(table.tensors))
    assert first in table.tensors


def test_bad_images(espcn, photographs, store):
    """An image left out is not in the store, and the others are."""

    def torn():
        raise ImageError("torn.png: damaged")

    images = {"torn": torn, **photographs}
    table = cal.collect(espcn, images, store=store, on_bad=lambda *_: None)
    assert_same_table(load_table(store), table)
    assert table.images == tuple(photographs)


def test_another_model(espcn, xcat, photographs, store):
    """A store of another model is refused and stays as it was."""
    cal.collect(espcn, photographs, store=store)
    content = store.read_bytes()
    with pytest.raises(StudyError, match="ranges of another model"):
        cal.collect(xcat, photographs, store=store)
    assert store.read_bytes() == content


def test_damaged(espcn, photographs, store):
    """A damaged store is refused and stays as it was."""
    store.write_bytes(b"PK torn")
    with pytest.raises(StudyError, match="damaged"):
        cal.collect(espcn, photographs, store=store)
    assert store.read_bytes() == b"PK torn"


def test_worker_processes(espcn, photographs, store):
    """Two worker processes give the same table, in the order of the images."""
    with cal.executor.local_processes(2) as executor:
        table = cal.collect(espcn, photographs, store=store, executor=executor)
    assert_same_table(table, cal.collect(espcn, photographs))
    assert_same_table(load_table(store).subset(table.images), table)


def assert_same_table(first, second):
    """Check that two tables are equal in every part, bit by bit."""
    for part in vars(second):
        found, expected = getattr(first, part), getattr(second, part)
        if isinstance(expected, np.ndarray):
            np.testing.assert_array_equal(found, expected)
        else:
            assert found == expected
