"""Range tables: merging is a reduction, and files hold what was saved or are refused."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from qsr import calibration as cal
from qsr.calibration.ranges import RangeTable, load_table
from qsr.errors import StudyError, UsageError

NAMES = tuple("abcdef")
TENSORS = ("in", "conv", "out")

values = st.floats(-1e6, 1e6, width=32)
tables = st.builds(
    lambda ends: RangeTable(
        "model",
        "exact",
        NAMES,
        tuple(f"hash {name}" for name in NAMES),
        TENSORS,
        ends.min(axis=0),
        ends.max(axis=0),
        {"numpy": "2"},
    ),
    arrays(np.float32, (2, len(NAMES), len(TENSORS)), elements=values),
)
subsets = st.lists(st.sampled_from(NAMES), min_size=1, max_size=12)


@pytest.fixture
def table():
    """A table of six images and three tensors."""
    minimum = np.arange(18, dtype=np.float32).reshape(6, 3) - 20
    return RangeTable(
        "model",
        "exact",
        NAMES,
        tuple(f"hash {name}" for name in NAMES),
        TENSORS,
        minimum,
        -minimum,
        {"numpy": "2"},
    )


class TestMerged:
    """The ranges of a set of images."""

    @given(tables, subsets, subsets)
    def test_associative(self, table, first, second):
        """Merging two merged sets gives what merging all their images at once gives."""
        parts = [table.merged(first), table.merged(second)]
        whole = table.merged([*first, *second])
        np.testing.assert_array_equal(np.minimum(parts[0].minimum, parts[1].minimum), whole.minimum)
        np.testing.assert_array_equal(np.maximum(parts[0].maximum, parts[1].maximum), whole.maximum)

    @given(tables, subsets, st.randoms())
    def test_commutative(self, table, names, random):
        """The order of images does not matter."""
        shuffled = random.sample(names, len(names))
        assert same(table.merged(names), table.merged(shuffled))

    @given(tables, subsets)
    def test_idempotent(self, table, names):
        """An image named twice counts once."""
        assert same(table.merged([*names, *names]), table.merged(names))

    def test_by_hand(self):
        """The merged range of a tensor goes from its least minimum to its greatest maximum."""
        table = RangeTable(
            "model",
            "exact",
            ("a", "b", "c"),
            ("1", "2", "3"),
            ("in", "out"),
            np.array([[0.0, -3.0], [0.1, -1.0], [-9.0, -9.0]], np.float32),
            np.array([[1.0, 2.0], [0.5, 4.0], [9.0, 9.0]], np.float32),
            {},
        )
        merged = table.merged(["a", "b"])
        assert merged.tensors == ("in", "out")
        assert merged.minimum.tolist() == [0.0, -3.0]
        assert merged.maximum.tolist() == [1.0, 4.0]
        assert table.merged().minimum.tolist() == [-9.0, -9.0]

    def test_calibration_of_a_set_together(self, trained_xcat, photographs):
        """Merged ranges are what TFLite's calibrator records over all the images in one go."""
        from qsr.tflite.quantizer import record_ranges

        together = record_ranges(
            trained_xcat, [image[None] / np.float32(255) for image in photographs.values()]
        )
        merged = cal.collect(trained_xcat, photographs, reader="converter").merged()
        from qsr.tflite.graph import Graph

        for tensor in Graph(trained_xcat).activations:
            column = merged.tensors.index(tensor.name)
            assert (merged.minimum[column], merged.maximum[column]) == together[tensor.index]

    def test_no_images(self, table):
        """A representative data set of no images is refused."""
        with pytest.raises(UsageError, match="at least one image"):
            table.merged([])

    def test_unknown_image(self, table):
        """An image that is not in the table is refused by name."""
        with pytest.raises(UsageError, match="no ranges of an image named 'z'"):
            table.merged(["a", "z"])


