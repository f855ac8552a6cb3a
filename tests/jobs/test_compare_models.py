"""A float model against its integer model, found in run folders, without the command line."""

import csv
import json
import math
import os
import shutil
from io import StringIO
from pathlib import Path

import pytest
from PIL import Image

from qsr.errors import ImageError, ModelError, StudyError, UsageError
from qsr.jobs import compare as compare_module
from qsr.jobs.compare import compare_models
from qsr.jobs.evaluate import evaluate_models
from qsr.jobs.quantize import quantize_model
from qsr.jobs.refinement import Refining
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
        report = compare_models("fp32", word, run=Path(run.run_folder), workers=1)
        assert report.reference == str(Path(run.run_folder) / "model_fp32.tflite")
        assert report.tested == run.integer_model
        assert report.images == str(images / "scored")
        fp32, integer = (evaluation.psnr_rgb_db for evaluation in evaluated.evaluations)
        assert report.reference_psnr_db == pytest.approx(fp32, abs=1e-9)
        assert report.tested_psnr_db == pytest.approx(integer, abs=1e-9)
        assert report.drop_db == pytest.approx(drop_db, abs=1e-9)
        assert report.comparison.causes.total_db == pytest.approx(drop_db, abs=1e-9)

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
        report = compare_models(workers=1)
        assert report.reference == "runs/newer/model_fp32.tflite"
        assert report.drop_db == pytest.approx(drop_db, abs=1e-9)

    def test_built_in(self, tmp_path, monkeypatch, progress):
        """Without any run, they are the built-in network, quantized on the spot."""
        monkeypatch.chdir(tmp_path)
        report = compare_models(limit=3, workers=1, on_progress=progress)
        assert report.reference == "built-in xcat"
        assert report.tested == "built-in xcat in int8, from 17 bundled images"
        assert report.images == "bundled photographs"
        assert len(report.comparison.pictures) == 3
        for stage, total in (("measure ranges", 17), ("check images", 3), ("compare", 3)):
            assert (stage, total, total, "") in progress.stages
        assert not list(tmp_path.iterdir())

    def test_word_and_path(self, run, network, copied):
        """A word and a path go together."""
        other = copied / "model_uint8.tflite"
        report = compare_models("fp32", str(other), run=Path(run.run_folder), workers=1)
        assert report.tested == str(other)
        again = compare_models(str(network), "int8", run=Path(run.run_folder), workers=1)
        assert again.reference == str(network)
        assert again.drop_db == report.drop_db

    def test_two_paths(self, *, run, network, images, tmp_path, monkeypatch, drop_db):
        """Two paths need no run."""
        monkeypatch.chdir(tmp_path)
        report = compare_models(
            str(network),
            str(Path(run.run_folder) / "model_uint8.tflite"),
            images=images / "scored",
            workers=1,
        )
        assert report.drop_db == pytest.approx(drop_db, abs=1e-9)


