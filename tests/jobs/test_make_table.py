"""Tables of the paper beside ours, without the command line."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

import qsr.data.pairs
import qsr.jobs.table
from qsr.errors import ImageError, ModelError, UsageError
from qsr.jobs.evaluate import evaluate_models
from qsr.jobs.progress import silent
from qsr.jobs.quantize import quantize_model
from qsr.jobs.records import plain
from qsr.jobs.table import make_table
from qsr.jobs.table_images import quantization_images
from qsr.jobs.table_training import RowTraining
from qsr.metrics import challenge_score
from qsr.models.zoo import build, pretrained_path, save
from qsr.tables.paper import paper_table
from qsr.training.recipe_files import load_recipe

STRAIGHT = "xcat_21_7_m2_straight_x3"


@pytest.fixture(scope="module")
def options(images):
    """How every table here is made."""
    return {
        "candidates": images / "candidates",
        "choosing": images / "scored",
        "workers": 1,
        "rounds": 1,
    }


@pytest.fixture(scope="module")
def untrained():
    """Write fresh weights of a recipe's network where its training would: ``(runs, recipe)``."""
    import tf_keras

    def write(runs, recipe, of=None):
        loaded = load_recipe(of or recipe)
        tf_keras.utils.set_random_seed(3)
        (runs / recipe).mkdir(parents=True)
        save(build(loaded.network, loaded.model), runs / recipe / "model.keras")

    return write


@pytest.fixture(scope="module")
def table_3(tmp_path_factory, untrained, images, options):
    """Table 3 with the weights of two rows: those that ship, and fresh ones."""
    runs = tmp_path_factory.mktemp("runs")
    untrained(runs, STRAIGHT)
    return make_table(3, [images / "validation"], runs=runs, **options)


@pytest.fixture(scope="module")
def table_4(tmp_path_factory, untrained, images, options):
    """Table 4: weights that ship, an ESPCN that gives no picture yet, an unfinished FSRCNN."""
    runs = tmp_path_factory.mktemp("runs")
    untrained(runs, "espcn_x3")
    (runs / "fsrcnn_x3").mkdir()
    (runs / "fsrcnn_x3/recipe.json").write_text("{}")
    return make_table(4, [images / "validation"], runs=runs, **options)


@pytest.fixture(scope="module")
def table_2(table_4, images, options, lr_and_hr, tmp_path_factory):
    """Table 2 on two sets; one as DIV2K lies on disk, with a split that is not to be scored."""
    root = tmp_path_factory.mktemp("sets")
    shutil.copytree(images / "validation", root / "set5")
    for split, source in (("valid", "validation"), ("train", "candidates")):
        shutil.copytree(images / source, root / f"DIV2K/DIV2K_{split}_HR")
        small = root / f"DIV2K/DIV2K_{split}_LR_bicubic/X3"
        small.mkdir(parents=True)
        for path in (images / source).iterdir():
            Image.fromarray(lr_and_hr(path)[0]).save(small / f"{path.stem}x3.png")
    return make_table(2, [root / "set5", root / "DIV2K"], runs=Path(table_4.runs), **options)


def row(report, name):
    """Return the row of that name."""
    (found,) = (one for one in report.rows if one.paper.name == name)
    return found


def integer_model(report, recipe):
    """Return the integer model that was searched for a row."""
    (path,) = Path(report.runs).glob(f"quantized/{recipe}-*/model_uint8.tflite")
    return path


