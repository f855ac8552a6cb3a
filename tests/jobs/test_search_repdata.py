"""The search for representative images, without the command line."""

import hashlib
import json
import re
import shutil
from dataclasses import asdict
from math import isfinite, isnan
from pathlib import Path
from statistics import mean

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio

from qsr.calibration.strategies.range_statistics import RangeStatistics
from qsr.errors import ImageError, ModelError, StudyError, UsageError
from qsr.images import crop_to_multiple, downscale_bicubic, read_rgb
from qsr.jobs.evaluate import evaluate_models
from qsr.jobs.quantize import quantize_model
from qsr.jobs.refinement import Refining
from qsr.jobs.search_repdata import search_repdata
from qsr.tflite.fold import fold_copies
from qsr.tflite.graph import Graph

SIDES = {"candidates": "candidates", "validation": "scored", "confirmation": "candidates"}
"""Option to the folder of images that a search is given for it."""


def files(folder):
    """Return a hash of every file below a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in Path(folder).rglob("*")
        if path.is_file()
    }


def kinds(model):
    """Return the kinds of a model's operators."""
    return [operator.kind for operator in Graph(model).operators]


def named(report):
    """Return the scores of a report that are of single images."""
    return report.singles.best, report.singles.median, report.singles.worst


@pytest.fixture
def arguments(network, images, tmp_path):
    """What the finished run was made with, but for a folder of its own."""
    return {
        "model": str(network),
        "candidates": images / "candidates",
        "validation": images / "scored",
        "out": tmp_path / "run",
        "refining": Refining(),
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


@pytest.fixture(scope="module")
def clip_free(images, network, tmp_path_factory):
    """A search without the clip, with grids from the augmented images, one at both ends."""
    return search_repdata(
        str(network),
        candidates=images / "candidates",
        validation=images / "scored",
        out=tmp_path_factory.mktemp("clip-free"),
        workers=1,
        clip_free=True,
        pin_io=False,
        exact=True,
        refining=Refining(),
    )


class TestReport:
    """What a finished search says and leaves behind."""

    def test_every_candidate(self, run, trials):
        """Each candidate alone and all together are tried once."""
        names = ("astronaut", "chelsea", "coffee", "motorcycle", "rocket")
        tried = [images for images, _ in trials(run.run_folder)]
        assert sorted(tried) == sorted([*((name,) for name in names), names])
        assert (run.candidates, run.trials, run.resumed_models) == (5, 5, 0)
        assert (run.selection_images, run.confirmation_images) == (3, 2)
        assert run.distinct_models == run.measured_models == 6

    def test_order(self, run, trials):
        """Best, median and worst are those of the single images' scores, and the best is chosen."""
        tried = dict(trials(run.run_folder))
        singles = sorted((score for images, score in tried.items() if len(images) == 1))
        assert [score.objective_db for score in named(run)] == singles[::-2]
        assert run.chosen.objective_db == max(tried.values())
        assert run.baseline.objective_db == max(
            score for images, score in tried.items() if len(images) == 5
        )
        for score in (*named(run), run.baseline, run.chosen):
            assert tried[score.images] == score.objective_db
            assert not score.estimated

    def test_summary(self, run):
        """The summary on disk is the report."""
        kept = json.loads((Path(run.run_folder) / "summary.json").read_text())
        assert kept["gain_db"].pop("excludes_zero") == run.gain_db.excludes_zero
        assert kept == json.loads(json.dumps(asdict(run)))

    def test_scores_on_disk(self, run, images, halves):
        """Both models of the run folder, evaluated on either half, score what the report says."""
        float_model = str(Path(run.run_folder) / "model_fp32.tflite")
        (scores,) = evaluate_models([float_model, run.integer_model], [images / "scored"])
        fp32, integer = (
            {image.name: image.psnr_rgb_db for image in evaluation.images}
            for evaluation in scores.evaluations
        )
        choosing, confirming = halves(images / "scored")
        assert mean(integer[name] for name in choosing) == pytest.approx(
            run.chosen.objective_db, abs=1e-9
        )
        drops = [fp32[name] - integer[name] for name in confirming]
        for found, expected in (
            (run.fp32_psnr_db, mean(fp32[name] for name in confirming)),
            (run.chosen.psnr_db, mean(integer[name] for name in confirming)),
            (run.chosen.drop_db, mean(drops)),
            (run.chosen.worst_drop_db, max(drops)),
        ):
            assert found == pytest.approx(expected, abs=1e-9)

    def test_gain(self, run, images, halves, network, tmp_path):
        """What the chosen model gains on all together is measured on the confirming images."""
        together = tmp_path / "together.tflite"
        quantize_model(str(network), [images / "candidates"], together)
        (scores,) = evaluate_models([str(together), run.integer_model], [images / "scored"])
        usual, chosen = (
            {image.name: image.psnr_rgb_db for image in evaluation.images}
            for evaluation in scores.evaluations
        )
        gains = [chosen[name] - usual[name] for name in halves(images / "scored")[1]]
        assert run.gain_db.mean == pytest.approx(mean(gains), abs=1e-9)
        assert run.gain_db.low <= run.gain_db.mean <= run.gain_db.high
        difference = run.baseline.drop_db - run.chosen.drop_db
        assert run.gain_db.mean == pytest.approx(difference, abs=1e-9)

    def test_score_by_others(self, run, images, run_bare, halves):
        """TFLite and scikit-image alone find the score that the report gives the chosen model."""
        model = Path(run.integer_model).read_bytes()
        scores = []
        for name in halves(images / "scored")[1]:
            hr = np.asarray(Image.open(images / f"scored/{name}.png"))
            sr = run_bare(model, downscale_bicubic(hr, 3)[None])[0]
            scores.append(peak_signal_noise_ratio(hr[1:-1, 1:-1], sr[1:-1, 1:-1], data_range=255))
        assert mean(scores) == pytest.approx(run.chosen.psnr_db, abs=0.02)  # other kernels: a step

    @pytest.mark.parametrize("pin_io", [True, False])
    def test_chosen_ranges(self, run, network, tmp_path, pin_io):
        """The ranges that are left behind, pinned ends too, give the chosen model to the byte."""
        again, ranges = tmp_path / "again.tflite", Path(run.run_folder) / "ranges_chosen.json"
        quantize_model(str(network), out=again, ranges=ranges, pin_io=pin_io)
        assert fold_copies(again.read_bytes()) == Path(run.integer_model).read_bytes()

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


class TestClip:
    """What becomes of the network's clip."""

    def test_folded(self, run, arguments, images, lr_and_hr, run_bare):
        """It is removed and named; kept, it is there, and no byte of a picture differs."""
        shutil.copytree(run.run_folder, arguments["out"])
        kept = search_repdata(**arguments, keep_clip=True)
        assert (run.removed, kept.removed) == (("MINIMUM", "RELU"), ())
        folded, whole = (Path(one.integer_model).read_bytes() for one in (run, kept))
        left, there = (kinds(model) for model in (folded, whole))
        assert left == [kind for kind in there if kind not in run.removed]
        assert len(there) == len(left) + 2
        assert kept.chosen == run.chosen
        for path in (images / "scored").iterdir():
            lr, _ = lr_and_hr(path)
            for fast in (True, False):
                np.testing.assert_array_equal(
                    run_bare(folded, lr[None], fast=fast), run_bare(whole, lr[None], fast=fast)
                )

    def test_clip_free(self, clip_free, run):
        """No model has a clip, and the images themselves give the output a black and white grid."""
        folder = Path(clip_free.run_folder)
        for model in ("model_fp32.tflite", "model_uint8.tflite"):
            assert not {"MINIMUM", "RELU"} & set(kinds((folder / model).read_bytes()))
        (end,) = Interpreter(clip_free.integer_model).get_output_details()
        scale, zero_point = end["quantization"]
        assert (scale, zero_point) == (pytest.approx(1 / 255, rel=1e-4), 0)
        assert any(note.startswith("clip-free: ") for note in clip_free.notes)
        assert clip_free.fp32_psnr_db == pytest.approx(run.fp32_psnr_db, abs=1e-9)
        assert clip_free.confirmation_names == run.confirmation_names
        assert (clip_free.trials, clip_free.removed) == (5, ())

    def test_clip_free_again(self, clip_free, arguments, monkeypatch):
        """What was done to the candidates is taken from the folder, and nothing is measured."""
        shutil.copytree(clip_free.run_folder, arguments["out"])
        monkeypatch.setattr("qsr.jobs.clip_free.full_range_intensity", None)
        again = search_repdata(**arguments, clip_free=True, pin_io=False, exact=True)
        assert again.resumed_models == 6
        assert again.chosen == clip_free.chosen

    def test_clip_free_is_another_study(self, run, arguments):
        """A folder of a search with the clip is refused to one without, and its models stay."""
        shutil.copytree(run.run_folder, arguments["out"])
        before = files(arguments["out"])
        with pytest.raises(StudyError, match="belongs to another study"):
            search_repdata(**arguments, clip_free=True)
        assert files(arguments["out"]) == before

    def test_clip_free_shared(self, arguments, images, tmp_path):
        """A validation image that is a candidate too is found, augmented as that one is."""
        folder = Path(shutil.copytree(images / "candidates", tmp_path / "more"))
        shutil.copy(images / "scored/coffee.png", folder / "renamed.png")
        change = {"candidates": folder, "strategy": "all", "workers": 2}
        report = search_repdata(**arguments | change, clip_free=True)
        assert report.shared_images == ("coffee",)

    def test_one_colour(self, arguments, images, black, tmp_path):
        """A candidate of one colour is named, and left out if that is asked for."""
        folder = Path(shutil.copytree(images / "candidates", tmp_path / "with_black"))
        Image.fromarray(black).save(folder / "black.png")
        change = {"candidates": folder, "strategy": "all", "clip_free": True}
        with pytest.raises(ImageError, match=r"black: no scaling.*--skip-bad-images"):
            search_repdata(**arguments | change)
        report = search_repdata(**arguments | change, skip_bad_images=True)
        assert report.candidates == 5
        assert ["black" in line for line in report.skipped] == [True]


class TestAgain:
    """The same search once more."""

    def test_finished(self, arguments, progress):
        """A finished search gives the same report from its journal and measures nothing."""
        first = search_repdata(**arguments)
        before = files(first.run_folder)
        again = search_repdata(**arguments, on_progress=progress)
        assert again.resumed_models == 6
        assert not {"measure ranges", "score (selection)", "score (confirmation)"} & {
            stage for stage, *_ in progress.stages
        }
        timed = {"seconds": first.seconds, "stage_seconds": first.stage_seconds}
        assert asdict(again) | {"resumed_models": 0} | timed == asdict(first)
        after = files(first.run_folder)
        assert {name for name in before if before[name] != after[name]} == {"summary.json"}

    def test_two_workers(self, run, arguments, trials):
        """Two workers find what one finds."""
        both = search_repdata(**arguments | {"workers": 2})
        assert sorted(trials(both.run_folder)) == sorted(trials(run.run_folder))
        for name in ("model_uint8.tflite", "model_fp32.tflite", "ranges_chosen.json"):
            assert files(both.run_folder)[name] == files(run.run_folder)[name]
        assert both.singles == run.singles
        assert (both.chosen, both.gain_db) == (run.chosen, run.gain_db)

    @pytest.mark.parametrize("kept", [0, 1, 2, 5, 12, 13])
    def test_after_a_kill(self, run, arguments, kept, trials):
        """From a journal torn in any line, the search goes on, and measures nothing twice."""
        out = arguments["out"]
        shutil.copytree(run.run_folder, out)
        lines = (out / "study.jsonl").read_bytes().splitlines(keepends=True)
        left = lines[: kept + 1]
        (out / "study.jsonl").write_bytes(b"".join(left) + lines[kept + 1][:9])
        for name in ("summary.json", "model_uint8.tflite", "ranges_chosen.json"):
            (out / name).unlink()
        again = search_repdata(**arguments)
        assert again.resumed_models == sum(b'"selection"' in line for line in left[1:])
        assert (out / "study.jsonl").read_bytes().startswith(b"".join(left))
        assert sorted(trials(out)) == sorted(trials(run.run_folder))
        assert (again.chosen, again.singles, again.gain_db) == (
            *(run.chosen, run.singles, run.gain_db),
        )
        assert files(out)["model_uint8.tflite"] == files(run.run_folder)["model_uint8.tflite"]

    def test_killed_at_once(self, arguments):
        """A run folder that holds nothing but the mark of a search is gone on with."""
        arguments["out"].mkdir()
        (arguments["out"] / ".qsr-lock").touch()
        assert search_repdata(**arguments).resumed_models == 0

    @pytest.mark.parametrize(
        ("stage", "unmeasured"),
        [("measure ranges", 3), ("score the float model", 0), ("score (selection)", 0)],
    )
    def test_stopped(self, run, arguments, progress, *, stage, unmeasured):
        """Stopped in the middle of any stage, the search goes on and measures nothing twice."""

        def stop(now, done, total):
            if (now, done) == (stage, 2):
                raise KeyboardInterrupt(total)

        with pytest.raises(KeyboardInterrupt):
            search_repdata(**arguments, on_progress=stop)
        again = search_repdata(**arguments, on_progress=progress)
        assert (again.chosen, again.singles) == (run.chosen, run.singles)
        assert [now for now, *_ in progress.stages].count("measure ranges") == unmeasured
        measured = (arguments["out"] / "study.jsonl").read_text().splitlines()[1:]
        assert sum('"items": "selection"' in line for line in measured) == 6


class TestAnotherStudy:
    """A run folder of other work is refused, and its results stay as they were."""

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
        assert not progress.stages

    @pytest.mark.parametrize("which", ["candidates", "validation"])
    def test_images(self, *, run, arguments, images, which, tmp_path):
        """Other images are named."""
        folder = tmp_path / "other"
        folder.mkdir()
        for path in (images / SIDES[which]).iterdir():
            Image.open(path).transpose(Image.Transpose.ROTATE_180).save(folder / path.name)
        change = {"out": Path(shutil.copytree(run.run_folder, tmp_path / "copy")), which: folder}
        self.refused(arguments | change, f"other {which}", but=("ranges.npz", ".decoded/"))

    def test_originals_alone(self, arguments, images, tmp_path):
        """The same LR images with other originals are other validation images."""
        validation = tmp_path / "pairs"
        for kind in ("HR", "LRx3"):
            (validation / kind).mkdir(parents=True)
        for path in sorted((images / SIDES["validation"]).iterdir()):
            hr = crop_to_multiple(read_rgb(path), 3)
            Image.fromarray(hr).save(validation / f"HR/{path.stem}.png")
            Image.fromarray(downscale_bicubic(hr, 3)).save(validation / f"LRx3/{path.stem}.png")
        search_repdata(**arguments | {"validation": validation})
        for path in (validation / "HR").iterdir():
            Image.fromarray(read_rgb(path) // 2 + 64).save(path)
        self.refused(
            arguments | {"validation": validation},
            "other validation",
            but=("ranges.npz", ".decoded/"),
        )

    def test_foreign(self, arguments):
        """A folder of other things is refused, even if it holds a model of that name."""
        arguments["out"].mkdir()
        (arguments["out"] / "model_fp32.tflite").write_bytes(b"mine")
        self.refused(arguments, "not empty, and no run of qsr")

    def refused(self, arguments, named, *, but=()):
        """Search, and see that it is refused and no file has changed, but those that may."""
        before = files(arguments["out"])
        with pytest.raises(StudyError, match=named):
            search_repdata(**arguments)
        after = files(arguments["out"])
        assert {name: after[name] for name in after if not name.startswith(but)} == {
            name: before[name] for name in before if not name.startswith(but)
        }


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
        scores = [score.objective_db for score in named(report)]
        assert scores == sorted(scores, reverse=True)

    def test_div2k(self, *, run, arguments, images, tmp_path, trials):
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
        assert report.fp32_psnr_db > 15
        assert -1 < report.chosen.drop_db < 1
        assert report.notes[0].startswith("the model takes 48x40 pixels only: larger images are")
        (end,) = Interpreter(report.integer_model).get_input_details()
        assert (tuple(end["shape"]), end["dtype"]) == ((1, 40, 48, 3), np.uint8)

    def test_fewest(self, arguments, images, tmp_path, trials):
        """One candidate and three validation images are enough."""
        for side, names in (
            ("candidates", ["coffee"]),
            ("validation", ["coffee", "rocket", "chelsea"]),
        ):
            (tmp_path / side).mkdir()
            for name in names:
                shutil.copy(images / SIDES[side] / f"{name}.png", tmp_path / side)
            arguments[side] = tmp_path / side
        report = search_repdata(**arguments)
        assert (report.selection_images, report.confirmation_images) == (1, 2)
        assert report.chosen == report.baseline
        assert report.singles is None
        assert (report.gain_db.mean, report.gain_db.low, report.gain_db.high) == (0, 0, 0)
        assert [images for images, _ in trials(report.run_folder)] == [("coffee",)]

    @pytest.mark.parametrize("options", [{}, {"pin_io": False, "reader": "converter"}])
    def test_black(self, arguments, with_black, without_biases, options):
        """A black candidate, whose ranges are 0 to 0, is tried as any other and ranked last."""
        change = {"model": str(without_biases), "candidates": with_black}
        report = search_repdata(**arguments | change, **options)
        assert report.singles.worst.images == ("black",)
        assert isnan(report.singles.worst.objective_db) == (not options)  # 0 to 0 at its ends too
        assert report.candidates == 6
        assert report.chosen.objective_db == max(
            report.singles.best.objective_db, report.baseline.objective_db
        )
        assert isfinite(report.chosen.objective_db)

    def test_black_alone(self, arguments, with_black, without_biases):
        """When TFLite can run none of the models, that is said, and what to do."""
        for path in with_black.glob("[!b]*"):
            path.unlink()
        change = {"model": str(without_biases), "candidates": with_black}
        with pytest.raises(ModelError, match="none of 2 trials gives an integer model that can be"):
            search_repdata(**arguments | change)

    def test_exact(self, arguments, black, nearest_neighbour, tmp_path):
        """Pictures that come out exactly right count as 100 dB, and others still count beside."""
        (tmp_path / "flat").mkdir()
        for level in range(3):
            Image.fromarray(black + np.uint8(90 * level)).save(tmp_path / f"flat/{level}.png")
        half = black.copy()
        half[:, 30:] = 200
        half[:, 31] = 100
        change = {"model": str(nearest_neighbour), "validation": tmp_path / "flat"}
        report = search_repdata(**arguments | change)
        assert report.fp32_psnr_db == report.chosen.psnr_db == report.chosen.objective_db == 100
        assert report.chosen.drop_db == report.chosen.worst_drop_db == 0
        assert report.singles.worst.objective_db == 100
        Image.fromarray(half).save(tmp_path / "flat/half.png")
        report = search_repdata(**arguments | change | {"out": tmp_path / "second"})
        means = report.chosen.objective_db, report.chosen.psnr_db
        assert 50 < min(means) < 90
        assert max(means) == 100
        for out in (arguments["out"], tmp_path / "second"):
            for name in ("summary.json", "study.jsonl", "ranges_chosen.json"):
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
            ({"strategy": "best"}, "no strategy named 'best'; give one of: linear, greedy"),
            ({"objective": "median"}, "no objective named 'median'; give one of: mean, worst, p5"),
            ({"dask": "tcp://127.0.0.1:1"}, "--workers counts processes on this machine"),
            (
                {"candidates": None, "validation": None, "confirmation": Path()},
                "give --candidates and --validation with --confirmation",
            ),
        ],
    )
    def test_usage(self, arguments, change, named):
        """What is wrong is named, and no folder is left."""
        with pytest.raises(UsageError, match=named):
            search_repdata(**arguments | change)
        assert not arguments["out"].exists()

    def test_default_folder(self, arguments, tmp_path, monkeypatch):
        """Without ``out``, the same images and model find the same folder, and others another."""
        monkeypatch.chdir(tmp_path)
        first = search_repdata(**arguments | {"out": None})
        again = search_repdata(**arguments | {"out": None})
        another = search_repdata(**arguments | {"out": None, "strategy": "all", "objective": "p5"})
        other = search_repdata(**arguments | {"out": None, "scheme": "int8"})
        assert Path(first.run_folder).parent == Path("runs")
        assert (again.run_folder, again.resumed_models) == (first.run_folder, 6)
        assert another.run_folder == first.run_folder != other.run_folder


