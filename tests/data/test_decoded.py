"""Decoded pairs: what is read back, when files are decoded again, and what travels."""

import os
import pickle
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import skimage.data
from PIL import Image

from qsr.data.decoded import decode, decoded_of, held
from qsr.data.pairs import Pair, find_pairs
from qsr.errors import ImageError

CROPS = {
    "astronaut": skimage.data.astronaut()[0:60, 170:260],
    "chelsea": skimage.data.chelsea()[90:168, 110:170],
    "coffee": skimage.data.coffee()[100:139, 200:299],
}


def save(folder, crops):
    """Write photographs and return their pairs."""
    folder.mkdir(exist_ok=True)
    for name, crop in crops.items():
        Image.fromarray(crop).save(folder / f"{name}.png")
    return find_pairs(folder, 3)


def assert_same(decoded, pairs):
    """Compare every pixel with what the files hold."""
    assert len(decoded) == len(pairs)
    for (lr, hr), pair in zip(decoded, pairs, strict=True):
        expected_lr, expected_hr = pair.load()
        assert np.array_equal(lr, expected_lr)
        assert np.array_equal(hr, expected_hr)


@pytest.fixture
def pairs(tmp_path):
    """Make three pairs of different sizes."""
    return save(tmp_path / "photographs", CROPS)


@pytest.fixture
def count(tmp_path):
    """Make a function that decodes pairs, and says how many it had to decode."""

    def decode_counted(pairs):
        calls = []
        decoded = decode(pairs, tmp_path / "decoded", on_progress=lambda *now: calls.append(now))
        assert calls in ([], [(done, len(pairs)) for done in range(1, len(pairs) + 1)])
        return decoded, len(calls)

    return decode_counted


def pixels(folder):
    """Find the one file of pixels in a folder."""
    (path,) = (folder / "decoded").glob("*.u8")
    return path


class TestContent:
    """What decoded pairs hold."""

    def test_same_as_loaded(self, pairs, tmp_path):
        """Every pair is, pixel by pixel, what its files hold; names, sizes and order stay."""
        decoded = decode(pairs, tmp_path / "decoded")
        assert_same(decoded, pairs)
        assert decoded.names == ("astronaut", "chelsea", "coffee")
        assert decoded.sizes == ((20, 30), (26, 20), (13, 33))
        assert decoded.scale == 3

    def test_lr_files(self, tmp_path):
        """LR files are read as they are, at another scale too, and surplus HR pixels are cut."""
        lr, hr = CROPS["coffee"][:10, :20], CROPS["chelsea"][:21, :40]
        for name, image in (("lr", lr), ("hr", hr)):
            Image.fromarray(image).save(tmp_path / f"{name}.png")
        pair = Pair("one", tmp_path / "hr.png", tmp_path / "lr.png", 2)
        ((found_lr, found_hr),) = decode([pair], tmp_path / "decoded")
        assert np.array_equal(found_lr, lr)
        assert np.array_equal(found_hr, hr[:20])

    def test_read_only(self, pairs, tmp_path):
        """The arrays are views of one file, and cannot be written to by mistake."""
        for image in decode(pairs, tmp_path / "decoded")[1]:
            assert isinstance(image.base.base, np.memmap)
            with pytest.raises(ValueError, match="read-only"):
                image[0, 0, 0] = 1

    def test_index(self, pairs, tmp_path):
        """A pair is found from either end, and there is none beyond them."""
        decoded = decode(pairs, tmp_path / "decoded")
        assert np.array_equal(decoded[-1][1], pairs[2].load()[1])
        with pytest.raises(IndexError):
            decoded[3]

    def test_slice(self, pairs, tmp_path):
        """A slice holds the pairs of that slice."""
        decoded = decode(pairs, tmp_path / "decoded")
        assert_same(decoded[1:], pairs[1:])
        assert_same(decoded[::-2], pairs[::-2])
        assert decoded[::-2].names == ("coffee", "astronaut")

    @pytest.mark.parametrize("indices", [[2, 0], [1], [], [0, 0, 2]])
    def test_at(self, pairs, tmp_path, indices):
        """Pairs picked by number come in the order asked for, from the file and from memory."""
        decoded = decode(pairs, tmp_path / "decoded")
        for some in (decoded.at(indices), held(decoded).at(indices)):
            assert_same(some, [pairs[index] for index in indices])
            assert some.names == tuple(pairs[index].name for index in indices)
            assert some.sizes == tuple(decoded.sizes[index] for index in indices)

    def test_held(self, pairs, tmp_path):
        """Pairs in memory hold the same, need no file, and travel whole."""
        decoded = decode(pairs, tmp_path / "decoded")
        whole = held(decoded)
        assert (whole.names, whole.sizes) == (decoded.names, decoded.sizes)
        sent = pickle.dumps(whole)
        pixels(tmp_path).unlink()
        for kept in (whole, pickle.loads(sent)):  # noqa: S301
            assert_same(kept, pairs)
            assert_same(kept[1:], pairs[1:])
            assert kept[1:].names == decoded.names[1:]
            assert kept[::-1].sizes == decoded.sizes[::-1]
        assert not any(isinstance(image, np.memmap) for pair in whole for image in pair)

    def test_many(self, tmp_path):
        """More pairs than are loaded at once come in the order of their names, none twice."""
        random = np.random.default_rng(0)
        crops = {
            f"{number:02}": random.integers(256, size=(9 + 3 * (number % 7), 12, 3), dtype=np.uint8)
            for number in range(40)
        }
        pairs = save(tmp_path / "many", crops)
        told = []
        decoded = decode(pairs, tmp_path / "decoded", on_progress=lambda *now: told.append(now))
        assert_same(decoded, pairs)
        assert decoded.names == tuple(crops)
        assert told == [(done, 40) for done in range(1, 41)]

    def test_travels(self, pairs, tmp_path):
        """Pickled, even after it was read, it is a few hundred bytes, and equal when unpickled."""
        decoded = decode(pairs, tmp_path / "decoded")
        assert_same(decoded, pairs)
        sent = pickle.dumps(decoded)
        assert len(sent) < 600 + 100 * len(pairs)
        assert pickle.loads(sent) == decoded  # noqa: S301
        assert_same(pickle.loads(sent), pairs)  # noqa: S301


