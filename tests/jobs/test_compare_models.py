"""A float model against its integer model, found in run folders, without the command line."""

import json
import os
import shutil
from pathlib import Path

import pytest
from PIL import Image

from qsr.errors import ImageError, ModelError, StudyError, UsageError
from qsr.jobs.compare import compare_models
from qsr.jobs.evaluate import evaluate_models
from qsr.jobs.quantize import quantize_model
from qsr.jobs.run_folder import newest_run
from qsr.jobs.search_repdata import search_repdata


@pytest.fixture(scope="module")
def evaluated(run, images):
    """What a run's models score on all of its validation images."""
    float_model = str(Path(run.run_folder) / "model_fp32.tflite")
    (scores,) = evaluate_models([float_model, run.integer_model], [images / "scored"])
    return scores


@pytest.fixture(scope="module")
def drop_db(evaluated):
    """The drop of the run's chosen model on all of its validation images."""
    return evaluated.drops_db[1]


@pytest.fixture
def copied(run, tmp_path):
    """A copy of the run folder, below another current folder."""
    return Path(shutil.copytree(run.run_folder, tmp_path / "runs/copied"))


class TestWords:
    """What ``fp32``, ``int8`` and ``uint8`` stand for."""

    @pytest.mark.parametrize("word", ["int8", "uint8"])
    def test_run(self, *, run, images, evaluated, drop_db, word):
        """They are the models of the run, compared on its validation images."""
        report = compare_models("fp32", word, run=Path(run.run_folder))
        assert report.float_model == str(Path(run.run_folder) / "model_fp32.tflite")
        assert report.integer_model == run.integer_model
        assert report.images == str(images / "scored")
        fp32, integer = (evaluation.psnr_rgb_db for evaluation in evaluated.evaluations)
        assert report.float_psnr_db == pytest.approx(fp32, abs=1e-9)
        assert report.integer_psnr_db == pytest.approx(integer, abs=1e-9)
        assert report.drop_db == pytest.approx(drop_db, abs=1e-9)

    def test_newest(self, copied, drop_db, tmp_path, monkeypatch):
        """Without a run, the newest finished one below ``runs`` is taken."""
        monkeypatch.chdir(tmp_path)
        shutil.copytree(copied, "runs/newer")
        shutil.copytree(copied, "runs/unfinished")
        Path("runs/unfinished/summary.json").unlink()
        now = copied.stat().st_mtime
        os.utime(copied / "summary.json", (now, now))
        os.utime("runs/newer/summary.json", (now + 10, now + 10))
        found = newest_run()
        assert found is not None
        assert found.path == Path("runs/newer")
        report = compare_models()
        assert report.float_model == "runs/newer/model_fp32.tflite"
        assert report.drop_db == pytest.approx(drop_db, abs=1e-9)

    def test_built_in(self, tmp_path, monkeypatch, progress):
        """Without any run, they are the built-in network, quantized on the spot."""
        monkeypatch.chdir(tmp_path)
        report = compare_models(limit=3, on_progress=progress)
        assert report.float_model == "built-in xcat"
        assert report.images == "bundled photographs"
        assert len(report.comparison.images) == 3
        assert ("measure ranges", 17, 17, "") in progress.stages
        assert not list(tmp_path.iterdir())

    def test_word_and_path(self, run, network, copied):
        """A word and a path go together."""
        other = copied / "model_uint8.tflite"
        report = compare_models("fp32", str(other), run=Path(run.run_folder))
        assert report.integer_model == str(other)
        again = compare_models(str(network), "int8", run=Path(run.run_folder))
        assert again.float_model == str(network)
        assert again.drop_db == report.drop_db

    def test_two_paths(self, *, run, network, images, tmp_path, monkeypatch, drop_db):
        """Two paths need no run."""
        monkeypatch.chdir(tmp_path)
        report = compare_models(
            str(network),
            str(Path(run.run_folder) / "model_uint8.tflite"),
            images=images / "scored",
        )
        assert report.drop_db == pytest.approx(drop_db, abs=1e-9)


