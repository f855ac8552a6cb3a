"""Folders as LR/HR pairs: the layouts, and what can be wrong with a folder or a file."""

import hashlib
import threading
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image

from qsr.data.pairs import Pair, check_pairs, content_hash, find_pairs
from qsr.errors import ImageError
from qsr.images import downscale_bicubic

HR = skimage.data.astronaut()[:60, :90]
LR = downscale_bicubic(HR, 3)


def save(path, image=HR):
    """Write an image, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
    return path


def truncate(path):
    """Cut a file in half."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.fixture
def photographs(tmp_path):
    """Make a folder of three photographs of different sizes."""
    for index in range(3):
        save(tmp_path / f"{index}.png", HR[: 60 - index])
    return tmp_path


class TestPhotographs:
    """A folder of photographs, of which LR is made."""

    def test_found(self, photographs):
        """Every photograph is a pair, named by its stem and without an LR file, in order."""
        pairs = find_pairs(photographs, 3)
        assert pairs == tuple(
            Pair(str(index), photographs / f"{index}.png", None, 3) for index in range(3)
        )

    def test_file_named_as_hr_folder(self, photographs):
        """A file that is named like an HR folder changes nothing."""
        (photographs / "notes_HR").touch()
        assert len(find_pairs(photographs, 3)) == 3

    def test_lr_made(self, photographs):
        """HR is cut to a multiple of the scale and LR is its bicubic reduction."""
        pair = find_pairs(photographs, 3)[1]
        lr, hr = pair.load()
        assert np.array_equal(hr, HR[:57])
        assert np.array_equal(lr, downscale_bicubic(HR[:57], 3))
        assert np.array_equal(pair.load_lr(), lr)

    def test_same_stem(self, tmp_path):
        """If two photographs differ in their endings only, all names keep their endings."""
        for name in ("a.jpg", "a.png", "b.png"):
            save(tmp_path / name)
        assert [pair.name for pair in find_pairs(tmp_path, 3)] == ["a.jpg", "a.png", "b.png"]

    def test_too_small(self, tmp_path):
        """A photograph smaller than the scale is an error, not an empty LR image."""
        save(tmp_path / "a.png", HR[:2])
        with pytest.raises(ImageError, match=r"a\.png: 90 x 2 pixels are too few for x3"):
            find_pairs(tmp_path, 3)[0].load()

    def test_missing_folder(self, tmp_path):
        """A missing folder is an error that says so."""
        with pytest.raises(ImageError, match="no such folder"):
            find_pairs(tmp_path / "gone", 3)

    def test_hr_alone(self, tmp_path):
        """A folder named HR with no LR next to it is a folder of photographs."""
        save(tmp_path / "HR" / "a.png")
        assert find_pairs(tmp_path / "HR", 3) == (Pair("a", tmp_path / "HR/a.png", None, 3),)