class TestShared:
    """Validation images that are candidates too, found by their pixels, whatever their names."""

    @pytest.fixture
    def more(self, images, tmp_path):
        """The candidates, and a validation image among them under another name."""
        folder = Path(shutil.copytree(images / "candidates", tmp_path / "more"))
        shutil.copy(images / "scored/coffee.png", folder / "renamed.png")
        return folder

    def test_chooses(self, run, arguments, more):
        """They choose and are named; of the others, as many as before confirm."""
        assert run.shared_images == ()
        report = search_repdata(**arguments | {"candidates": more})
        assert report.shared_images == ("coffee",)
        assert (report.selection_images, report.confirmation_images) == (3, 2)

    def test_confirmation_folder(self, arguments, images, more, tmp_path):
        """Images of a confirmation folder that are candidates or choose are left out."""
        folder = tmp_path / "confirm"
        folder.mkdir()
        for name in ("chelsea", "rocket", "coffee"):
            shutil.copy(images / f"scored/{name}.png", folder / f"my_{name}.png")
        sides = {"validation": tmp_path / "choose", "confirmation": folder, "candidates": more}
        sides["validation"].mkdir()
        for name in ("astronaut", "motorcycle"):
            shutil.copy(images / f"scored/{name}.png", sides["validation"])
        report = search_repdata(**arguments | sides)
        assert report.shared_images == ("my_coffee",)
        assert (report.selection_images, report.confirmation_images) == (2, 2)

    def test_all(self, arguments, images):
        """Where every validation image is a candidate, that is said."""
        with pytest.raises(UsageError, match=r"\(5 of them, such as astronaut, are candidates"):
            search_repdata(**arguments | {"validation": images / "candidates"})


