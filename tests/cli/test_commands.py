"""Each command from beginning to end, and its report as text and as JSON."""

import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

NEXT = re.compile(r"^  (qsr .*)$", re.MULTILINE)


def parsed(text):
    """Read JSON that has none of the numbers that JSON does not know."""
    return json.loads(text, parse_constant=pytest.fail)


class TestSearch:
    """``qsr search-repdata``."""

    def test_text_and_json(self, qsr, network, on_photos, tmp_path):
        """The table and the JSON, printed from the journal afterwards, hold the same numbers."""
        words = ("search-repdata", network, *on_photos, "--out", tmp_path / "run")
        text = qsr(*words)
        report = parsed(qsr(*words, "--json").out)
        assert report["resumed_models"] == 5
        for score in (report["baseline"], report["chosen"]):
            row = rf"UINT8, .*\s{score['objective_db']:.3f}\s+{score['psnr_db']:.3f}\s"
            row += rf"+{score['drop_db']:.4f}\s+{score['worst_drop_db']:.3f}\s"
            assert re.search(row, text.out)
        for name in ("best", "median", "worst"):
            (image,) = report["singles"][name]["images"]
            shown = rf"single: {image}\s+{report['singles'][name]['objective_db']:.3f}\s"
            assert re.search(shown, text.out) or report["chosen"]["images"] == [image]
        assert re.search(rf"FP32, rounded to 8 bits\s+{report['fp32_psnr_db']:.3f}\s", text.out)
        assert f"chosen: {', '.join(report['chosen']['images'])}" in text.out
        assert "RGB: 2 images chose, 2 others confirm" in text.out
        assert f"{report['gain_db']['mean']:.4f} dB" in text.out.replace("+", "")
        assert "4 trials and all together: 5 different models" in text.out
        assert "5 measured on all 2 choosing images" in text.out
        assert parsed((tmp_path / "run/summary.json").read_text()) == report

    def test_refined(self, qsr, network, on_photos, tmp_path):
        """All steps are done by default; what each gave is told for both halves."""
        sides = [word for word in on_photos if word != "--no-refine"]
        words = ("search-repdata", network, *sides, "--out", tmp_path / "run")
        said = qsr(*words, "--tune", "--round-weights", "--fit-ranges", "--correct-biases")
        report = parsed(qsr(*words, "--json").out)
        assert parsed(qsr(*words, "--refine", "--json").out)["refinements"] == report["refinements"]
        assert [step["step"] for step in report["refinements"]] == [
            "tuned ranges",
            "rounded weights",
            "fitted ranges",
            "corrected biases",
        ]
        for step in report["refinements"]:
            if step["choosing_gain_db"] is None:
                assert f"{step['step']}: " in said.out
                continue
            line = f"{step['step']}: {step['choosing_gain_db']:+.4f} dB of mean PSNR on the images "
            line += "that chose, "
            line += f"{step['gain_db']['mean']:+.4f} ({step['gain_db']['low']:+.4f} to "
            (whole,) = [told for told in said.out.splitlines() if line in told]
            assert ("not kept" in whole) != step["kept"]

    def test_refined_model_is_shown(self, qsr, tmp_path, monkeypatch):
        """A model with the ranges of all candidates has a row of its own once it was refined."""
        monkeypatch.chdir(tmp_path)
        words = ("search-repdata", "espcn", "--strategy", "all", "--round-weights")
        said = qsr(*words, "--workers", "1")
        (row,) = re.findall(r"UINT8, chosen: 17 images, refined\s+(\S+)\s+(\S+)\s", said.out)
        report = parsed(qsr(*words, "--workers", "1", "--json").out)
        chosen = report["chosen"]
        assert row == (f"{chosen['objective_db']:.3f}", f"{chosen['psnr_db']:.3f}")
        assert chosen["psnr_db"] > report["baseline"]["psnr_db"]
        assert "the refined model is better than all together by" in said.out

    def test_some_steps(self, qsr, network, on_photos, tmp_path):
        """Steps that are named are done, and no others; naming some and none at once is refused."""
        sides = [word for word in on_photos if word != "--no-refine"]
        words = ("search-repdata", network, *sides, "--out", tmp_path / "run")
        report = parsed(qsr(*words, "--correct-biases", "--json").out)
        assert [step["step"] for step in report["refinements"]] == ["corrected biases"]
        assert "--no-refine" in qsr(*words, "--correct-biases", "--no-refine").failure
        assert parsed(qsr(*words, "--no-refine", "--json").out)["refinements"] == []

    def test_notes(self, qsr, network, on_photos, photos, tmp_path):
        """Notes, candidates that confirm nothing and what was chosen are said in words."""
        folder = Path(shutil.copytree(photos / "candidates", tmp_path / "candidates"))
        shutil.copy(photos / "validation/coffee.png", folder / "other.png")
        out = ("--out", tmp_path / "run")
        said = qsr("search-repdata", network, *on_photos, "--candidates", folder, *out)
        assert "1 validation images are candidates too" in said.out
        assert "(coffee): they confirm nothing" in said.out
        assert "every candidate was measured in full: screening on tiles" in said.out
        (chosen,) = re.findall(r"^chosen representative data: (.*)$", said.out, re.MULTILINE)
        said = qsr("search-repdata", network, *on_photos, "--candidates", folder, *out, "--json")
        assert parsed(said.out)["chosen"]["images"] == chosen.split(", ")

    @pytest.mark.parametrize("strategy", ["greedy", "random", "all", "coverage"])
    def test_strategies(self, *, qsr, network, searched, on_photos, strategy):
        """Another strategy goes on in the same folder, and says what it chose."""
        out = ("--out", searched, "--strategy", strategy)
        said = qsr("search-repdata", network, *on_photos, *out)
        assert said.code == 0
        assert "models resumed: 5" in said.out
        assert re.search(r"^chosen representative data: \w", said.out, re.MULTILINE)
        summary = parsed((searched / "summary.json").read_text())
        assert summary["strategy"] == strategy
        assert summary["baseline"]["objective_db"] <= summary["chosen"]["objective_db"]

    def test_what_is_left(self, searched):
        """The run folder holds the models, the ranges, the decisions, journal and summary."""
        shown = {path.name for path in searched.iterdir() if not path.name.startswith(".")}
        assert shown == {
            "model_fp32.tflite", "model_uint8.tflite", "ranges.npz", "ranges_chosen.json",
            "study.jsonl", "summary.json", "equalization.json",
        }  # fmt: skip
        assert not (searched / ".decoded").exists()

    def test_journal_is_json(self, searched):
        """Every line of the journal is a JSON object."""
        for line in (searched / "study.jsonl").read_text().splitlines():
            assert isinstance(parsed(line), dict)

    def test_next_steps(self, qsr, network, on_photos, photos, tmp_path):
        """The commands that are proposed can be pasted, whatever the folder is called."""
        folder = tmp_path / "a run [b] of $mine; :cat:"
        said = qsr("search-repdata", network, *on_photos, "--out", folder)
        compare, upscale = (shlex.split(line)[1:] for line in NEXT.findall(said.out))
        assert qsr(*compare).code == 0
        photo = photos / "validation/coffee.png"
        words = [photo if word == "PHOTO..." else word for word in upscale]
        words[-1] = tmp_path / "enlarged"
        assert qsr(*words).code == 0
        assert (tmp_path / "enlarged/coffee_x3.png").exists()
        assert str(folder) in said.out

    def test_built_in(self, qsr, tmp_path, monkeypatch):
        """Without arguments, the built-in network is searched for, compared and evaluated."""
        monkeypatch.chdir(tmp_path)
        report = parsed(qsr("search-repdata", "--workers", "1", "--json").out)
        run = Path(report["run_folder"])
        assert (run / "photographs/validation/coffee_01.png").exists()
        counts = ("candidates", "selection_images", "confirmation_images")
        assert [report[name] for name in counts] == [17, 8, 8]
        singles = report["singles"]
        order = [report["chosen"], *(singles[name] for name in ("best", "median", "worst"))]
        values = [score["objective_db"] for score in order]
        assert values == sorted(values, reverse=True)
        assert report["chosen"]["objective_db"] >= report["baseline"]["objective_db"]
        compared = parsed(qsr("compare", "--limit", "30", "--json").out)
        assert compared["reference"] == str(run / "model_fp32.tflite")
        fp32 = run / "model_fp32.tflite"  # equalized
        words = ("evaluate", fp32, report["integer_model"], "bicubic", "--no-latency", "--json")
        (scores,) = parsed(qsr(*words).out)["sets"]
        fp32, integer, bicubic = (model["psnr_rgb_db"] for model in scores["evaluations"])
        chosen = report["chosen"]
        means = chosen["objective_db"], chosen["psnr_db"]  # of 8 and 8 images
        assert integer == pytest.approx(sum(means) / 2, abs=1e-9)
        assert compared["drop_db"] == pytest.approx(fp32 - integer, abs=1e-9)
        assert chosen["drop_db"] == pytest.approx(report["fp32_psnr_db"] - chosen["psnr_db"])
        assert fp32 > bicubic

    def test_skipped(self, qsr, network, on_photos, photos, tmp_path):
        """Images that were left out are named on standard error, not among the results."""
        folder = tmp_path / "candidates"
        folder.mkdir()
        Image.open(photos / "candidates/coffee.png").save(folder / "coffee.png")
        (folder / "bad.png").write_bytes(b"no image")
        words = ("search-repdata", network, *on_photos, "--candidates", folder, "--json")
        said = qsr(*words, "--out", tmp_path / "run", "--skip-bad-images")
        assert f"left out: {folder / 'bad.png'}: " in said.err
        assert parsed(said.out)["candidates"] == 1


