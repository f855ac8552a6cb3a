"""The search for representative images, without the command line."""

import hashlib
import json
import re
import shutil
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from statistics import mean

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio

from qsr.errors import ModelError, StudyError, UsageError
from qsr.images import downscale_bicubic
from qsr.jobs.evaluate import evaluate_models
from qsr.jobs.search_repdata import search_repdata


def files(folder):
    """Return a hash of every file below a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in Path(folder).rglob("*")
        if path.is_file()
    }


def trials(folder):
    """Return the trials of a journal: the images of each, and its score."""
    lines = (Path(folder) / "study.jsonl").read_text().splitlines()[1:]
    return [(tuple(entry["images"]), entry["score"]) for entry in map(json.loads, lines)]


@pytest.fixture
def arguments(network, images, tmp_path):
    """What the finished run was made with, but for a folder of its own."""
    return {
        "model": str(network),
        "candidates": images / "candidates",
        "validation": images / "validation",
        "out": tmp_path / "run",
        "workers": 1,
    }


@pytest.fixture
def without_biases(xcat, tmp_path):
    """A network without biases: on black, every tensor stays 0."""
    path = tmp_path / "without_biases.tflite"
    path.write_bytes(xcat)
    return path


@pytest.fixture
def with_black(images, black, tmp_path):
    """The candidates and a black picture."""
    folder = tmp_path / "with_black"
    shutil.copytree(images / "candidates", folder)
    Image.fromarray(black).save(folder / "black.png")
    return folder


class TestReport:
    """What a finished search says and leaves behind."""

    def test_every_candidate(self, run):
        """Each candidate alone and all together are tried once."""
        names = ("astronaut", "chelsea", "coffee", "motorcycle", "rocket")
        tried = [images for images, _ in trials(run.run_folder)]
        assert sorted(tried) == sorted([*((name,) for name in names), names])
        assert (run.candidates, run.validation_images, run.resumed_trials) == (5, 3, 0)

    def test_order(self, run):
        """Best, median and worst are those of the single images' scores, and the best is chosen."""
        tried = dict(trials(run.run_folder))
        singles = sorted((score for images, score in tried.items() if len(images) == 1))
        assert [run.worst.psnr_db, run.median.psnr_db, run.best.psnr_db] == singles[::2]
        assert run.chosen.psnr_db == max(tried.values())
        assert run.all_images.psnr_db == max(
            score for images, score in tried.items() if len(images) == 5
        )
        for score in (run.best, run.median, run.worst, run.all_images, run.chosen):
            assert tried[score.images] == score.psnr_db
            assert score.drop_db == run.fp32_psnr_db - score.psnr_db

    def test_summary(self, run):
        """The summary on disk is the report."""
        kept = json.loads((Path(run.run_folder) / "summary.json").read_text())
        assert kept == json.loads(json.dumps(asdict(run)))

    def test_scores_on_disk(self, run, images):
        """Both models of the run folder, evaluated, score what the report says."""
        float_model = str(Path(run.run_folder) / "model_fp32.tflite")
        (scores,) = evaluate_models([float_model, run.integer_model], [images / "validation"])
        fp32, integer = scores.evaluations
        assert fp32.psnr_rgb_db == pytest.approx(run.fp32_psnr_db, abs=1e-9)
        assert integer.psnr_rgb_db == pytest.approx(run.chosen.psnr_db, abs=1e-9)
        assert scores.drops_db == pytest.approx((0, run.chosen.drop_db), abs=1e-9)

    def test_score_by_others(self, run, images, run_bare):
        """TFLite and scikit-image alone find the score that the report gives the chosen model."""
        model = Path(run.integer_model).read_bytes()
        scores = []
        for path in sorted((images / "validation").iterdir()):
            hr = np.asarray(Image.open(path))
            sr = run_bare(model, downscale_bicubic(hr, 3)[None])[0]
            scores.append(peak_signal_noise_ratio(hr[1:-1, 1:-1], sr[1:-1, 1:-1], data_range=255))
        assert mean(scores) == pytest.approx(run.chosen.psnr_db, abs=0.02)  # other kernels: a step

    def test_integer(self, run):
        """The chosen model computes in integers alone; byte b means b/255 at both its ends."""
        interpreter = Interpreter(
            model_content=Path(run.integer_model).read_bytes(),
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
        assert not {tensor["dtype"] for tensor in interpreter.get_tensor_details()} & {
            np.float32,
            np.float16,
        }
        for end in (*interpreter.get_input_details(), *interpreter.get_output_details()):
            scale, zero_point = end["quantization"]
            assert (end["dtype"], zero_point) == (np.uint8, 0)
            assert scale == pytest.approx(1 / 255, rel=1e-6)


class TestAgain:
    """The same search once more."""

    def test_finished(self, arguments, progress):
        """A finished search gives the same report from its journal and measures nothing."""
        first = search_repdata(**arguments)
        before = files(first.run_folder)
        again = search_repdata(**arguments, on_progress=progress)
        assert again.resumed_trials == 6
        assert not {"measure ranges", "try representative data"} & {
            stage for stage, *_ in progress.stages
        }
        different = {"resumed_trials": 0, "seconds": first.seconds}
        assert asdict(again) | different == asdict(first)
        after = files(first.run_folder)
        assert {name for name in before if before[name] != after[name]} == {"summary.json"}

    def test_two_workers(self, run, arguments):
        """Two workers find what one finds."""
        both = search_repdata(**arguments | {"workers": 2})
        assert sorted(trials(both.run_folder)) == sorted(trials(run.run_folder))
        for name in ("model_uint8.tflite", "model_fp32.tflite"):
            assert files(both.run_folder)[name] == files(run.run_folder)[name]
        assert (both.best, both.median, both.worst) == (run.best, run.median, run.worst)

    @pytest.mark.parametrize("kept", [0, 1, 3, 5])
    def test_after_a_kill(self, run, arguments, kept):
        """From a journal torn in any line, the search goes on, and tries nothing twice."""
        out = arguments["out"]
        first = search_repdata(**arguments)
        lines = (out / "study.jsonl").read_bytes().splitlines(keepends=True)
        (out / "study.jsonl").write_bytes(b"".join(lines[: kept + 1]) + lines[kept + 1][:9])
        for name in ("summary.json", "model_uint8.tflite", "ranges.npz"):
            (out / name).unlink()
        again = search_repdata(**arguments)
        assert again.resumed_trials == kept
        assert sorted(trials(out)) == sorted(trials(run.run_folder))
        assert (again.chosen, again.worst) == (first.chosen, first.worst)

    def test_killed_at_once(self, arguments):
        """A run folder that holds nothing but the mark of a search is gone on with."""
        arguments["out"].mkdir()
        (arguments["out"] / ".qsr-lock").touch()
        assert search_repdata(**arguments).resumed_trials == 0


class TestAnotherStudy:
    """A run folder of other work is refused and stays as it was."""

    @pytest.mark.parametrize(
        ("change", "named"),
        [
            ({"scheme": "int8"}, "scheme"),
            ({"pin_io": False}, "scheme"),
            ({"reader": "converter"}, "reader: exact there, converter here"),
        ],
        ids=["scheme", "io", "reader"],
    )
    def test_option(self, run, arguments, change, named):
        """Another scheme or reader is named."""
        self.refused(arguments | {"out": Path(run.run_folder)} | change, named)

    def test_model(self, run, arguments, xcat, tmp_path, progress):
        """Another model is named, before any image is read."""
        (tmp_path / "other.tflite").write_bytes(xcat)
        change = {"out": Path(run.run_folder), "model": str(tmp_path / "other.tflite")}
        self.refused(arguments | change | {"on_progress": progress}, "model")
        assert {stage for stage, *_ in progress.stages} == {"load the model"}

    @pytest.mark.parametrize("which", ["candidates", "validation"])
    def test_images(self, run, arguments, images, which):
        """Other images are named."""
        other = {"candidates": "validation", "validation": "candidates"}[which]
        change = {"out": Path(run.run_folder), which: images / other}
        self.refused(arguments | change, f"other {which}")

    def test_foreign(self, arguments):
        """A folder of other things is refused, even if it holds a model of that name."""
        arguments["out"].mkdir()
        (arguments["out"] / "model_fp32.tflite").write_bytes(b"mine")
        self.refused(arguments, "not empty, and no run of qsr")

    def refused(self, arguments, named):
        """Search, and see that it is refused and no file has changed."""
        before = files(arguments["out"])
        with pytest.raises(StudyError, match=named):
            search_repdata(**arguments)
        assert files(arguments["out"]) == before


class TestKinds:
    """Schemes, readers, networks and layouts of images."""

    def test_int8(self, arguments):
        """The int8 scheme leaves a model with int8 at both ends, named so."""
        report = search_repdata(**arguments, scheme="int8")
        assert Path(report.integer_model) == arguments["out"] / "model_int8.tflite"
        interpreter = Interpreter(report.integer_model)
        for end in (*interpreter.get_input_details(), *interpreter.get_output_details()):
            assert end["dtype"] == np.int8
            assert end["quantization"] == (pytest.approx(1 / 255, rel=1e-6), -128)

    def test_as_the_paper(self, arguments):
        """With the converter's ranges at both ends, a candidate's own black and white count."""
        report = search_repdata(**arguments, reader="converter", pin_io=False)
        (end,) = Interpreter(report.integer_model).get_input_details()
        hr = np.asarray(Image.open(arguments["candidates"] / f"{report.chosen.images[0]}.png"))
        lr = downscale_bicubic(hr, 3) if len(report.chosen.images) == 1 else None
        if lr is not None:
            assert end["quantization"][0] == pytest.approx(lr.max() / 255**2, rel=1e-5)
        assert report.best.psnr_db >= report.median.psnr_db >= report.worst.psnr_db

    def test_div2k(self, run, arguments, images, tmp_path):
        """HR and LR in DIV2K's layout give what the HR photographs alone give."""
        root = tmp_path / "DIV2K"
        for side in ("DIV2K_train_HR", "DIV2K_train_LR_bicubic/X3"):
            (root / side).mkdir(parents=True)
        for path in (images / "candidates").iterdir():
            hr = np.asarray(Image.open(path))
            Image.fromarray(hr).save(root / "DIV2K_train_HR" / path.name)
            lr = root / "DIV2K_train_LR_bicubic/X3" / f"{path.stem}x3.png"
            Image.fromarray(downscale_bicubic(hr, 3)).save(lr)
        report = search_repdata(**arguments | {"candidates": root})
        assert sorted(trials(report.run_folder)) == sorted(trials(run.run_folder))

    def test_fixed_size(self, arguments, abpn, tmp_path):
        """A model of one input size in 0..255 is searched for on images of other sizes."""
        (tmp_path / "abpn.tflite").write_bytes(abpn)
        report = search_repdata(**arguments | {"model": str(tmp_path / "abpn.tflite")})
        assert report.fp32_psnr_db >= report.chosen.psnr_db - 1 > 15
        (end,) = Interpreter(report.integer_model).get_input_details()
        assert (tuple(end["shape"]), end["dtype"]) == ((1, 40, 48, 3), np.uint8)

    def test_one_of_each(self, arguments, images, tmp_path):
        """One candidate and one validation image are enough."""
        for side in ("candidates", "validation"):
            (tmp_path / side).mkdir()
            content = (images / side / "coffee.png").read_bytes()
            (tmp_path / side / "coffee.png").write_bytes(content)
            arguments[side] = tmp_path / side
        report = search_repdata(**arguments)
        assert report.chosen == report.all_images == report.best == report.worst == report.median
        assert [images for images, _ in trials(report.run_folder)] == [("coffee",)]

    @pytest.mark.parametrize("options", [{}, {"pin_io": False, "reader": "converter"}])
    def test_black(self, arguments, with_black, without_biases, options):
        """A black candidate, whose ranges are 0 to 0, is tried as any other and ranked last."""
        change = {"model": str(without_biases), "candidates": with_black}
        report = search_repdata(**arguments | change, **options)
        assert report.worst.images == ("black",)
        assert report.candidates == 6
        assert report.chosen.psnr_db == max(report.best.psnr_db, report.all_images.psnr_db)
        assert isfinite(report.chosen.psnr_db)

    def test_black_alone(self, arguments, with_black, without_biases):
        """When TFLite can run none of the models, that is said, and what to do."""
        for path in with_black.glob("[!b]*"):
            path.unlink()
        change = {"model": str(without_biases), "candidates": with_black}
        with pytest.raises(ModelError, match="no candidate gives an integer model that TFLite can"):
            search_repdata(**arguments | change)

    def test_exact(self, arguments, black, nearest_neighbour, tmp_path):
        """Pictures that come out exactly right count as 100 dB, and others still count beside."""
        (tmp_path / "black").mkdir()
        Image.fromarray(black).save(tmp_path / "black/black.png")
        half = black.copy()
        half[:, 30:] = 200
        change = {"model": str(nearest_neighbour), "validation": tmp_path / "black"}
        report = search_repdata(**arguments | change)
        assert report.fp32_psnr_db == report.chosen.psnr_db == report.worst.psnr_db == 100
        assert report.worst.drop_db == 0
        Image.fromarray(half).save(tmp_path / "black/half.png")
        report = search_repdata(**arguments | change | {"out": tmp_path / "second"})
        assert 50 < report.chosen.psnr_db < 90
        for out in (arguments["out"], tmp_path / "second"):
            for name in ("summary.json", "study.jsonl"):
                assert not {"NaN", "Infinity"} & set(re.findall(r"\w+", (out / name).read_text()))


class TestArguments:
    """Requests that cannot be met are refused before anything is made."""

    @pytest.mark.parametrize(
        ("change", "named"),
        [
            ({"workers": 0}, "--workers must be at least 1, not 0"),
            ({"scheme": "uint9"}, "no scheme named 'uint9'"),
            ({"candidates": None}, "both --candidates and --validation"),
            ({"validation": None}, "both --candidates and --validation"),
        ],
    )
    def test_usage(self, arguments, change, named):
        """What is wrong is named, and no folder is left."""
        with pytest.raises(UsageError, match=named):
            search_repdata(**arguments | change)
        assert not arguments["out"].exists()

    def test_default_folder(self, arguments, tmp_path, monkeypatch):
        """Without ``out``, the same arguments find the same folder, and others find another."""
        monkeypatch.chdir(tmp_path)
        first = search_repdata(**arguments | {"out": None})
        again = search_repdata(**arguments | {"out": None})
        other = search_repdata(**arguments | {"out": None, "scheme": "int8"})
        assert Path(first.run_folder).parent == Path("runs")
        assert (again.run_folder, again.resumed_trials) == (first.run_folder, 6)
        assert other.run_folder != first.run_folder


def test_shared_images(run, arguments, images):
    """Validation images that are candidates too are found by content, whatever their names."""
    assert run.shared_images == ()
    shutil.copytree(images / "candidates", arguments["out"].parent / "more")
    copied = arguments["out"].parent / "more/renamed.png"
    shutil.copy(images / "validation/coffee.png", copied)
    report = search_repdata(**arguments | {"candidates": copied.parent})
    assert report.shared_images == ("coffee",)