class TestWithKnown:
    """Ranges with some known ones put in."""

    def test_only_the_named(self, table):
        """Named tensors get what is known of them; the others, and the original, stay."""
        merged = table.merged()
        found = merged.with_known({"conv": (0.0, 1.0)})
        assert found.tensors == TENSORS
        assert (found.minimum[1], found.maximum[1]) == (0.0, 1.0)
        assert found.minimum[[0, 2]].tolist() == merged.minimum[[0, 2]].tolist()
        assert found.maximum[[0, 2]].tolist() == merged.maximum[[0, 2]].tolist()
        assert same(merged, table.merged())

    def test_added(self, table):
        """Named tensors that were not measured are added."""
        found = table.merged().with_known({"elsewhere": (5.0, 6.0)})
        assert found.tensors == (*TENSORS, "elsewhere")
        assert (found.minimum[3], found.maximum[3]) == (5.0, 6.0)
        assert found.minimum.dtype == found.maximum.dtype == np.float32
        assert found.minimum[:3].tolist() == table.merged().minimum.tolist()


class TestColumns:
    """Some columns of a table."""

    def test_in_the_order_given(self, table):
        """A table of some tensors holds their columns, in the order given."""
        part = table.columns(["out", "in"])
        assert part.tensors == ("out", "in")
        np.testing.assert_array_equal(part.minimum, table.minimum[:, [2, 0]])
        np.testing.assert_array_equal(part.maximum, table.maximum[:, [2, 0]])
        assert (part.images, part.image_hashes) == (table.images, table.image_hashes)

    def test_unknown(self, table):
        """A tensor that is not in the table is refused by name."""
        with pytest.raises(UsageError, match="no ranges of a tensor named 'pool'"):
            table.columns(["in", "pool"])


class TestSubset:
    """Some rows of a table."""

    def test_rows_in_the_order_given(self, table):
        """A subset holds the rows of its images, in the order given."""
        part = table.subset(["e", "b"])
        assert part.images == ("e", "b")
        assert part.image_hashes == ("hash e", "hash b")
        np.testing.assert_array_equal(part.minimum, table.minimum[[4, 1]])
        np.testing.assert_array_equal(part.maximum, table.maximum[[4, 1]])
        assert (part.model_hash, part.reader, part.versions) == ("model", "exact", {"numpy": "2"})


class TestJoined:
    """Two tables in one."""

    def test_an_image_of_both_counts_once(self, table):
        """Joined tables hold each image once: the first table's rows, then the new ones."""
        joined = table.subset(["c", "a"]).joined(table.subset(["a", "f"]))
        assert joined.images == ("c", "a", "f")
        assert joined.image_hashes == ("hash c", "hash a", "hash f")
        np.testing.assert_array_equal(joined.minimum, table.minimum[[2, 0, 5]])
        np.testing.assert_array_equal(joined.maximum, table.maximum[[2, 0, 5]])

    def test_nothing_new(self, table):
        """Joining what is there already changes nothing."""
        assert same_table(table.joined(table.subset(["b", "a"])), table)

    @pytest.mark.parametrize("part", ["model_hash", "reader", "tensors"])
    def test_another_kind(self, table, part):
        """Tables of another model, reader or set of tensors are refused."""
        other = changed(table, **{part: ("x", "y", "z") if part == "tensors" else "converter"})
        with pytest.raises(UsageError, match="different models or readers"):
            table.joined(other)

    def test_one_name_for_two_images(self, table):
        """One name for different pixels in the two tables is refused."""
        other = changed(table.subset(["b"]), image_hashes=("other pixels",))
        with pytest.raises(UsageError, match="two different images named b"):
            table.joined(other)


class TestParts:
    """What a table is made of."""

    @pytest.mark.parametrize(
        ("part", "value"),
        [
            ("minimum", np.zeros((5, 3), np.float32)),
            ("maximum", np.zeros((6, 2), np.float32)),
            ("image_hashes", ("one",)),
            ("images", ("a", "a", "c", "d", "e", "f")),
        ],
    )
    def test_parts_that_do_not_fit(self, table, part, value):
        """Parts of sizes that do not fit together, or two rows of one name, make no table."""
        with pytest.raises(ValueError, match=r"do not fit|hashes for|same name"):
            changed(table, **{part: value})