class TestLayouts:
    """HR and LR files in the customary layouts."""

    @pytest.mark.parametrize(
        ("hr_name", "lr_name"),
        [
            ("HR/0001.png", "LRx3/0001.png"),
            ("HR/0001.png", "LR_x3/0001x3.png"),
            ("HR/0001.png", "LR/X3/0001.png"),
            ("HR/0001.png", "LR_bicubic/X3/0001x3.png"),
            ("HR/0001.jpg", "LR/0001.png"),
            ("DIV2K_train_HR/0001.png", "DIV2K_train_LR_bicubic/X3/0001x3.png"),
            ("DIV2K_valid_HR/0801.png", "DIV2K_valid_LR_bicubic/X3/0801x3.png"),
            ("Flickr2K_HR/000001.png", "Flickr2K_LR_bicubic/X3/000001x3.png"),
        ],
    )
    def test_found(self, tmp_path, monkeypatch, hr_name, lr_name):
        """The pair is found from the folder above, from the HR folder, and from inside it."""
        hr_path, lr_path = save(tmp_path / hr_name), save(tmp_path / lr_name, LR)
        expected = (Pair(hr_path.stem, hr_path, lr_path, 3),)
        assert find_pairs(tmp_path, 3) == expected
        assert find_pairs(hr_path.parent, 3) == expected
        monkeypatch.chdir(hr_path.parent)
        (pair,) = find_pairs(Path(), 3)
        lr, hr = pair.load()
        assert np.array_equal(lr, LR)
        assert hr.shape == HR.shape

    def test_right_scale(self, tmp_path):
        """Of several LR folders the one of the scale is taken."""
        save(tmp_path / "HR/a.png")
        for scale in (2, 3, 4):
            save(tmp_path / f"LR/X{scale}/ax{scale}.png")
        assert find_pairs(tmp_path, 4)[0].lr_path == tmp_path / "LR/X4/ax4.png"

    @pytest.mark.parametrize("other", ["LRx2/a.png", "LR/X2/a.png", "X_LR_bicubic/X3/a.png"])
    def test_no_lr(self, tmp_path, other):
        """An HR folder without LR of the scale is an error, which tells how to have LR made."""
        save(tmp_path / "HR/a.png")
        save(tmp_path / other)
        with pytest.raises(ImageError, match=r"no LR images for x3 .*give .*HR itself"):
            find_pairs(tmp_path, 3)

    def test_several_sets(self, tmp_path):
        """Training and validation sets in one folder are an error that names both."""
        for part in ("train", "valid"):
            save(tmp_path / f"DIV2K_{part}_HR/a.png")
            save(tmp_path / f"DIV2K_{part}_LR_bicubic/X3/ax3.png", LR)
        with pytest.raises(ImageError, match=r"\(DIV2K_train_HR, DIV2K_valid_HR\); give"):
            find_pairs(tmp_path, 3)

    def test_hr_without_counterpart(self, tmp_path):
        """HR files without LR are counted and the first few named."""
        for index in range(6):
            save(tmp_path / f"HR/{index}.png")
        save(tmp_path / "LRx3/0.png", LR)
        with pytest.raises(ImageError, match=r"HR: 5 .*LRx3: 1\.png, 2\.png, 3\.png and 2 more\."):
            find_pairs(tmp_path, 3)

    def test_lr_without_counterpart(self, tmp_path):
        """LR files without HR are counted and the first few named."""
        save(tmp_path / "HR/a.png")
        for name in "ab":
            save(tmp_path / f"LRx3/{name}x3.png", LR)
        with pytest.raises(ImageError, match=r"LRx3: 1 without counterpart in .*HR: bx3\.png\."):
            find_pairs(tmp_path, 3)

    def test_same_stem(self, tmp_path):
        """Two HR files that differ in their endings only are an error that names both."""
        for name in ("HR/a.jpg", "HR/a.png", "LRx3/a.png"):
            save(tmp_path / name)
        with pytest.raises(ImageError, match=r"both a\.jpg and a\.png"):
            find_pairs(tmp_path, 3)

    @pytest.mark.parametrize("surplus", [0, 1, 2])
    def test_hr_surplus_cut(self, tmp_path, surplus):
        """HR rows and columns beyond the last LR pixel are cut off."""
        save(tmp_path / "HR/a.png", HR[: 57 + surplus, : 87 + surplus])
        save(tmp_path / "LRx3/a.png", LR[:19, :29])
        _, hr = find_pairs(tmp_path, 3)[0].load()
        assert np.array_equal(hr, HR[:57, :87])

    @pytest.mark.parametrize("lr", [LR[:-1], LR[:, :-1], HR])
    def test_sizes_do_not_fit(self, tmp_path, lr):
        """An LR image of another size is an error that gives both sizes and both files."""
        save(tmp_path / "HR/a.png")
        save(tmp_path / "LRx3/a.png", lr)
        sizes = rf"LRx3/a\.png: {lr.shape[1]} x {lr.shape[0]} .* 90 x 60 of .*HR/a\.png"
        with pytest.raises(ImageError, match=sizes):
            find_pairs(tmp_path, 3)[0].load()

    def test_lr_alone(self, tmp_path):
        """Reading the LR image never opens the HR file."""
        hr_path = save(tmp_path / "HR/a.png")
        save(tmp_path / "LRx3/a.png", LR)
        (pair,) = find_pairs(tmp_path, 3)
        truncate(hr_path)
        assert np.array_equal(pair.load_lr(), LR)

    def test_grey_among_colour(self, tmp_path):
        """A greyscale pair loads as RGB."""
        save(tmp_path / "HR/a.png", HR[:, :, 0])
        save(tmp_path / "LRx3/a.png", LR[:, :, 0])
        lr, hr = find_pairs(tmp_path, 3)[0].load()
        assert np.array_equal(lr, LR[:, :, :1].repeat(3, axis=2))
        assert np.array_equal(hr, HR[:, :, :1].repeat(3, axis=2))