class TestImages:
    """What is compared on."""

    def test_limit(self, run, images):
        """At most so many images are taken, evenly spread."""
        report = compare_models(run=Path(run.run_folder), images=images / "candidates", limit=2)
        assert [image.name for image in report.comparison.images] == ["astronaut", "coffee"]

    def test_moved(self, copied, drop_db):
        """A run folder that was moved finds its models, and its validation images elsewhere."""
        report = compare_models(run=copied)
        assert report.drop_db == pytest.approx(drop_db, abs=1e-9)

    def test_from_elsewhere(self, *, network, images, tmp_path, monkeypatch, drop_db):
        """A run whose images were given from one folder finds them from any other."""
        monkeypatch.chdir(images)
        sides = {"candidates": Path("candidates"), "validation": Path("scored")}
        search_repdata(str(network), **sides, out=tmp_path / "run", workers=1)
        monkeypatch.chdir(tmp_path)
        compared = compare_models(run=tmp_path / "run")
        assert compared.drop_db == pytest.approx(drop_db, abs=1e-9)

    def test_bundled_move_along(self, copied, images):
        """The bundled photographs lie in the run folder, and are found where it is now."""
        shutil.copytree(images / "validation", copied / "photographs/validation")
        summary = json.loads((copied / "summary.json").read_text())
        summary["validation"] = "/where/it/was/photographs/validation"
        (copied / "summary.json").write_text(json.dumps(summary))
        assert compare_models(run=copied).images == str(copied / "photographs/validation")

    def test_gone(self, copied):
        """Validation images that are gone are asked for, not replaced by others."""
        summary = json.loads((copied / "summary.json").read_text())
        summary["validation"] = "/no/longer/there"
        (copied / "summary.json").write_text(json.dumps(summary))
        with pytest.raises(StudyError, match=r"/no/longer/there: .* are gone; give --images"):
            compare_models(run=copied)

    def test_exact(self, nearest_neighbour, black, tmp_path):
        """Pictures that both models get exactly right give finite means and no drop."""
        (tmp_path / "black").mkdir()
        Image.fromarray(black).save(tmp_path / "black/black.png")
        integer = tmp_path / "integer.tflite"
        quantize_model(str(nearest_neighbour), [tmp_path / "black"], integer)
        report = compare_models(str(nearest_neighbour), str(integer), images=tmp_path / "black")
        assert (report.float_psnr_db, report.integer_psnr_db, report.drop_db) == (100, 100, 0)

    def test_too_small(self, run, images, tmp_path):
        """An image within the border of the network is refused, or left out on request."""
        original = Image.open(images / "validation/coffee.png")
        original.crop((0, 0, 30, 40)).save(tmp_path / "small.png")
        original.crop((0, 0, 33, 40)).save(tmp_path / "whole.png")
        folder = Path(run.run_folder)
        with pytest.raises(ImageError, match="each side needs at least 11"):
            compare_models(run=folder, images=tmp_path)
        report = compare_models(run=folder, images=tmp_path, skip_bad_images=True)
        assert [image.name for image in report.comparison.images] == ["whole"]
        assert len(report.skipped) == 1


class TestRefused:
    """Requests that cannot be met."""

    @pytest.mark.parametrize("pair", [("uint8", "fp32"), ("fp32", "fp32"), ("int8", "int8")])
    def test_order(self, pair, monkeypatch):
        """Words in the wrong order are refused before any model is made."""
        monkeypatch.setattr("qsr.jobs.compare.load_float", None)
        with pytest.raises(UsageError, match="float model first"):
            compare_models(*pair)

    def test_limit(self):
        """No image at all is refused."""
        with pytest.raises(UsageError, match="--limit must be at least 1, not 0"):
            compare_models(limit=0)

    @pytest.mark.parametrize(
        ("content", "named"),
        [
            (None, "no finished run"),
            ("{", "not readable"),
            ("[]", "no report"),
            ("{}", "no report"),
        ],
    )
    def test_no_run(self, tmp_path, content, named):
        """A folder without the report of a search is refused."""
        if content is not None:
            (tmp_path / "summary.json").write_text(content)
        with pytest.raises(StudyError, match=named):
            compare_models(run=tmp_path)

    def test_other_network(self, run, espcn, tmp_path):
        """Models of different networks are refused."""
        (tmp_path / "espcn.tflite").write_bytes(espcn)
        with pytest.raises(ModelError, match="not the same network"):
            compare_models(str(tmp_path / "espcn.tflite"), "int8", run=Path(run.run_folder))