class TestFile:
    """Tables in files."""

    @given(table=tables)
    def test_round_trip(self, table, tmp_path_factory):
        """What is loaded is what was saved."""
        path = tmp_path_factory.mktemp("tables") / "ranges.npz"
        table.save(path)
        assert same_table(load_table(path), table)

    def test_saved_over_an_older_one(self, table, tmp_path):
        """Saving replaces an older table and leaves no other file."""
        path = tmp_path / "ranges.npz"
        table.save(path)
        table.subset(["a"]).save(path)
        assert load_table(path).images == ("a",)
        assert os.listdir(tmp_path) == ["ranges.npz"]  # noqa: PTH208 (names are compared)

    @pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.99])
    def test_torn(self, table, tmp_path, share):
        """A file that was cut anywhere is refused in one line that names it."""
        path = tmp_path / "ranges.npz"
        table.save(path)
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * share)])
        assert_refused(path)

    def test_changed_bytes(self, table, tmp_path):
        """A file whose bytes were damaged gives the saved table or is refused, and never others."""
        path = tmp_path / "ranges.npz"
        table.save(path)
        content = path.read_bytes()
        refused = 0
        for place in range(0, len(content), 7):
            damaged = bytearray(content)
            damaged[place] ^= 0x40
            path.write_bytes(damaged)
            try:
                assert same_table(load_table(path), table)
            except StudyError as error:
                refused += 1
                assert "\n" not in str(error)  # noqa: PT017 (either outcome is right)
        assert refused > 0

    @pytest.mark.parametrize(
        "content", [b"", b"no table", b"\x93NUMPY\x01\x00", b"PK\x03\x04 and no more"]
    )
    def test_another_file(self, tmp_path, content):
        """A file of another kind is refused in one line that names it."""
        path = tmp_path / "ranges.npz"
        path.write_bytes(content)
        assert_refused(path)

    def test_arrays_of_others(self, tmp_path):
        """An archive of other arrays is refused."""
        path = tmp_path / "ranges.npz"
        np.savez(path, weights=np.zeros(3))
        assert_refused(path)

    def test_pickled_objects(self, tmp_path):
        """An archive of pickled objects is refused, and nothing in it is run."""
        path = tmp_path / "ranges.npz"
        np.savez(path, about=np.array([Touches(tmp_path / "touched")], dtype=object))
        assert_refused(path)
        assert not (tmp_path / "touched").exists()

    def test_one_array(self, tmp_path):
        """A single array under a table's name is refused."""
        path = tmp_path / "ranges.npz"
        with path.open("wb") as file:
            np.save(file, np.zeros(3))
        assert_refused(path)

    def test_missing(self, tmp_path):
        """A missing file is refused as missing."""
        with pytest.raises(StudyError, match="no such file"):
            load_table(tmp_path / "ranges.npz")

    def test_folder_missing(self, table, tmp_path):
        """A table that cannot be written says where."""
        path = tmp_path / "nowhere" / "ranges.npz"
        with pytest.raises(StudyError, match=r"ranges\.npz: cannot be written"):
            table.save(path)


class Touches:
    """An object that makes a file when it is loaded from a pickle."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        """Say what unpickling calls."""
        return Path.touch, (self.path,)


def assert_refused(path):
    """Check that the file is refused in one line that names it."""
    with pytest.raises(StudyError) as error:
        load_table(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


def changed(table, **parts):
    """Return a table with other parts."""
    return RangeTable(**{**vars(table), **parts})


def same(first, second):
    """Whether two sets of ranges are equal."""
    return (
        first.tensors == second.tensors
        and np.array_equal(first.minimum, second.minimum)
        and np.array_equal(first.maximum, second.maximum)
    )


def same_table(first, second):
    """Whether two tables are equal in every part."""
    return same(first, second) and all(
        getattr(first, part) == getattr(second, part)
        for part in ("model_hash", "reader", "images", "image_hashes", "versions")
    )