class TestCheck:
    """Every image is decoded before work begins."""

    def test_all_good(self, photographs):
        """Good pairs come back in order, with no problems."""
        pairs = find_pairs(photographs, 3)
        assert check_pairs(pairs, min_lr=19, skip_bad=False) == (pairs, ())

    def test_first_bad_stops(self, photographs):
        """A truncated file stops the check with its name and the option that goes on."""
        truncate(photographs / "1.png")
        with pytest.raises(ImageError, match=r"1\.png: .*truncated.* \(--skip-bad-images"):
            check_pairs(find_pairs(photographs, 3), min_lr=1, skip_bad=False)

    def test_all_bad_are_counted(self, photographs):
        """The first bad image is named, and how many others there are."""
        truncate(photographs / "1.png")
        truncate(photographs / "2.png")
        with pytest.raises(ImageError, match=r"1\.png: .* And 1 more\. \(--skip-bad-images"):
            check_pairs(find_pairs(photographs, 3), min_lr=1, skip_bad=False)

    def test_bad_skipped(self, photographs):
        """With skipping, the good ones are kept, in order, and each bad one has its line."""
        truncate(photographs / "1.png")
        pairs = find_pairs(photographs, 3)
        kept, problems = check_pairs(pairs, min_lr=1, skip_bad=True)
        assert kept == (pairs[0], pairs[2])
        assert [problem.count("\n") for problem in problems] == [0]
        assert "1.png" in problems[0]

    def test_small_lr(self, photographs):
        """An LR image with a side below the least is a problem that gives both sizes."""
        kept, problems = check_pairs(find_pairs(photographs, 3), min_lr=20, skip_bad=True)
        assert [pair.name for pair in kept] == ["0"]
        assert problems[0].endswith("1.png: LR is 30 x 19 pixels; each side needs at least 20.")

    def test_lr_file_decoded(self, tmp_path):
        """A truncated LR file is found as well."""
        save(tmp_path / "HR/a.png")
        truncate(save(tmp_path / "LRx3/a.png", LR))
        with pytest.raises(ImageError, match=r"LRx3/a\.png"):
            check_pairs(find_pairs(tmp_path, 3), min_lr=1, skip_bad=False)

    def test_nothing_left(self, photographs):
        """When every pair is bad, skipping is an error that gives the first problem."""
        with pytest.raises(ImageError, match=r"none of the 3 images .*0\.png: LR is 30 x 20"):
            check_pairs(find_pairs(photographs, 3), min_lr=99, skip_bad=True)

    def test_progress(self, photographs):
        """Progress counts every pair once, in order, in the calling thread."""
        seen = []
        check_pairs(
            find_pairs(photographs, 3),
            min_lr=20,
            skip_bad=True,
            on_progress=lambda done, total: seen.append((done, total, threading.get_ident())),
        )
        assert seen == [(done, 3, threading.get_ident()) for done in (1, 2, 3)]