class TestRows:
    """What is in a row, and what is not."""

    def test_paper(self, table_3):
        """The rows are the paper's, in its order, with its numbers."""
        assert tuple(one.paper for one in table_3.rows) == paper_table(3).rows

    def test_origin(self, table_3):
        """Weights come from the folder of trainings, or ship; else the row is not trained."""
        cross, straight, other, *_ = (one.ours for one in table_3.rows)
        assert (cross.origin, cross.weights) == ("shipped", str(pretrained_path("xcat")))
        assert cross.steps > 1000
        assert straight.origin == "run"
        assert straight.weights == str(Path(table_3.runs) / STRAIGHT / "model.keras")
        assert straight.steps is None
        assert (other.origin, other.weights, other.missing) == (None, None, "not trained")
        assert len(table_3.untrained) == 10

    def test_not_filled_in(self, table_3):
        """A row that is not trained has neither scores nor a time; the paper's are not put in."""
        for one in table_3.rows[2:]:
            assert one.ours.scores == {}
            assert one.ours.latency is None
            assert one.ours.representative_images == ()

    def test_parameters(self, table_3):
        """Parameters are of the network of the row, trained or not (formula in xcat.md)."""
        counts = {one.paper.name: one.ours.parameters for one in table_3.rows}
        ends = 784 + 7084 + 6831
        for name, blocks in {"21/7, m=2, cross": 2, "21/7, m=12, straight": 12}.items():
            assert counts[name].trained == ends + blocks * (462 + 448)
            assert counts[name].frozen == 81

    def test_scores(self, table_3, images):
        """PSNR is what ``qsr evaluate`` gives the same models on the same images."""
        for name, recipe in (("21/7, m=2, cross", "xcat_x3"), ("21/7, m=2, straight", STRAIGHT)):
            ours = row(table_3, name).ours
            (on_set,) = evaluate_models(
                [ours.weights, str(integer_model(table_3, recipe))], [images / "validation"]
            )
            scores = ours.scores["validation"]
            for psnr, expected in zip((scores.fp32, scores.uint8), on_set.evaluations, strict=True):
                assert psnr.rgb_db == pytest.approx(expected.psnr_rgb_db, abs=1e-3)
                assert psnr.y_db == pytest.approx(expected.psnr_y_db, abs=1e-3)
            assert scores.drop_rgb_db == pytest.approx(on_set.drops_db[1], abs=1e-3)
            assert scores.naive_uint8 is None

    def test_challenge_score(self, table_3):
        """The score is that of our UINT8 PSNR and our time."""
        ours = row(table_3, "21/7, m=2, cross").ours
        scores = ours.scores["validation"]
        expected = challenge_score(scores.uint8.rgb_db, ours.latency.median_ms)
        assert scores.challenge_score == pytest.approx(expected)

    def test_representative(self, table_3, images):
        """Representative images are among the candidates."""
        names = {path.stem for path in (images / "candidates").iterdir()}
        chosen = row(table_3, "21/7, m=2, cross").ours.representative_images
        assert chosen
        assert set(chosen) <= names

    def test_seen(self, table_3):
        """Images that chose and are scored on too are named."""
        (one,) = table_3.sets
        assert (one.name, one.images) == ("validation", 3)
        assert sorted(one.seen) == ["astronaut", "chelsea", "coffee"]

    def test_json(self, table_3):
        """The whole report is JSON, missing cells are null."""
        text = json.dumps(plain(table_3), allow_nan=False)
        assert json.loads(text)["rows"][2]["ours"]["latency"] is None


class TestNaive:
    """Table 4: the integer model as the converter makes it."""

    def test_naive(self, table_4, images, tmp_path):
        """It is what ``qsr quantize`` makes of all candidates as the converter does."""
        weights = row(table_4, "XCAT").ours.weights
        out = tmp_path / "naive.tflite"
        quantize_model(weights, [images / "candidates"], out, pin_io=False, reader="converter")
        (on_set,) = evaluate_models([weights, str(out)], [images / "validation"])
        scores = row(table_4, "XCAT").ours.scores["validation"]
        assert scores.naive_uint8.rgb_db == pytest.approx(on_set.evaluations[1].psnr_rgb_db)
        assert scores.naive_drop_rgb_db == pytest.approx(on_set.drops_db[1], abs=1e-3)
        assert scores.naive_drop_rgb_db > scores.drop_rgb_db

    def test_no_picture_yet(self, table_4):
        """A network that gives no picture is missing, and says why; the others are measured."""
        assert "does not give a picture back" in row(table_4, "ESPCN").ours.missing
        assert row(table_4, "ESPCN").ours.scores == {}
        assert row(table_4, "XCAT").ours.scores

    def test_unfinished(self, table_4):
        """A training that is not finished is told apart from none."""
        ours = row(table_4, "FSRCNN").ours
        assert ours.missing == f"its training in {Path(table_4.runs) / 'fsrcnn_x3'} is not finished"
        assert (ours.weights, ours.scores) == (None, {})


