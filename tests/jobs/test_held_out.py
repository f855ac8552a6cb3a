"""Which validation images choose and which confirm."""

import hashlib
import shutil

import pytest
import skimage.data
from PIL import Image

from qsr.calibration.provenance import image_hash
from qsr.data.decoded import decode
from qsr.data.pairs import find_pairs
from qsr.errors import UsageError
from qsr.jobs.held_out import divide


@pytest.fixture
def pictures(tmp_path):
    """Write numbered crops of a photograph under names, and decode them."""
    coffee = skimage.data.coffee()

    def write(folder, crops):
        (tmp_path / folder).mkdir()
        for name, number in crops.items():
            top, left = divmod(number, 10)
            crop = coffee[30 * top :, 50 * left :][:30, :30]
            Image.fromarray(crop).save(tmp_path / folder / f"{name}.png")
        return decode(find_pairs(tmp_path / folder, 3), tmp_path / f"{folder}-decoded")

    return write


def pixels(pairs):
    """Return what tells the pictures apart, in order."""
    return [lr.tobytes() + hr.tobytes() for lr, hr in pairs]


def hash_of(pairs, name):
    """Return the hash of a picture's LR pixels."""
    return image_hash(pairs[pairs.names.index(name)][0])


def both_hashes(pairs):
    """Return what each pair is known by: both its images."""
    hashes = ((image_hash(lr) + image_hash(hr)).encode() for lr, hr in pairs)
    return [hashlib.sha256(both).hexdigest() for both in hashes]


class TestHalves:
    """One folder that is divided."""

    @pytest.mark.parametrize(("count", "confirming"), [(3, 2), (4, 2), (5, 2), (6, 3), (9, 4)])
    def test_all_once(self, pictures, count, confirming):
        """Every picture is on one side, in the order of the folder, with its own hash."""
        pairs = pictures("all", {f"{number}": number for number in range(count)})
        parts = divide(pairs, None, ())
        assert (len(parts.selection), len(parts.confirmation)) == (count - confirming, confirming)
        assert sorted(pixels(parts.selection) + pixels(parts.confirmation)) == sorted(pixels(pairs))
        for side, hashes in (
            (parts.selection, parts.selection_hashes),
            (parts.confirmation, parts.confirmation_hashes),
        ):
            assert list(side.names) == sorted(side.names)
            assert list(hashes) == both_hashes(side)
        assert parts.shared == ()

    def test_names_and_order(self, pictures):
        """The same pictures under other names, in another order, are divided in the same way."""
        one = divide(pictures("one", {f"{number}": number for number in range(9)}), None, ())
        renamed = {f"{(7 * number) % 9}_again": number for number in range(9)}
        other = divide(pictures("other", renamed), None, ())
        assert set(pixels(one.selection)) == set(pixels(other.selection))
        assert set(pixels(one.confirmation)) == set(pixels(other.confirmation))
        assert one.selection_hashes != other.selection_hashes  # the order is the folder's

    @pytest.mark.parametrize("shared", ["04", "01234"])
    def test_candidates(self, pictures, shared):
        """Candidates choose, and never confirm; the others make up for it."""
        pairs = pictures("all", {f"{number}": number for number in range(8)})
        parts = divide(pairs, None, {hash_of(pairs, name) for name in shared})
        assert parts.shared == tuple(shared)
        assert set(shared) <= set(parts.selection.names)
        assert len(parts.confirmation) == min(4, 8 - len(shared))

    @pytest.mark.parametrize("copied", range(6))
    def test_copies(self, pictures, copied):
        """Copies of one picture are never on both sides."""
        crops = {f"{number}": number for number in range(6)}
        parts = divide(pictures("all", crops | {"copy": copied, "second": copied}), None, ())
        assert not set(pixels(parts.selection)) & set(pixels(parts.confirmation))
        assert len(parts.selection) + len(parts.confirmation) == 8


class TestConfirmationFolder:
    """Pictures of a folder of their own confirm."""

    def test_own_folder(self, pictures):
        """All of the first folder choose; all of the second confirm, in their order."""
        choosing = pictures("choosing", {"a": 0, "b": 1})
        confirming = pictures("confirming", {"a": 2, "b": 3, "c": 4})
        parts = divide(choosing, confirming, ())
        assert (parts.selection, parts.confirmation) == (choosing, confirming)
        assert list(parts.confirmation_hashes) == both_hashes(confirming)
        assert parts.shared == ()

    def test_seen_before(self, pictures):
        """Those that choose or are candidates confirm nothing, and are named with the others."""
        choosing = pictures("choosing", {"first": 0, "second": 1})
        confirming = pictures("confirming", {"copy": 1, "d": 3, "e": 4, "f": 5})
        candidates = {hash_of(choosing, "first"), hash_of(confirming, "e")}
        parts = divide(choosing, confirming, candidates)
        assert parts.selection == choosing
        assert parts.confirmation.names == ("d", "f")
        assert parts.shared == ("first", "copy", "e")


class TestTooFew:
    """Sets that cannot be divided."""

    @pytest.mark.parametrize("count", [1, 2])
    def test_small(self, pictures, count):
        """Fewer than three are refused, with what is needed and the options that give more."""
        pairs = pictures("all", {f"{number}": number for number in range(count)})
        with pytest.raises(UsageError, match=r"too few validation .*2 others confirm") as raised:
            divide(pairs, None, ())
        assert "--validation" in str(raised.value)
        assert "--confirmation" in str(raised.value)

    def test_copies(self, pictures):
        """Copies of two pictures are no more than two."""
        pairs = pictures("all", {f"{number}": number % 2 for number in range(6)})
        with pytest.raises(UsageError, match=r"\(0 would choose and 6 confirm\)"):
            divide(pairs, None, ())

    def test_candidates(self, pictures):
        """It is said when there are too few because the others are candidates."""
        pairs = pictures("all", {f"{number}": number for number in range(5)})
        with pytest.raises(UsageError, match=r"\(4 of them, such as 0, are candidates or chosen"):
            divide(pairs, None, {hash_of(pairs, name) for name in "0124"})

    def test_confirmation_folder(self, pictures, tmp_path):
        """One picture that nothing knew before is too few to confirm."""
        choosing = pictures("choosing", {"a": 0, "b": 1, "c": 2})
        confirming = pictures("confirming", {"a": 3})
        with pytest.raises(UsageError, match=r"\(3 would choose and 1 confirm\)"):
            divide(choosing, confirming, ())
        shutil.rmtree(tmp_path / "confirming")
        with pytest.raises(UsageError, match="of them, such as b, are candidates or chosen on too"):
            divide(choosing, pictures("confirming", {"b": 1, "d": 3}), ())