class TestOthers:
    """The other commands."""

    def test_quantize(self, qsr, network, photos, tmp_path):
        """Images follow --repdata or stand alone; the model is written where it was asked for."""
        coffee, rocket = (photos / f"candidates/{name}.png" for name in ("coffee", "rocket"))
        out = tmp_path / "integer.tflite"
        said = qsr("quantize", network, "--repdata", coffee, rocket, "-o", out)
        assert f"{out}: {out.stat().st_size:,} bytes" in said.out
        assert "from 2 representative images" in said.out
        first = out.read_bytes()
        report = parsed(qsr("quantize", network, rocket, coffee, "-o", out, "--json").out)
        assert report["images"] == ["rocket", "coffee"]
        assert out.read_bytes() == first
        evaluate, compare = NEXT.findall(said.out)
        for command in (evaluate, compare):
            words = [photos / "validation" if one == "DIR" else one for one in shlex.split(command)]
            assert qsr(*words[1:]).code == 0

    def test_quantize_with_ranges(self, qsr, network, photos, tmp_path):
        """Ranges are saved where they were asked for, and stand for the images afterwards."""
        coffee, saved = photos / "candidates/coffee.png", tmp_path / "ranges.json"
        first, again = tmp_path / "first.tflite", tmp_path / "again.tflite"
        said = qsr("quantize", network, coffee, "-o", first, "--save-ranges", saved)
        assert f"{saved}: its ranges" in said.out
        said = qsr("quantize", network, "--ranges", saved, "-o", again)
        assert f"uint8, from {saved}" in said.out
        assert again.read_bytes() == first.read_bytes()
        said = qsr("quantize", network, coffee, "--ranges", saved)
        assert (said.code, said.failure) == (
            2,
            "qsr: give representative images or --ranges, not both",
        )

    def test_evaluate(self, qsr, network, searched, photos):
        """The table and the JSON hold the same numbers, drops too."""
        models = (network, searched / "model_uint8.tflite", "bicubic")
        words = ("evaluate", *models, "--no-latency", "--data", photos / "validation")
        text = qsr(*words).out
        (scores,) = parsed(qsr(*words, "--json").out)["sets"]
        for evaluation, drop in zip(scores["evaluations"], scores["drops_db"], strict=True):
            row = rf"{evaluation['psnr_rgb_db']:.3f}\s+{evaluation['psnr_y_db']:.3f}\s+"
            row += rf"{evaluation['ssim_y']:.4f}"
            row += "" if drop == 0 else rf"\s+{drop:.4f}"
            assert re.search(row, text)

    def test_upscale(self, qsr, network, photos, tmp_path):
        """Photographs of a folder and single ones are enlarged, and each is told."""
        photo = photos / "validation/astronaut.png"
        words = ("upscale", network, photo, "-o", tmp_path / "out")
        assert qsr(*words).out == f"{tmp_path / 'out/astronaut_x3.png'}: 180 x 180 pixels\n"
        report = parsed(qsr(*words, "--json").out)
        assert [entry["source"] for entry in report["photos"]] == [str(photo)]
        assert np.asarray(Image.open(report["photos"][0]["result"])).shape == (180, 180, 3)

    def test_train(self, qsr, photos, tmp_path):
        """A recipe is trained, and its model can be enlarged with at once."""
        settings = [
            "epochs=1",
            "warmup_epochs=0",
            "steps_per_epoch=1",
            "batch_size=1",
            "lr_patch_px=8",
        ]
        overrides = [word for setting in settings for word in ("--set", f"training.{setting}")]
        both = (photos / "candidates", photos / "validation")
        words = ("train", "xcat_x3", "--data", *both, *overrides)
        said = qsr(*words, "--out", tmp_path / "run")
        assert str(tmp_path / "run/model.keras") in said.out
        report = parsed(qsr(*words, "--out", tmp_path / "run", "--json").out)
        assert report["model"] == str(tmp_path / "run/model.keras")
        assert f"{report['validation_psnr_db']:.3f} dB RGB on 1 validation image after" in said.out
        photo = photos / "validation/coffee.png"
        assert qsr("upscale", report["model"], photo, "-o", tmp_path / "out").code == 0

    def test_qat(self, qsr, photos, tmp_path):
        """A network is fine-tuned; text and JSON tell the same drops, and what comes next."""
        smaller = ("training.batch_size=2", "training.lr_patch_px=8")
        overrides = [word for setting in smaller for word in ("--set", setting)]
        both = (photos / "candidates", photos / "validation")
        words = ("qat", "xcat_x3", "--data", *both, *overrides, "--steps", "20")
        said = qsr(*words, "--out", tmp_path / "run")
        report = parsed(qsr(*words, "--out", tmp_path / "run", "--json").out)
        for name in ("ptq", "qat"):
            drop = report["fp32_psnr_db"] - report[f"{name}_psnr_db"]
            assert f"{report[f'{name}_psnr_db']:.3f} dB" in said.out
            assert f"(drop {drop:.4f})" in said.out
        helped = report["qat_psnr_db"] > report["ptq_psnr_db"]
        assert f"integer model: {report['model']}" in said.out
        better = Path(report["qat_model" if helped else "ptq_model"])
        assert Path(report["model"]).read_bytes() == better.read_bytes()
        assert ("training did not help" in said.out) != helped
        (following,) = NEXT.findall(said.out)
        assert all(
            Path(word).exists() for word in shlex.split(following) if word.endswith(".tflite")
        )