class TestSets:
    """Table 2: several sets, known by their folders' names."""

    def test_sets(self, table_2):
        """Folders are known whatever their case; of DIV2K the validation split is scored."""
        assert [(one.name, one.images) for one in table_2.sets] == [("Set5", 3), ("DIV2K", 3)]

    def test_bicubic(self, table_2, images):
        """Bicubic interpolation is a row, scored as ``qsr evaluate`` does, and has no UINT8."""
        ours = row(table_2, "Bicubic").ours
        (on_set,) = evaluate_models(["bicubic"], [images / "validation"])
        assert ours.origin == "formula"
        assert ours.missing == ""
        for scores in ours.scores.values():
            assert scores.fp32.y_db == pytest.approx(on_set.evaluations[0].psnr_y_db)
            assert scores.uint8 is None
        assert "Bicubic" not in table_2.untrained

    def test_kept(self, table_4, images, options, monkeypatch):
        """What was searched or scored once is not again, and is the same."""
        monkeypatch.setattr("qsr.jobs.table_scores._psnr", None)
        monkeypatch.setattr("qsr.jobs.table_quantized.search_repdata", None)
        again = make_table(4, [images / "validation"], runs=Path(table_4.runs), **options)
        for one, other in zip(table_4.rows, again.rows, strict=True):
            assert one.ours.scores.keys() == other.ours.scores.keys()
            for name, scores in one.ours.scores.items():
                found = other.ours.scores[name]
                assert (found.fp32, found.uint8) == (scores.fp32, scores.uint8)
                assert found.naive_uint8 == scores.naive_uint8


def test_looked_at_once(table_3, images, options, monkeypatch):
    """If all rows are quantized already, each image that has a part in it is decoded once."""
    read = []
    original = qsr.data.pairs.read_rgb
    monkeypatch.setattr(
        "qsr.data.pairs.read_rgb", lambda path: (read.append(path), original(path))[1]
    )
    make_table(3, [images / "validation"], runs=Path(table_3.runs), **options)
    there = [path for name in ("candidates", "scored") for path in (images / name).iterdir()]
    assert sorted(path for path in read if path in there) == sorted(there)


def test_bad_candidate(images, options, tmp_path):
    """A torn candidate is an error that names it, or is left out of what had a part."""
    torn = tmp_path / "candidates"
    shutil.copytree(images / "candidates", torn)
    (torn / "coffee.png").write_bytes((torn / "coffee.png").read_bytes()[:2000])
    found = [torn, options["choosing"], 3]
    with pytest.raises(ImageError, match=r"coffee\.png: .*--skip-bad-images"):
        quantization_images(*found, skip_bad_images=False, on_progress=silent)
    whole = quantization_images(*found, skip_bad_images=True, on_progress=silent)
    assert [one.name for one in whole.candidates] == [
        "astronaut",
        "chelsea",
        "motorcycle",
        "rocket",
    ]
    assert len(whole.hashes) == 4 + 5


def test_other_candidates(table_4, images, options, tmp_path):
    """Other images in the folder of candidates are searched anew, beside what was found before."""
    runs = tmp_path / "runs"
    shutil.copytree(table_4.runs, runs)
    candidates = tmp_path / "candidates"
    shutil.copytree(images / "candidates", candidates)
    (candidates / "coffee.png").unlink()
    others = options | {"candidates": candidates}
    report = make_table(4, [images / "validation"], runs=runs, **others)
    assert "coffee" not in row(report, "XCAT").ours.representative_images
    assert len(list(runs.glob("quantized/xcat_x3-*/summary.json"))) == 2