class TestStrategies:
    """One run folder serves every strategy and objective."""

    def test_second_strategy(self, run, arguments, progress, trials):
        """A second strategy measures no range again and no model that the first measured."""
        shutil.copytree(run.run_folder, arguments["out"])
        report = search_repdata(**arguments, strategy="greedy", on_progress=progress)
        assert report.strategy == "greedy"
        assert report.resumed_models == 6
        assert "measure ranges" not in {stage for stage, *_ in progress.stages}
        lines = (arguments["out"] / "study.jsonl").read_text().splitlines()[1:]
        entries = [json.loads(line) for line in lines]
        scored = [entry["model"] for entry in entries if entry.get("items") == "selection"]
        assert len(scored) == len(set(scored)) >= report.measured_models
        assert report.chosen.objective_db == max(score for _, score in trials(arguments["out"]))

    def test_ranges(self, run, arguments):
        """The winner of tuned statistics is what its ranges file gives, and says what it is."""
        shutil.copytree(run.run_folder, arguments["out"])
        report = search_repdata(**arguments, strategy=RangeStatistics(steps=(0.3,)))
        assert report.singles is None
        assert report.chosen.tuned_tensors > 0
        assert report.chosen.images == report.baseline.images
        again = arguments["out"] / "again.tflite"
        quantize_model(
            arguments["model"], out=again, ranges=arguments["out"] / "ranges_chosen.json"
        )
        assert fold_copies(again.read_bytes()) == Path(report.integer_model).read_bytes()

    @pytest.mark.parametrize("objective", ["worst", "p5"])
    def test_objective(self, *, run, arguments, images, halves, objective):
        """The chosen model is the best by what single images lose, from what is known already."""
        shutil.copytree(run.run_folder, arguments["out"])
        report = search_repdata(**arguments, objective=objective)
        assert (report.objective, report.resumed_models) == (objective, 6)
        assert report.notes[0].endswith("only for the mean can any be dropped early")
        (scores,) = evaluate_models([arguments["model"]], [images / "scored"])
        fp32 = {image.name: image.psnr_rgb_db for image in scores.evaluations[0].images}
        choosing, _ = halves(images / "scored")
        lines = (arguments["out"] / "study.jsonl").read_text().splitlines()[1:]
        values = []
        for entry in map(json.loads, lines):
            if entry.get("items") == "selection":
                pairs = zip(entry["scores"], choosing, strict=True)
                least, second, _ = sorted(score - fp32[name] for score, name in pairs)
                # The 5th percentile of three lies a tenth of the way from the first to the second.
                values.append(least if objective == "worst" else 0.9 * least + 0.1 * second)
        assert len(values) == 6
        assert report.chosen.objective_db == pytest.approx(max(values), abs=1e-9)


