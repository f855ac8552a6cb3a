"""Input that cannot be used: one clear line, an exit code, nothing made and nothing lost."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from qsr.jobs.run_folder import RunFolder


@pytest.fixture
def search(qsr, network, on_photos, tmp_path):
    """Search with other options put behind the good ones; the last of an option counts."""

    def run(*more, model=network, out=tmp_path / "run"):
        return qsr("search-repdata", model, *on_photos, "--out", out, *more)

    return run


@pytest.fixture
def bad_folder(photos, tmp_path):
    """Make a folder of three good images and a bad one, ``bad.png``, of some kind."""

    def make(kind):
        folder = tmp_path / kind
        shutil.copytree(photos / "candidates", folder)
        good = folder / "coffee.png"
        (folder / "rocket.png").unlink()
        bad = folder / "bad.png"
        match kind:
            case "empty":
                bad.write_bytes(b"")
            case "text":
                bad.write_text("no image")
            case "truncated":
                bad.write_bytes(good.read_bytes()[: good.stat().st_size // 2])
            case "tiny":
                Image.open(good).crop((0, 0, 2, 2)).save(bad)
            case "small":
                Image.open(good).crop((0, 0, 32, 60)).save(bad)
        return folder

    return make


@pytest.fixture
def mirrored(photos, tmp_path):
    """Make a folder with the mirror images of another."""

    def make(side):
        folder = tmp_path / f"mirrored {side}"
        folder.mkdir()
        for path in (photos / side).iterdir():
            ImageOps.mirror(Image.open(path)).save(folder / path.name)
        return folder

    return make


class TestImages:
    """Folders and images."""

    @pytest.mark.parametrize("side", ["--candidates", "--validation", "--confirmation"])
    @pytest.mark.parametrize("kind", ["missing", "empty", "candidates/coffee.png"])
    def test_folder(self, search, photos, tmp_path, side, kind):
        """A folder that is missing, empty or a file is named, and no run folder is left."""
        assert f"{photos / kind}: " in search(side, photos / kind).failure
        assert not (tmp_path / "run").exists()

    @pytest.mark.parametrize("kind", ["empty", "text", "truncated", "tiny", "small"])
    def test_image(self, search, bad_folder, tmp_path, kind):
        """A bad image is named, and the option that goes on without it, which does."""
        folder = bad_folder(kind)
        line = search("--candidates", folder).failure
        assert line.startswith(f"qsr: {folder / 'bad.png'}: ")
        assert "--skip-bad-images" in line
        assert (tmp_path / "run").exists() == (kind == "truncated")  # its header is good
        assert not (tmp_path / "run/study.jsonl").exists()
        said = search("--candidates", folder, "--skip-bad-images")
        assert said.code == 0
        assert "all 3 candidates" in said.out

    @pytest.mark.parametrize("command", ["quantize", "evaluate", "compare", "upscale", "train"])
    def test_every_command(self, *, qsr, network, searched, bad_folder, tmp_path, command):
        """Every command names a bad image, before it makes anything but decoded images."""
        folder = bad_folder("truncated")
        words = {
            "quantize": (network, "--repdata", folder, "-o", tmp_path / "made.tflite"),
            "evaluate": (network, "--data", folder),
            "compare": ("--run", searched, "--images", folder),
            "upscale": (network, folder, "-o", tmp_path / "made"),
            "train": ("xcat_x3", "--set", "training.lr_patch_px=8", "--data", folder),
        }[command]
        if command == "train":
            words = (*words, "--out", tmp_path / "made")
        assert qsr(command, *words).failure.startswith(f"qsr: {folder / 'bad.png'}: ")
        made = [path.name for path in tmp_path.glob("made*/*") if path.name != "decoded"]
        assert not [name for name in made if not name.startswith(".")]
        assert command == "train" or not list(tmp_path.glob("made*"))

    def test_all_bad(self, search, bad_folder):
        """When no image is left, that is said."""
        folder = bad_folder("text")
        for path in folder.glob("[!b]*"):
            path.unlink()
        line = search("--candidates", folder, "--skip-bad-images").failure
        assert "none of the 1 images can be used" in line

    def test_modes(self, search, photos, tmp_path):
        """Grey, palette, transparent and 16-bit images simply work, on both sides."""
        folder = tmp_path / "modes"
        folder.mkdir()
        colour = Image.open(photos / "candidates/coffee.png")
        for mode in ("L", "P", "RGBA"):
            colour.convert(mode).save(folder / f"{mode}.png")
        deep = np.asarray(colour.convert("L")).astype(np.uint16) * 257
        Image.fromarray(deep).save(folder / "deep.png")
        validation = Path(shutil.copytree(folder, tmp_path / "validation"))
        for path in validation.iterdir():
            ImageOps.mirror(Image.open(path)).save(path)
        assert search("--candidates", folder, "--validation", validation).code == 0

    @pytest.mark.parametrize("what", ["size", "name"])
    def test_pairs(self, search, photos, tmp_path, what):
        """LR that does not fit HR in size or name is named, whatever side it is on."""
        for side, factor in (("HR", 1), ("LRx3", 3 if what == "name" else 2)):
            (tmp_path / "set" / side).mkdir(parents=True)
            image = Image.open(photos / "validation/astronaut.png")
            image = image.resize((image.width // factor, image.height // factor))
            name = "other" if (what, side) == ("name", "LRx3") else "image"
            image.save(tmp_path / "set" / side / f"{name}.png")
        line = search("--validation", tmp_path / "set").failure
        assert "LRx3" in line
        assert "image.png" in line


class TestDivision:
    """Validation images that cannot be divided into some that choose and some that confirm."""

    def test_too_few(self, search, photos, tmp_path):
        """Two images are too few; what is needed and where to give it is said."""
        (tmp_path / "two").mkdir()
        for name in ("coffee", "rocket"):
            shutil.copy(photos / f"validation/{name}.png", tmp_path / "two")
        said = search("--validation", tmp_path / "two")
        assert said.code == 2
        assert "too few validation images" in said.failure
        assert "give more with --validation, or others with --confirmation" in said.failure

    def test_candidates(self, search, photos, tmp_path):
        """When every validation image is a candidate, by its pixels, that is said."""
        folder = tmp_path / "renamed"
        folder.mkdir()
        for number, path in enumerate(sorted((photos / "candidates").iterdir())):
            Image.open(path).save(folder / f"{number}.bmp")
        said = search("--validation", folder)
        assert said.code == 2
        assert "4 of them, such as 0, are candidates" in said.failure
        assert "found by their pixels" in said.failure

    def test_confirmation(self, search, photos, mirrored):
        """Images that confirm may come from a folder of their own, but not be known already."""
        assert search("--confirmation", mirrored("validation")).code == 0
        said = search("--confirmation", photos / "validation")
        assert said.code == 2
        assert "4 of them, such as astronaut, are candidates or chosen on too" in said.failure


class TestCluster:
    """A Dask scheduler that is not there."""

    @pytest.mark.parametrize(
        ("address", "code"), [("tcp://127.0.0.1:1", 1), ("127.0.0.1", 2), ("tcp://nowhere", 2)]
    )
    def test_unreachable(self, *, qsr, network, photos, tmp_path, address, code):
        """The address is named, in one line."""
        sides = (f"--{side}={photos / side}" for side in ("candidates", "validation"))
        out = ("--out", tmp_path / "run")
        said = qsr("search-repdata", network, *sides, *out, "--dask", address)
        assert address in said.failure
        assert "scheduler" in said.failure
        assert said.code == code


class TestModels:
    """Models that are none, or of the wrong kind."""

    @pytest.mark.parametrize("command", ["search-repdata", "quantize"])
    @pytest.mark.parametrize("kind", ["integer", "truncated", "text", "folder", "missing"])
    def test_model(self, search, qsr, *, searched, network, photos, tmp_path, command, kind):
        """A model that cannot be quantized is named, and nothing is made."""
        model = tmp_path / "model.tflite"
        match kind:
            case "integer":
                shutil.copy(searched / "model_uint8.tflite", model)
            case "truncated":
                model.write_bytes(network.read_bytes()[:30000])
            case "text":
                model.write_text("no model")
            case "folder":
                model.mkdir()
        if command == "quantize":
            out = tmp_path / "made.tflite"
            said = qsr("quantize", model, "--repdata", photos / "candidates", "-o", out)
        else:
            out = tmp_path / "made"
            said = search(model=model, out=out)
        assert said.failure.startswith(f"qsr: {model}: ")
        assert not out.exists()

    @pytest.mark.parametrize("kind", ["classifier", "other multiple", "grey", "inverted", "nan"])
    def test_no_super_resolution(self, search, wrong_networks, tmp_path, kind):
        """A network that does something else, or whose weights are NaN, is named."""
        line = search(model=wrong_networks[kind]).failure
        assert line.startswith(f"qsr: {wrong_networks[kind]}: ")
        assert not (tmp_path / "run").exists()

    def test_not_finite(self, search, wrong_networks, qsr, photos, tmp_path):
        """A value that is not finite is told with model, tensor and image, before a long search."""
        model = wrong_networks["overflow"]
        line = search(model=model).failure
        assert line.startswith(f"qsr: {model}: ")
        assert line.endswith("is not finite on the image test picture")
        words = ("quantize", model, "--repdata", photos / "candidates/coffee.png")
        line = qsr(*words, "-o", tmp_path / "made.tflite").failure
        assert line.startswith(f"qsr: {model}: ")
        assert line.endswith("is not finite on the image coffee")
        assert not (tmp_path / "made.tflite").exists()


class TestOptions:
    """Words that the command line does not know, or that do not fit together."""

    @pytest.mark.parametrize(
        ("words", "named"),
        [
            (("--scheme", "uint9"), "no scheme named 'uint9'; give one of: uint8, int8"),
            (("--reader", "other"), "'other' is not one of 'exact', 'converter'"),
            (
                ("--strategy", "best"),
                "no strategy named 'best'; give one of: linear, greedy, random, all, coverage, r",
            ),
            (
                ("--objective", "median"),
                "no objective named 'median'; give one of: mean, worst, p5",
            ),
            (("--dask", "tcp://127.0.0.1:1"), "--workers counts processes on this machine"),
            (("--workers", "0"), "--workers must be at least 1, not 0"),
            (("--workers", "many"), "'--workers'"),
            (("--candidate", "x"), "No such option: --candidate"),
            (("too", "many"), "too many"),
        ],
    )
    def test_search(self, search, tmp_path, words, named):
        """What is unknown is named, in one line, with exit code 2."""
        said = search(*words)
        assert named in said.failure
        assert said.code == 2
        assert not (tmp_path / "run").exists()

    @pytest.mark.parametrize("side", ["--candidates", "--validation"])
    def test_one_side(self, qsr, network, photos, side):
        """One of the two folders is not enough."""
        said = qsr("search-repdata", network, side, photos / "candidates")
        assert said.failure == "qsr: give both --candidates and --validation, or neither"
        assert said.code == 2

    def test_confirmation_alone(self, qsr, network, photos):
        """Confirmation images need the others."""
        said = qsr("search-repdata", network, "--confirmation", photos / "candidates")
        assert said.failure == "qsr: give --candidates and --validation with --confirmation"
        assert said.code == 2

    @pytest.mark.parametrize(
        ("words", "named"),
        [
            (("serach-repdata",), "No such command 'serach-repdata'"),
            (("--quiet",), "No such option: --quiet (see qsr --help)"),
            (("evaluate",), "Missing argument 'models' (see qsr evaluate --help)"),
            (("upscale", "xcat", "a.png", "--threads", "0"), "'--threads'"),
            (("train", "no_recipe", "--data", "."), "no recipe named 'no_recipe'"),
            (("compare", "--limit", "0"), "--limit must be at least 1"),
            (("evaluate", "bicubic", "--scale", "0"), "--scale must be 1 to 16"),
        ],
    )
    def test_others(self, qsr, words, named):
        """The same for the other commands."""
        said = qsr(*words)
        assert named in said.failure
        assert said.code == 2

    def test_nothing(self, qsr):
        """Without words, help is shown."""
        said = qsr()
        assert (said.code, said.err) == (0, "")
        assert "search-repdata" in said.out


class TestFolders:
    """Places that cannot be written to, or are somebody else's."""

    @pytest.fixture
    def contents(self):
        """Read every file below a folder."""
        return lambda folder: {
            path: path.read_bytes() for path in folder.rglob("*.*") if path.is_file()
        }

    def test_foreign(self, search, tmp_path, contents):
        """A folder of other things is not touched."""
        (tmp_path / "run").mkdir()
        (tmp_path / "run/model_fp32.tflite").write_bytes(b"mine")
        before = contents(tmp_path)
        assert "not empty, and no run of qsr" in search().failure
        assert contents(tmp_path) == before

    @pytest.mark.parametrize(
        ("words", "named"),
        [
            (("--scheme", "int8"), "other scheme"),
            (("--reader", "converter"), "reader: exact there, converter here"),
        ],
    )
    def test_another_study(self, search, *, searched, contents, words, named):
        """A run of other work is told from this one, and not touched."""
        before = contents(searched)
        line = search(*words).failure
        assert f"{searched / 'study.jsonl'}: belongs to another study" in line
        assert named in line
        assert contents(searched) == before

    @pytest.mark.parametrize("side", ["candidates", "validation"])
    def test_other_images(self, search, *, searched, mirrored, contents, side):
        """A run on other images is told from this one, and its results are not touched."""
        results = ("study.jsonl", "summary.json", "model_uint8.tflite", "ranges_chosen.json")
        before = contents(searched)
        line = search(f"--{side}", mirrored(side)).failure
        assert f"{searched / 'study.jsonl'}: belongs to another study" in line
        assert f"other {side}" in line
        after = contents(searched)
        assert all(before[searched / name] == after[searched / name] for name in results)

    def test_another_model(self, search, searched, xcat, contents, tmp_path):
        """So is the run of another model, whose float model is not replaced."""
        before = contents(searched)
        (tmp_path / "other.tflite").write_bytes(xcat)
        assert "(other model)" in search(model=tmp_path / "other.tflite").failure
        assert contents(searched) == before

    def test_two_at_once(self, search, tmp_path):
        """A second search in the same folder is told to wait, before it has done anything."""
        with RunFolder(tmp_path / "run").claimed():
            said = search()
            assert "another search is working in it; wait for it" in said.failure
            assert len(said.err.splitlines()) == 1

    @pytest.mark.parametrize("out", ["missing/made.tflite", "folder.tflite", "made.onnx"])
    def test_quantize(self, qsr, network, photos, tmp_path, out):
        """A model cannot be written into a missing folder, onto a folder, or as something else."""
        (tmp_path / "folder.tflite").mkdir()
        words = ("quantize", network, "--repdata", photos / "candidates", "-o", tmp_path / out)
        said = qsr(*words)
        assert said.failure.startswith(f"qsr: {tmp_path / out}: ")
        assert len(said.err.splitlines()) == 1

    @pytest.mark.parametrize("command", ["search-repdata", "upscale"])
    def test_a_file(self, search, qsr, network, photos, command):
        """A file in the place of a folder is named."""
        photo = photos / "candidates/coffee.png"
        if command == "upscale":
            said = qsr("upscale", network, photo, "-o", photo)
        else:
            said = search(out=photo)
        assert said.failure.startswith(f"qsr: {photo}: cannot be ")


