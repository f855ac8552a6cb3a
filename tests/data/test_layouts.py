"""Data sets as they lie on disk: which folders and which split are taken, and what is refused."""

import numpy as np
import pytest
import skimage.data
from PIL import Image

from qsr.data.layouts import has_split, hr_folder, image_folders
from qsr.data.pairs import check_pairs, find_all_pairs, find_pairs
from qsr.errors import ImageError
from qsr.images import downscale_bicubic

HR = skimage.data.coffee()[100:160, 200:296]


def save(path, image=HR):
    """Write an image, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


def save_set(hr_folder, lr_folder, names, *, scale=3, ending=True):
    """Write a set of pairs."""
    for name in names:
        save(hr_folder / f"{name}.png")
        lr = downscale_bicubic(HR, scale)
        save(lr_folder / f"{name}{f'x{scale}' if ending else ''}.png", lr)


def save_div2k(root, lr_place="{name}/X{scale}", hr_place="{name}", scales=(2, 3, 4)):
    """Write two training pairs and a validation pair as DIV2K has them."""
    for split, names in (("train", ("0001", "0002")), ("valid", ("0801",))):
        hr = root / hr_place.format(name=f"DIV2K_{split}_HR")
        for scale in scales:
            lr = lr_place.format(name=f"DIV2K_{split}_LR_bicubic", scale=scale)
            save_set(hr, root / lr, names, scale=scale)
    return root


def assert_taken(pairs, names, scale=3):
    """Check which pairs were found, and that their files fit."""
    assert [pair.name for pair in pairs] == names
    for pair in pairs:
        assert pair.lr_path.stem == f"{pair.name}x{scale}"
    assert check_pairs(pairs, min_lr=15, skip_bad=False) == (pairs, ())


class TestSplits:
    """A folder that holds a training and a validation set."""

    @pytest.mark.parametrize(
        "places",
        [
            {},
            {"lr_place": "{name}/x{scale}"},
            {"lr_place": "{name}_X{scale}"},
            {"lr_place": "{name}_X{scale}/{name}/X{scale}"},
            {"lr_place": "{name}_X{scale}/{name}/X{scale}", "hr_place": "{name}/{name}"},
        ],
    )
    @pytest.mark.parametrize("scale", [2, 3, 4])
    def test_div2k(self, tmp_path, places, scale):
        """Either split of DIV2K is found at each scale, its archives unpacked as one or apart."""
        root = save_div2k(tmp_path / "DIV2K", **places)
        assert_taken(find_pairs(root, scale, "train"), ["0001", "0002"], scale)
        assert_taken(find_pairs(root, scale, "valid"), ["0801"], scale)
        assert has_split(root, "train")
        assert has_split(root, "valid")

    @pytest.mark.parametrize("inner", ["DIV2K_valid_HR", "DIV2K_valid_HR/DIV2K_valid_HR"])
    def test_hr_folder_itself(self, tmp_path, inner):
        """An HR folder that is given itself is taken with its LR, whatever split is asked for."""
        places = {"lr_place": "{name}_X{scale}/{name}/X{scale}", "hr_place": "{name}/{name}"}
        root = save_div2k(tmp_path, **places)
        for split in (None, "train", "valid"):
            assert_taken(find_pairs(root / inner, 3, split), ["0801"])
        assert not has_split(root / inner, "valid")

    def test_not_asked_for(self, tmp_path):
        """Where no split is asked for, both are refused by name, with a folder to give."""
        save_div2k(tmp_path)
        with pytest.raises(
            ImageError, match=r"\(DIV2K_train_HR, DIV2K_valid_HR\); give .*/DIV2K_train_HR\.$"
        ):
            find_pairs(tmp_path, 3)

    @pytest.mark.parametrize(("only", "missing"), [("valid", "train"), ("train", "valid")])
    def test_other_split_alone(self, tmp_path, only, missing):
        """A set of the other split is not taken in its place, but where no split is asked for."""
        save_set(tmp_path / f"DIV2K_{only}_HR", tmp_path / f"DIV2K_{only}_LR_bicubic/X3", ["0001"])
        assert_taken(find_pairs(tmp_path, 3), ["0001"])
        assert_taken(find_pairs(tmp_path, 3, only), ["0001"])
        with pytest.raises(ImageError, match=rf"no {missing} split, only DIV2K_{only}_HR; give"):
            find_pairs(tmp_path, 3, missing)
        assert not has_split(tmp_path, missing)

    @pytest.mark.parametrize("word", ["val", "VALID", "validation"])
    def test_words(self, tmp_path, word):
        """A validation set is told by any of the customary words."""
        save_set(tmp_path / "train_HR", tmp_path / "train_LR/X3", ["a"])
        save_set(tmp_path / f"{word}_HR", tmp_path / f"{word}_LR/X3", ["b"])
        save_set(tmp_path / "test_HR", tmp_path / "test_LR/X3", ["c"])
        assert_taken(find_pairs(tmp_path, 3, "train"), ["a"])
        assert_taken(find_pairs(tmp_path, 3, "valid"), ["b"])

    def test_word_within_a_word(self, tmp_path):
        """A set is not of a split because its name contains the letters."""
        save_set(tmp_path / "Trains_HR", tmp_path / "Trains_LR/X3", ["a"])
        assert not has_split(tmp_path, "train")
        assert_taken(find_pairs(tmp_path, 3, "valid"), ["a"])


class TestSets:
    """Folders of one set, or of several."""

    @pytest.mark.parametrize("folder", [".", "Flickr2K", "Flickr2K/Flickr2K_HR"])
    @pytest.mark.parametrize("split", [None, "train", "valid"])
    def test_flickr2k(self, tmp_path, folder, split):
        """Flickr2K, which has no splits, is taken whole, from any of its folders."""
        root = tmp_path / "Flickr2K"
        hr, lr = root / "Flickr2K/Flickr2K_HR", root / "Flickr2K/Flickr2K_LR_bicubic"
        for scale in (2, 3):
            save_set(hr, lr / f"X{scale}", ["000001", "000002"], scale=scale)
        assert_taken(find_pairs(root / folder, 3, split), ["000001", "000002"])
        assert not has_split(root / folder, "valid")

    def test_two_sets(self, tmp_path):
        """Two sets that may both be trained on are refused by name; one can be validated on."""
        save_div2k(tmp_path)
        save_set(tmp_path / "Flickr2K_HR", tmp_path / "Flickr2K_LR_bicubic/X3", ["000001"])
        with pytest.raises(ImageError, match=r"\(DIV2K_train_HR, Flickr2K_HR\); give"):
            find_pairs(tmp_path, 3, "train")
        assert_taken(find_pairs(tmp_path, 3, "valid"), ["0801"])

    def test_no_validation_set(self, tmp_path):
        """A set without a split is not validated on beside one that is for training."""
        for name in ("DIV2K_train", "Flickr2K"):
            save_set(tmp_path / f"{name}_HR", tmp_path / f"{name}_LR/X3", ["0001"])
        with pytest.raises(ImageError, match="no valid split, only DIV2K_train_HR, Flickr2K_HR"):
            find_pairs(tmp_path, 3, "valid")

    def test_photographs(self, tmp_path):
        """A folder of photographs, or the folder around it that unpacking made, has no splits."""
        save(tmp_path / "train/train/a.png")
        for folder in (tmp_path / "train", tmp_path / "train/train"):
            for split in (None, "train", "valid"):
                assert image_folders(folder, 3, split) == (tmp_path / "train/train", None)
            assert not has_split(folder, "train")

    def test_hidden_files(self, tmp_path):
        """What macOS leaves beside unpacked files is no photograph."""
        save(tmp_path / "set/set/a.png")
        (tmp_path / "set/._a.png").touch()
        assert [pair.name for pair in find_pairs(tmp_path / "set", 3)] == ["a"]

    def test_photographs_beside_their_folder(self, tmp_path):
        """Photographs are taken where they are, though a folder of the same name is among them."""
        root = tmp_path / "set"
        save(root / "a.png")
        save(root / "set/b.png")
        assert [pair.name for pair in find_pairs(root, 3)] == ["a"]

    def test_folder_of_sets(self, tmp_path):
        """A folder in which only its folders hold images is refused with their names."""
        save_div2k(tmp_path / "DIV2K")
        save(tmp_path / "photographs/a.png")
        (tmp_path / "empty").mkdir()
        with pytest.raises(ImageError, match=r"inside it \(DIV2K, photographs\); give one"):
            find_pairs(tmp_path, 3)

    def test_whatever_the_scale(self, tmp_path):
        """Without a scale, HR folders and photographs are found as with one, or refused as then."""
        save_div2k(tmp_path / "DIV2K", scales=(2,))
        save(tmp_path / "photographs/a.png")
        for folder, split in (("DIV2K", "train"), ("DIV2K", "valid"), ("photographs", None)):
            found = hr_folder(tmp_path / folder, split)
            assert found == image_folders(tmp_path / folder, 2, split)[0]
        for folder, message in (("DIV2K", "several sets"), (".", "no images in this folder, but")):
            with pytest.raises(ImageError, match=message):
                hr_folder(tmp_path / folder)

    def test_folder_of_lr_folders(self, tmp_path):
        """Folders of LR images are not proposed in place of photographs."""
        save_div2k(tmp_path)
        with pytest.raises(ImageError, match=r"LR_bicubic: no images in this folder \(looked"):
            find_pairs(tmp_path / "DIV2K_train_LR_bicubic", 3, "train")

    def test_several_paths(self, tmp_path):
        """Each of several folders gives its split, and a single photograph itself."""
        save_div2k(tmp_path / "DIV2K")
        save(tmp_path / "one.png")
        save(tmp_path / "photographs/a.png")
        paths = [tmp_path / name for name in ("DIV2K", "photographs", "one.png")]
        pairs = find_all_pairs(paths, 3, "train")
        assert [pair.name for pair in pairs] == ["0001", "0002", "a", "one"]


class TestMistakes:
    """Sets that do not fit together are refused, in words that name the cause."""

    @pytest.mark.parametrize("split", ["train", "valid"])
    def test_other_scales_only(self, tmp_path, split):
        """HR without LR of the scale is refused, with the scales that there are."""
        save_div2k(tmp_path, scales=(2, 4))
        with pytest.raises(
            ImageError,
            match=rf"DIV2K_{split}_HR has no LR .* only for x2 and x4; give .*_HR itself",
        ):
            find_pairs(tmp_path, 3, split)
        (pair, *_) = find_pairs(tmp_path / f"DIV2K_{split}_HR", 3, split)
        assert pair.lr_path is None

    def test_scale_by_name(self, tmp_path):
        """LR files named after another scale than their folder are refused by their scale."""
        save_set(tmp_path / "HR", tmp_path / "LR_bicubic/X3", ["a", "b"], scale=2)
        with pytest.raises(ImageError, match=r"X3: its files are for x2 by their names; give .*x3"):
            find_pairs(tmp_path, 3)

    def test_name_that_looks_like_a_scale(self, tmp_path):
        """A file that is called like a scale is paired by its name as any other."""
        save_set(tmp_path / "HR", tmp_path / "LRx3", ["box", "boxx2"], ending=False)
        assert [pair.name for pair in find_pairs(tmp_path, 3)] == ["box", "boxx2"]

    @pytest.mark.parametrize("decoded", [True, False])
    def test_scale_by_size(self, tmp_path, decoded):
        """LR files of another scale's size are refused, and the scale is told."""
        save_set(tmp_path / "HR", tmp_path / "LRx3", ["a"], scale=2, ending=False)
        save_set(tmp_path / "HR", tmp_path / "LRx3", ["b"], ending=False)
        with pytest.raises(
            ImageError, match=r"a\.png: 48 x 30 .* 1/3 of the 96 x 60 .*it fits x2: .* of x3"
        ):
            check_pairs(find_pairs(tmp_path, 3), min_lr=1, skip_bad=False, decoded=decoded)

    @pytest.mark.parametrize("decoded", [True, False])
    def test_swapped(self, tmp_path, decoded):
        """HR and LR in each other's folders are refused as swapped."""
        save_set(tmp_path / "LRx3", tmp_path / "HR", ["a", "b"], ending=False)
        with pytest.raises(ImageError, match=r"20 of .*HR/a\.png; LR is the larger: .* swapped"):
            check_pairs(find_pairs(tmp_path, 3), min_lr=1, skip_bad=False, decoded=decoded)

    def test_other_size(self, tmp_path):
        """An LR file that fits no scale is to be made again."""
        save_set(tmp_path / "HR", tmp_path / "LRx3", ["a"], ending=False)
        save(tmp_path / "LRx3/a.png", np.ascontiguousarray(HR[:17, :29]))
        with pytest.raises(ImageError, match="make the LR image again, or remove both"):
            find_pairs(tmp_path, 3)[0].load()

    @pytest.mark.parametrize("side", ["HR", "LR_bicubic/X3"])
    @pytest.mark.parametrize("split", ["train", "valid"])
    def test_unequal_counts(self, tmp_path, side, split):
        """A file without its counterpart is named, in the split that is used and no other."""
        save_div2k(tmp_path)
        save(tmp_path / f"DIV2K_train_{side}" / ("0003.png" if side == "HR" else "0003x3.png"))
        if split == "valid":
            assert_taken(find_pairs(tmp_path, 3, split), ["0801"])
            return
        with pytest.raises(ImageError, match=r": 1 without counterpart in .*: 0003(x3)?\.png\."):
            find_pairs(tmp_path, 3, split)

    def test_empty_lr_folder(self, tmp_path):
        """An LR folder without images is refused by its own name."""
        save(tmp_path / "HR/a.png")
        (tmp_path / "LRx3").mkdir()
        with pytest.raises(ImageError, match="LRx3: no images in this folder"):
            find_pairs(tmp_path, 3)