class TestBadImages:
    """Images that turn out to be torn only when they are decoded."""

    @pytest.fixture
    def torn(self, images, tmp_path):
        """Candidates, validation and confirmation images, of each of which one is cut in half."""
        folders = {}
        for side, name in SIDES.items():
            source = images / name
            folders[side] = Path(shutil.copytree(source, tmp_path / side))
            for path in folders[side].iterdir() if side == "confirmation" else ():
                Image.open(path).transpose(Image.Transpose.ROTATE_180).save(path)
            bad = folders[side] / "motorcycle.png"
            bad.write_bytes(bad.read_bytes()[: bad.stat().st_size // 2])
        return folders

    @pytest.mark.parametrize("workers", [1, 2])
    def test_left_out(self, arguments, torn, workers):
        """On request they are left out and named, each once, and the others do."""
        change = {"skip_bad_images": True, "workers": workers}
        report = search_repdata(**arguments | torn | change)
        assert (report.candidates, report.selection_images, report.confirmation_images) == (4, 4, 4)
        assert sorted(line.split(": ")[0] for line in report.skipped) == sorted(
            str(folder / "motorcycle.png") for folder in torn.values()
        )
        again = search_repdata(**arguments | torn | change)
        assert sorted(again.skipped) == sorted(report.skipped)
        assert again.resumed_models == report.distinct_models

    @pytest.mark.parametrize("side", ["validation", "confirmation"])
    def test_validation(self, arguments, images, torn, side):
        """Otherwise a torn validation image is named, before any range is measured."""
        sides = torn | {"candidates": images / "candidates"}
        if side == "confirmation":
            sides["validation"] = images / "scored"
        with pytest.raises(ImageError, match=rf"{side}/motorcycle\.png: ") as raised:
            search_repdata(**arguments | sides)
        assert "\n" not in str(raised.value)
        assert not (arguments["out"] / "ranges.npz").exists()

    def test_candidate(self, arguments, torn, progress):
        """Otherwise a torn candidate is named, and the ranges measured before it are kept."""
        change = {"candidates": torn["candidates"], "on_progress": progress}
        with pytest.raises(ImageError, match=r"candidates/motorcycle\.png: ") as raised:
            search_repdata(**arguments | change)
        assert "\n" not in str(raised.value)
        assert "--skip-bad-images" in str(raised.value)
        before = [stage for stage, *_ in progress.stages].count("measure ranges")
        assert before > 0
        (torn["candidates"] / "motorcycle.png").unlink()
        assert search_repdata(**arguments | change).candidates == 4
        assert [stage for stage, *_ in progress.stages].count("measure ranges") == 4

    def test_headers(self, arguments, images, tmp_path, progress):
        """LR that does not fit HR is found from the headers, before anything is decoded."""
        for side, factor in (("HR", 1), ("LRx3", 2)):
            (tmp_path / "set" / side).mkdir(parents=True)
            image = Image.open(images / "scored/astronaut.png")
            image = image.resize((image.width // factor, image.height // factor))
            image.save(tmp_path / "set" / side / "image.png")
        with pytest.raises(ImageError, match=r"LRx3/image\.png: 30 x 30 pixels are not 1/3"):
            search_repdata(**arguments | {"validation": tmp_path / "set"}, on_progress=progress)
        assert {stage for stage, *_ in progress.stages} <= {
            *("check candidates", "check validation images"),
        }
        assert not arguments["out"].exists()