class TestAgain:
    """A second call on the same folder."""

    def test_same_files(self, pairs, count):
        """The same files are not decoded again."""
        first, decoded = count(pairs)
        assert decoded == 3
        second, decoded = count(pairs)
        assert decoded == 0
        assert second == first
        assert_same(second, pairs)

    def test_changed_file(self, pairs, count):
        """A file that was overwritten since is decoded again."""
        count(pairs)
        Image.fromarray(255 - CROPS["chelsea"]).save(pairs[1].hr_path)
        changed, decoded = count(pairs)
        assert decoded == 3
        assert np.array_equal(changed[1][1], 255 - CROPS["chelsea"])
        assert_same(changed, pairs)

    def test_same_size_and_name(self, tmp_path, count):
        """An overwritten file of the same size in bytes, which BMP has, is decoded again."""
        path = tmp_path / "a.bmp"
        Image.fromarray(CROPS["chelsea"]).save(path)
        (pair,) = find_pairs(tmp_path, 3)
        count([pair])
        earlier = path.stat()
        Image.fromarray(255 - CROPS["chelsea"]).save(path)
        os.utime(path, ns=(earlier.st_atime_ns, earlier.st_mtime_ns + 1_000_000))
        assert path.stat().st_size == earlier.st_size
        (changed,), decoded = count([pair])
        assert decoded == 1
        assert np.array_equal(changed[1], 255 - CROPS["chelsea"])

    @pytest.mark.parametrize("some", [[0, 1], [2, 1, 0], [1], [2, 2]])
    def test_some_of_them(self, pairs, count, some):
        """Some of the pairs, in any order, are taken from what was decoded, under their names."""
        count(pairs)
        chosen = [replace(pairs[index], name=f"number {index}") for index in some]
        found, decoded = count(chosen)
        assert decoded == 0
        assert_same(found, chosen)
        assert found.names == tuple(pair.name for pair in chosen)
        assert count(pairs)[1] == 0

    def test_one_more(self, pairs, count):
        """With a pair that was not decoded before, all are decoded again."""
        count(pairs[:2])
        found, decoded = count(pairs)
        assert decoded == 3
        assert_same(found, pairs)

    def test_which(self, pairs, count, tmp_path):
        """It is told which pairs lie there, and that none does in a folder of anything else."""
        count(pairs[:2])
        assert decoded_of(pairs[::-1], tmp_path / "decoded") == (pairs[1], pairs[0])
        assert decoded_of(pairs, tmp_path) == ()

    def test_other_scale(self, pairs, count):
        """The same photographs at another scale are decoded again."""
        count(pairs)
        at_two = find_pairs(pairs[0].hr_path.parent, 2)
        again, decoded = count(at_two)
        assert decoded == 3
        assert_same(again, at_two)

    def test_other_images(self, pairs, count, tmp_path):
        """Other images of the same sizes replace the earlier ones, which nobody is served again."""
        earlier, _ = count(pairs)
        views = [image for pair in earlier for image in pair]
        copies = [view.copy() for view in views]
        others = save(tmp_path / "others", {name: 255 - crop for name, crop in CROPS.items()})
        later, _ = count(others)
        assert_same(later, others)
        assert len(list((tmp_path / "decoded").iterdir())) == 2  # no second file of pixels
        # Arrays taken before stay as they were; the earlier object finds its file gone.
        assert all(np.array_equal(view, copy) for view, copy in zip(views, copies, strict=True))
        with pytest.raises(FileNotFoundError):
            earlier[0]

    @pytest.mark.parametrize("missing", [1, 3 * 39 * 99, None])
    def test_torn_pixels(self, pairs, count, tmp_path, missing):
        """A file of pixels without its last byte, last image or anything is made again."""
        count(pairs)
        path = pixels(tmp_path)
        os.truncate(path, path.stat().st_size - missing if missing else 0)
        again, decoded = count(pairs)
        assert decoded == 3
        assert_same(again, pairs)

    def test_missing_pixels(self, pairs, count, tmp_path):
        """A file of pixels that was deleted is made again."""
        count(pairs)
        pixels(tmp_path).unlink()
        again, decoded = count(pairs)
        assert decoded == 3
        assert_same(again, pairs)

    def test_torn_while_mapped(self, pairs, tmp_path):
        """A process that had the torn file mapped reads the new one, and is not killed."""
        program = """
import os, pickle, sys
from pathlib import Path
from qsr.data.decoded import decode, held
pairs, folder = pickle.loads(bytes.fromhex(sys.argv[1]))
first = decode(pairs, folder)
int(first[0][0].sum())
os.truncate(first.path, 0)
again = decode(pairs, folder)
assert all((hr == pair.load()[1]).all() for (_, hr), pair in zip(again, pairs, strict=True))
"""
        arguments = pickle.dumps((pairs, tmp_path / "decoded")).hex()
        command = [sys.executable, "-c", program, arguments]
        done = subprocess.run(command, capture_output=True, check=False)  # noqa: S603
        assert done.returncode == 0, done.stderr

    @pytest.mark.parametrize("length", [0, 1, 20, 100, -1])
    def test_torn_index(self, pairs, count, tmp_path, length):
        """An index of which the end is missing is made again, together with the pixels."""
        count(pairs)
        path = tmp_path / "decoded" / "index.json"
        path.write_text(path.read_text()[:length])
        again, decoded = count(pairs)
        assert decoded == 3
        assert_same(again, pairs)

    @pytest.mark.parametrize("content", ["null", "{}", "[1]", '{"key": 1}', "\udcff"])
    def test_strange_index(self, pairs, count, tmp_path, content):
        """An index that something else wrote is made again."""
        count(pairs)
        path = tmp_path / "decoded" / "index.json"
        path.write_bytes(content.encode(errors="surrogateescape"))
        again, decoded = count(pairs)
        assert decoded == 3
        assert_same(again, pairs)

    def test_stopped(self, pairs, count, tmp_path):
        """After a run that was stopped in the middle, everything is decoded again."""

        def stop(done, _):
            if done == 2:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            decode(pairs, tmp_path / "decoded", on_progress=stop)
        again, decoded = count(pairs)
        assert decoded == 3
        assert_same(again, pairs)