@pytest.fixture(scope="module")
def wrong_networks(tmp_path_factory, trained_xcat_keras):
    """Networks that must be refused, by what is wrong with them."""
    import tensorflow as tf
    import tf_keras

    from qsr.tflite.convert import convert_keras

    def enlarged(picture):
        return tf.nn.depth_to_space(tf.concat([picture] * 9, axis=-1), 3)

    def overflowing(picture):
        return tf.minimum(enlarged(picture), tf.exp(picture[:, :1, :1] * 1e4 - 7e3) + 1)

    functions = {
        "classifier": lambda picture: tf.reduce_mean(picture, axis=(1, 2)),
        "other multiple": lambda picture: tf.image.resize(picture, (50, 50)),
        "grey": lambda picture: enlarged(picture)[..., :1],
        "inverted": lambda picture: 1 - enlarged(picture),
        "overflow": overflowing,
    }
    folder = tmp_path_factory.mktemp("wrong")
    paths = {}
    for kind, function in functions.items():
        picture = tf_keras.Input((20, 20, 3), batch_size=1)
        paths[kind] = folder / f"{kind.replace(' ', '_')}.tflite"
        paths[kind].write_bytes(convert_keras(tf_keras.Model(picture, function(picture))))
    spoilt = tf_keras.models.clone_model(trained_xcat_keras)
    weights = trained_xcat_keras.get_weights()
    weights[0] = np.where(weights[0] == weights[0].max(), np.nan, weights[0])
    spoilt.set_weights(weights)
    paths["nan"] = folder / "nan.keras"
    spoilt.save(paths["nan"])
    return paths