class TestImages:
    """What is compared on."""

    def test_limit(self, run, images):
        """At most so many images are taken, evenly spread."""
        folder = Path(run.run_folder)
        report = compare_models(run=folder, images=images / "candidates", limit=2, workers=1)
        assert [one.name for one in report.comparison.pictures] == ["astronaut", "coffee"]

    def test_moved(self, copied, drop_db):
        """A run folder that was moved finds its models, and its validation images elsewhere."""
        report = compare_models(run=copied, workers=1)
        assert report.drop_db == pytest.approx(drop_db, abs=1e-9)

    def test_from_elsewhere(self, *, network, images, tmp_path, monkeypatch, drop_db):
        """A run whose images were given from one folder finds them from any other."""
        monkeypatch.chdir(images)
        sides = {"candidates": Path("candidates"), "validation": Path("scored")}
        search_repdata(str(network), **sides, out=tmp_path / "run", refining=Refining(), workers=1)
        monkeypatch.chdir(tmp_path)
        compared = compare_models(run=tmp_path / "run", workers=1)
        assert compared.drop_db == pytest.approx(drop_db, abs=1e-9)

    def test_bundled_move_along(self, copied, images):
        """The bundled photographs lie in the run folder, and are found where it is now."""
        shutil.copytree(images / "validation", copied / "photographs/validation")
        summary = json.loads((copied / "summary.json").read_text())
        summary["validation"] = "/where/it/was/photographs/validation"
        (copied / "summary.json").write_text(json.dumps(summary))
        report = compare_models(run=copied, workers=1)
        assert report.images == str(copied / "photographs/validation")

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
        report = compare_models(
            str(nearest_neighbour), str(integer), images=tmp_path / "black", workers=1
        )
        assert (report.reference_psnr_db, report.tested_psnr_db, report.drop_db) == (100, 100, 0)
        assert report.diagnosis.cause == "none"

    def test_too_small(self, run, images, tmp_path):
        """An image within the border of the network is refused, or left out on request."""
        original = Image.open(images / "validation/coffee.png")
        original.crop((0, 0, 30, 40)).save(tmp_path / "small.png")
        original.crop((0, 0, 33, 40)).save(tmp_path / "whole.png")
        folder = Path(run.run_folder)
        with pytest.raises(ImageError, match="each side needs at least 11"):
            compare_models(run=folder, images=tmp_path)
        page = tmp_path / "page.html"
        report = compare_models(
            run=folder, images=tmp_path, skip_bad_images=True, workers=1, page=page
        )
        assert [one.name for one in report.comparison.pictures] == ["whole"]
        assert len(report.skipped) == 1
        assert page.stat().st_size > 10_000  # the smallest picture can be shown, too


class TestWorkers:
    """Any number of processes."""

    def test_same(self, run, progress):
        """The result is the same record, however many processes measured it."""
        folder = Path(run.run_folder)
        alone = compare_models(run=folder, workers=1)
        together = compare_models(run=folder, workers=2, on_progress=progress)
        assert together == alone
        assert [stage[1] for stage in progress.stages if stage[0] == "compare"] == [1, 2, 3, 4, 5]

    @pytest.mark.parametrize("workers", [0, -1])
    def test_none(self, workers):
        """No process at all is refused."""
        with pytest.raises(UsageError, match="--workers must be at least 1"):
            compare_models(workers=workers)


class TestTwoIntegerModels:
    """A reference that is an integer model, too."""

    def test_two_schemes(self, network, images, tmp_path):
        """Both are measured as they are; the drop is what lies between them."""
        models = []
        for name, candidate in (("one", "astronaut"), ("other", "rocket")):
            model = tmp_path / f"{name}.tflite"
            quantize_model(str(network), [images / f"candidates/{candidate}.png"], model)
            models.append(str(model))
        report = compare_models(*models, images=images / "scored", workers=1)
        (scores,) = evaluate_models(models, [images / "scored"])
        first, second = (evaluation.psnr_rgb_db for evaluation in scores.evaluations)
        assert report.reference_psnr_db == pytest.approx(first, abs=1e-9)
        assert report.drop_db == pytest.approx(first - second, abs=1e-9)
        assert report.comparison.layers[0].accumulated.mse == 0
        same = compare_models(models[0], models[0], images=images / "scored", workers=1)
        assert same.drop_db == 0
        assert {layer.accumulated.sqnr_db for layer in same.comparison.layers} == {math.inf}


@pytest.fixture
def products(tmp_path):
    """What can be written, as arguments."""
    return {
        "page": tmp_path / "page.html",
        "csv": tmp_path / "layers.csv",
        "overlays": tmp_path / "made/overlays",
    }