class TestBadInput:
    """What is said about wrong arguments and wrong weights."""

    def test_weights_of_another_network(self, untrained, images, options, tmp_path):
        """Weights of another network are an error that names the row, the file and the networks."""
        untrained(tmp_path, "xcat_e_x3", of="espcn_x3")
        with pytest.raises(
            ModelError, match=r"row E \(xcat_e_x3\): .*xcat_e_x3/model\.keras: .* espcn, .* xcat"
        ):
            make_table(1, [images / "validation"], runs=tmp_path, **options)

    def test_weights_of_another_row(self, untrained, images, options, tmp_path):
        """So are weights of another variant."""
        untrained(tmp_path, "xcat_b_x3", of="xcat_d_x3")
        with pytest.raises(ModelError, match=r"row B \(xcat_b_x3\): .*block1"):
            make_table(1, [images / "validation"], runs=tmp_path, **options)

    def test_training_of_another_row(self, untrained, images, options, tmp_path):
        """A folder that says it holds another recipe's training is an error that names both."""
        untrained(tmp_path, "xcat_a_x3", of="xcat_x3")
        recipe = {"recipe": {"name": "xcat_x3"}, "first stage": 1}
        (tmp_path / "xcat_a_x3/recipe.json").write_text(json.dumps(recipe))
        with pytest.raises(ModelError, match=r"row A .*training of xcat_x3, not of xcat_a_x3"):
            make_table(1, [images / "validation"], runs=tmp_path, **options)

    def test_no_data(self, tmp_path):
        """Images to score on, or to train on, are asked for, and nothing is written before."""
        with pytest.raises(UsageError, match="--data, or to train on with --train"):
            make_table(1, runs=tmp_path / "runs")
        assert not (tmp_path / "runs").exists()

    def test_unknown(self, images):
        """There are four tables."""
        with pytest.raises(UsageError, match="no table 7"):
            make_table(7, [images / "validation"])

    @pytest.mark.parametrize("which", ["data", "candidates", "choosing"])
    @pytest.mark.parametrize(
        ("folder", "message"),
        [("gone", "gone: no such file or folder"), (".", "no images in this folder")],
    )
    def test_no_images(self, images, tmp_path, which, folder, message):
        """A folder that is missing, or without images, is named before anything is made."""
        folders = {"data": images / "scored"}
        folders |= {"candidates": folders["data"], "choosing": folders["data"]}
        folders[which] = tmp_path / folder
        with pytest.raises(ImageError, match=message):
            make_table(1, [folders.pop("data")], runs=tmp_path / "runs", **folders)
        assert not (tmp_path / "runs").exists()

    def test_half_of_the_searching(self, images):
        """Candidates without images that choose are an error."""
        with pytest.raises(UsageError, match="both --candidates and --choosing"):
            make_table(1, [images / "validation"], candidates=images / "candidates")

    @pytest.mark.parametrize("wrong", [{"threads": 0}, {"rounds": 0}, {"workers": 0}])
    def test_too_few(self, images, wrong):
        """Threads, rounds and workers are at least 1."""
        with pytest.raises(UsageError, match="at least 1"):
            make_table(1, [images / "validation"], **wrong)

    def test_training_without_images(self, images):
        """Options about training without images to train on are an error."""
        with pytest.raises(UsageError, match="--steps and --set are about training"):
            make_table(1, [images / "validation"], training=RowTraining(data=(), steps=100))


def test_training_alone(images, tmp_path, monkeypatch):
    """Without images to score on, rows are trained, and one that broke down says why."""
    asked = []

    def train(rows, given, **_):
        assert given is training
        asked.extend(one.recipe for one in rows)
        return {"espcn_x3": "the loss is nan"}

    training = RowTraining(data=(images / "candidates",))
    monkeypatch.setattr(qsr.jobs.table, "train_rows", train)
    report = make_table(4, training=training, with_claims=True, runs=tmp_path)
    assert asked[:5] == ["fsrcnn_x3", "espcn_x3", "xlsr_x3", "abpn_x3", "xcat_x3"]
    assert asked[5:] == [
        "xcat_without_intensity_x3",
        "xcat_without_clipped_relu_x3",
        "xcat_without_frozen_anchor_x3",
    ]
    assert report.sets == ()
    espcn = row(report, "ESPCN").ours
    assert espcn.missing == "its training broke down: the loss is nan"
    assert (espcn.weights, espcn.origin) == (None, None)  # those that ship are not taken instead
    assert row(report, "XCAT").ours.latency is None
