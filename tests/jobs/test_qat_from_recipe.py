"""Quantization-aware training, whole: from a recipe to a fully integer model."""

import json
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from qsr.calibration import quantize, read_litert_json
from qsr.errors import ModelError, StudyError, UsageError
from qsr.jobs.evaluate import evaluate_models
from qsr.jobs.qat import fine_tuning, qat_from_recipe
from qsr.tflite.fold import fold_copies
from qsr.training.recipe_files import load_recipe


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The smoke size of ESPCN: ``(run folder, report)``."""
    out = tmp_path_factory.mktemp("qat") / "run"
    return out, qat_from_recipe("espcn_x3", smoke=True, out=out)


def test_trained_model_is_better(trained):
    """Even forty steps bring the integer model closer to the photographs than PTQ does."""
    _, report = trained
    assert report.ptq_psnr_db + 0.02 < report.qat_psnr_db < report.fp32_psnr_db
    assert (report.steps, report.resumed_from) == (40, 0)


def test_nothing_is_left_in_float(trained):
    """LiteRT finds no float tensor in the model, and the grid of a picture at both ends."""
    interpreter = Interpreter(str(trained[1].model))
    kinds = {detail["dtype"] for detail in interpreter.get_tensor_details()}
    assert kinds <= {np.uint8, np.int8, np.int32}
    for detail in (interpreter.get_input_details()[0], interpreter.get_output_details()[0]):
        assert detail["dtype"] == np.uint8
        assert detail["quantization"] == (pytest.approx(1 / 255), 0)


def test_scores_are_those_of_the_files(trained, tmp_path):
    """What the report says of the models, ``qsr evaluate`` measures of the files."""
    from qsr.data.bundled import write_bundled

    _, report = trained
    _, validation = write_bundled(tmp_path)
    files = [str(report.float_model), str(report.ptq_model), str(report.qat_model)]
    (found,) = evaluate_models(files, [validation])
    np.testing.assert_allclose(
        [evaluation.psnr_rgb_db for evaluation in found.evaluations],
        [report.fp32_psnr_db, report.ptq_psnr_db, report.qat_psnr_db],
        atol=1e-9,
    )


def test_called_again_gives_the_same(trained):
    """A finished training is not repeated, and its models stay byte for byte."""
    out, report = trained
    before = {path.name: path.read_bytes() for path in out.glob("*.tflite")}
    again = qat_from_recipe("espcn_x3", smoke=True, out=out)
    assert again.resumed_from == again.steps
    assert again.qat_psnr_db == report.qat_psnr_db
    assert {path.name: path.read_bytes() for path in out.glob("*.tflite")} == before


def test_other_start_is_refused(trained):
    """A run folder belongs to one network and its ranges."""
    out, _ = trained
    with pytest.raises(StudyError, match="another"):
        qat_from_recipe("fsrcnn_x3", smoke=True, out=out)


def test_starts_from_a_search(run, trained, tmp_path):
    """A search's float model and chosen ranges are what training starts from, and PTQ is its model.

    The run of another network is refused.
    """
    out, _ = trained
    again = qat_from_recipe("espcn_x3", smoke=True, steps=20, run=out, out=tmp_path / "again")
    ranges = read_litert_json(out / "ranges_chosen.json", out / "model_fp32.tflite")
    assert again.ptq_model.read_bytes() == fold_copies(quantize(out / "model_fp32.tflite", ranges))
    with pytest.raises(UsageError, match="not the espcn of espcn_x3"):
        qat_from_recipe("espcn_x3", smoke=True, run=Path(run.run_folder), out=tmp_path / "other")


def test_ranges_can_be_quantized_with(trained):
    """The ranges that are written are those of the trained model: quantizing gives it again."""
    out, report = trained
    ranges = read_litert_json(out / "ranges_chosen.json", report.trained_float_model)
    integer = fold_copies(quantize(report.trained_float_model, ranges))
    assert integer == report.model.read_bytes()
    assert json.loads((out / "ranges_chosen.json").read_text())["model_qsvs"]


def test_targets(tmp_path):
    """The loss of a first step is against the float network's pictures, or against HR images.

    The one is the error of 8 bits alone, and so is the smaller by far.
    """
    losses = {}
    for target in ("float", "hr"):
        out = tmp_path / target
        qat_from_recipe("xcat_x3", smoke=True, steps=20, target=target, out=out)
        first = json.loads((out / "log.jsonl").read_text().splitlines()[0])
        losses[target] = first["loss"]
    assert losses["float"] < losses["hr"] / 10


def test_fine_tuning_keeps_loss_and_batches():
    """The recipe of the last stage is kept but for length and learning rate."""
    recipe = load_recipe("xcat_x3")
    tuning = fine_tuning(recipe, steps=2000, rate=1e-4)
    assert tuning.steps == 2000
    assert [stage.loss for stage in tuning.stages] == ["mse"]
    assert tuning.training.batch_size == recipe.training.batch_size
    assert tuning.augmentation == recipe.augmentation
    assert tuning.stages[0].peak_rate == 1e-4


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, UsageError, "--data"),
        ({"data": ["x"], "steps": 3}, UsageError, "--steps must be at least 20, not 3"),
        ({"smoke": True, "overrides": ["model.activation=relu"]}, UsageError, "--weights"),
        ({"smoke": True, "weights": "gone.keras"}, ModelError, "gone.keras: no such file"),
        ({"smoke": True, "run": "gone"}, StudyError, "model_fp32.tflite: missing"),
        ({"smoke": True, "run": "a", "weights": "b"}, UsageError, "leave out --weights"),
    ],
)
def test_bad_input_is_told_at_once(tmp_path, monkeypatch, options, error, message):
    """What cannot be trained is told before a folder is made."""
    monkeypatch.chdir(tmp_path)
    paths = {name: Path(options[name]) for name in ("weights", "run") if name in options}
    folders = [Path(folder) for folder in options.get("data", [])]
    with pytest.raises(error, match=message):
        qat_from_recipe("espcn_x3", **{**options, **paths, "data": folders})
    assert not list(tmp_path.iterdir())