class TestHeaders:
    """Headers alone are read, which finds what they tell."""

    def check(self, folder, *, min_lr=1, skip_bad=False):
        """Check the pairs of a folder by their headers."""
        return check_pairs(find_pairs(folder, 3), min_lr=min_lr, skip_bad=skip_bad, decoded=False)

    def test_good(self, photographs, monkeypatch):
        """Good pairs come back in order, and nothing is decoded."""
        monkeypatch.setattr("qsr.data.pairs.read_rgb", None)
        assert self.check(photographs, min_lr=19) == (find_pairs(photographs, 3), ())

    def test_torn(self, photographs):
        """A file that is torn behind its header passes; one without a header does not."""
        truncate(photographs / "1.png")
        assert len(self.check(photographs)[0]) == 3
        (photographs / "2.png").write_bytes(b"no image")
        with pytest.raises(ImageError, match=r"2\.png: .* \(--skip-bad-images"):
            self.check(photographs)

    @pytest.mark.parametrize("decoded", [True, False])
    def test_small(self, photographs, decoded):
        """The size of LR is that of HR without what is cut off, as when decoded."""
        pairs = find_pairs(photographs, 3)
        kept, problems = check_pairs(pairs, min_lr=20, skip_bad=True, decoded=decoded)
        assert [pair.name for pair in kept] == ["0"]
        assert problems[0].endswith("1.png: LR is 30 x 19 pixels; each side needs at least 20.")

    @pytest.mark.parametrize("decoded", [True, False])
    @pytest.mark.parametrize("size", [(60, 90), (62, 90), (60, 92), (62, 91)])
    def test_lr_fits(self, tmp_path, size, decoded):
        """An LR file fits HR that has up to two more rows or columns."""
        save(tmp_path / "HR/a.png", skimage.data.astronaut()[: size[0], : size[1]])
        save(tmp_path / "LRx3/a.png", LR)
        pairs = find_pairs(tmp_path, 3)
        assert check_pairs(pairs, min_lr=20, skip_bad=False, decoded=decoded) == (pairs, ())

    @pytest.mark.parametrize("decoded", [True, False])
    @pytest.mark.parametrize("cut", [np.s_[:-1], np.s_[:, :-1], np.s_[:10, :15]])
    def test_lr_does_not_fit(self, tmp_path, cut, decoded):
        """An LR file of another size is named with both sizes, whichever way it is found."""
        save(tmp_path / "HR/a.png")
        lr = LR[cut]
        save(tmp_path / "LRx3/a.png", lr)
        size = f"{lr.shape[1]} x {lr.shape[0]}"
        with pytest.raises(
            ImageError, match=rf"LRx3/a\.png: {size} pixels are not 1/3 of the 90 x"
        ):
            check_pairs(find_pairs(tmp_path, 3), min_lr=1, skip_bad=False, decoded=decoded)

    @pytest.mark.parametrize("decoded", [True, False])
    def test_turned(self, tmp_path, decoded):
        """An HR file that its EXIF data turns on its side fits an upright LR file."""
        upright = HR[:, :60].transpose(1, 0, 2)[:, :45]
        exif = Image.Exif()
        exif[0x0112] = 6  # to be turned by 90 degrees
        (tmp_path / "HR").mkdir()
        Image.fromarray(np.rot90(upright)).save(tmp_path / "HR/a.png", exif=exif)
        save(tmp_path / "LRx3/a.png", downscale_bicubic(upright, 3))
        (pair,) = find_pairs(tmp_path, 3)
        assert check_pairs([pair], min_lr=15, skip_bad=False, decoded=decoded) == ((pair,), ())
        assert np.array_equal(pair.load()[1], upright)


class TestContentHash:
    """Identity of a file by its bytes."""

    def test_file(self, tmp_path):
        """A file's hash is the SHA-256 of its bytes, whatever its name."""
        (tmp_path / "a").write_bytes(b"abc")
        assert content_hash(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()

    def test_missing(self, tmp_path):
        """A missing file is an error that names it."""
        with pytest.raises(ImageError, match=r"gone\.png: cannot be read \(No such file"):
            content_hash(tmp_path / "gone.png")