class TestRefused:
    """What cannot be decoded."""

    def test_damaged_file(self, pairs, tmp_path):
        """A damaged photograph is an error that names it, and is found again the next time."""
        pairs[1].hr_path.write_bytes(b"no photograph")
        for _ in range(2):
            with pytest.raises(
                ImageError, match=r"chelsea\.png: not an image.*skip-bad-images goes"
            ):
                decode(pairs, tmp_path / "decoded")

    def test_missing_file(self, pairs, tmp_path):
        """A missing photograph is an error that names it."""
        pairs[1].hr_path.unlink()
        with pytest.raises(ImageError, match=r"chelsea\.png: .*No such file"):
            decode(pairs, tmp_path / "decoded")

    @pytest.mark.parametrize("bad", [0, 1, 2])
    def test_left_out(self, pairs, count, tmp_path, bad):
        """On request a damaged photograph is told of and left out; the next time it alone is tried.

        Once it is whole, all are decoded again.
        """
        path = pairs[bad].hr_path
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        others = [pair for pair in pairs if pair is not pairs[bad]]
        for again in (False, True):
            told, steps = [], []
            decoded = decode(
                pairs,
                tmp_path / "decoded",
                on_bad=told.append,
                on_progress=lambda *now, steps=steps: steps.append(now),
            )
            assert_same(decoded, others)
            assert decoded.names == tuple(pair.name for pair in others)
            assert [str(path) in str(error) for error in told] == [True]
            assert steps == ([] if again else [(1, 3), (2, 3), (3, 3)])
        path.write_bytes(whole)
        again, read = count(pairs)
        assert read == 3
        assert_same(again, pairs)

    def test_all_left_out(self, pairs, tmp_path):
        """When every photograph is damaged, leaving them out is an error."""
        for pair in pairs:
            pair.hr_path.write_bytes(pair.hr_path.read_bytes()[:200])
        told = []
        with pytest.raises(ImageError, match="none of the 3 images can be decoded"):
            decode(pairs, tmp_path / "decoded", on_bad=told.append)
        assert len(told) == 3

    def test_stopped_by_the_bad(self, pairs, tmp_path):
        """What is raised on being told of a damaged photograph comes through."""
        pairs[0].hr_path.write_bytes(b"no photograph")

        def stop(error):
            raise ImageError(f"told: {error}")

        with pytest.raises(ImageError, match=r"told: .*astronaut\.png"):
            decode(pairs, tmp_path / "decoded", on_bad=stop)

    def test_unwritable(self, pairs, tmp_path):
        """A folder that cannot be made is an error that names it."""
        (tmp_path / "decoded").write_text("a file")
        with pytest.raises(ImageError, match="decoded: cannot keep the decoded images there"):
            decode(pairs, tmp_path / "decoded")

    def test_no_room(self, pairs, count, tmp_path, monkeypatch):
        """A disk too small for the pixels is told of with both sizes, before any is decoded."""
        needed = sum(part.nbytes for pair in pairs for part in pair.load())
        with monkeypatch.context() as patch:
            patch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=needed - 1))
            patch.setattr(Pair, "load", lambda _: pytest.fail("decoded"))
            with pytest.raises(ImageError, match=rf"3 decoded images take {needed / 1e6:.1f} MB"):
                decode(pairs, tmp_path / "decoded")
        monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=needed))
        assert count(pairs)[1] == len(pairs)

    def test_no_room_for_index(self, pairs, count, tmp_path, monkeypatch):
        """A disk that is full at the index is an error; half an index is neither kept nor used."""

        def half(path, text):
            path.write_bytes(text[:9].encode())
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(type(tmp_path), "write_text", half)
            with pytest.raises(ImageError, match=r"cannot keep the decoded .*No space left"):
                decode(pairs, tmp_path / "decoded")
        assert list((tmp_path / "decoded").iterdir()) == [pixels(tmp_path)]
        assert count(pairs)[1] == 3

    def test_mixed_scales(self, pairs, tmp_path):
        """Pairs of different scales, which one file cannot hold, are a mistake of the caller."""
        other = Pair("other", pairs[0].hr_path, None, 2)
        with pytest.raises(ValueError, match=r"one scale.*\[2, 3\]"):
            decode([*pairs, other], tmp_path / "decoded")

    def test_none(self, tmp_path):
        """No pairs at all are a mistake of the caller."""
        with pytest.raises(ValueError, match="one scale"):
            decode([], tmp_path / "decoded")