class TestFiles:
    """Pages, tables and overlays."""

    def test_written(self, run, products):
        """Each holds what the report holds; nothing else is left beside them."""
        report = compare_models(
            run=Path(run.run_folder), limit=2, workers=1, command="qsr compare -x", **products
        )
        text = products["page"].read_text(encoding="utf-8")
        for said in (report.diagnosis.costs_most, "qsr compare -x", "<svg", "data:image/"):
            assert said in text
        rows = list(csv.DictReader(StringIO(products["csv"].read_text(encoding="utf-8"))))
        layers = report.comparison.layers
        assert [row["name"] for row in rows] == [layer.name for layer in layers]
        found = [json.loads(path.read_text()) for path in products["overlays"].iterdir()]
        assert len({one["name"] for one in found}) == len(found) >= 4
        for one in found:
            assert {layer.tested_name for layer in layers} & one["results"].keys()
        beside = {path.name for path in products["csv"].parent.iterdir()}
        assert beside == {"page.html", "layers.csv", "made"}

    def test_worst_pictures_first(self, run, products, monkeypatch):
        """A page shows the pictures that lose most, the worst first, and no more than so many."""
        monkeypatch.setattr(compare_module, "SHOWN_PICTURES", 2)
        shown = []
        real = compare_module.comparison_page

        def page(*arguments, panels):
            shown.extend(panels)
            return real(*arguments, panels=panels)

        monkeypatch.setattr(compare_module, "comparison_page", page)
        report = compare_models(run=Path(run.run_folder), workers=1, page=products["page"])
        by_drop = sorted(report.comparison.pictures, key=lambda picture: -picture.drop_db)
        assert shown == [picture.name for picture in by_drop[:2]]

    @pytest.mark.parametrize(
        ("what", "name", "named"),
        [
            ("page", "page.htm", r"ends in \.html"),
            ("page", "missing/page.html", "no folder"),
            ("page", "folder.html", "a folder"),
            ("page", "file/page.html", "is no folder"),
            ("csv", "layers.txt", r"ends in \.csv"),
            ("csv", "missing/layers.csv", "no folder"),
            ("csv", "folder.csv", "a folder"),
            ("csv", "file/layers.csv", "is no folder"),
            ("overlays", "file", "a file"),
            ("overlays", "file/overlays", "is no folder"),
        ],
    )
    def test_refused_early(self, *, tmp_path, monkeypatch, what, name, named):
        """What cannot be written is told, with its path, before any model is looked for."""
        monkeypatch.setattr(compare_module, "found_models", None)
        for folder in ("folder.html", "folder.csv"):
            (tmp_path / folder).mkdir()
        (tmp_path / "file").touch()
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(UsageError, match=named) as caught:
            compare_models(**{what: tmp_path / name})
        assert str(caught.value).startswith(f"{tmp_path / name}: ")
        assert "\n" not in str(caught.value)
        assert sorted(tmp_path.rglob("*")) == before

    def test_whole_or_not_at_all(self, run, products, monkeypatch):
        """A file that cannot be finished leaves the one that was there, and the result is kept."""
        for path in (products["page"], products["csv"]):
            path.write_text("as it was", encoding="utf-8")
        write_text = Path.write_text

        def half(path, text, **options):
            write_text(path, text[: len(text) // 2], **options)
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(Path, "write_text", half)
        folder = Path(run.run_folder)
        for what in ("page", "csv"):
            report = compare_models(run=folder, limit=1, workers=1, **{what: products[what]})
            (said,) = report.unwritten
            assert "cannot be written (No space left on device)" in said
            assert report.comparison.layers
            assert products[what].read_text(encoding="utf-8") == "as it was"
        assert sorted(products["csv"].parent.iterdir()) == [products["csv"], products["page"]]


class TestRefused:
    """Requests that cannot be met."""

    @pytest.mark.parametrize("pair", [("uint8", "fp32"), ("fp32", "fp32"), ("int8", "int8")])
    def test_order(self, pair, monkeypatch):
        """Words in the wrong order are refused before any model is made."""
        monkeypatch.setattr("qsr.jobs.compare.found_models", None)
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

    def test_wrong_kinds(self, run, network, tmp_path):
        """Two float models, models in the wrong order, and damaged ones are refused by name."""
        integer = run.integer_model
        damaged = tmp_path / "damaged.tflite"
        damaged.write_bytes(Path(integer).read_bytes()[:5000])
        for models, named in (
            ((network, network), "both compute in float"),
            ((integer, network), "swap them"),
            ((network, damaged), f"^{damaged}: "),
            ((damaged, integer), f"^{damaged}: "),
        ):
            with pytest.raises(ModelError, match=named):
                compare_models(*map(str, models), run=Path(run.run_folder))
